"""`helicon reconstruct`: encode and decode media by a codec; write originals and reconstructions side by side."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from helicon.cli.errors import CommandError, reason
from helicon.commands.outputs import output_folder
from helicon.commands.reconstruct_sound import reconstruct_sounds
from helicon.evaluation.reconstruction import codec_of, reconstructed_pictures, sound_codec_of
from helicon.formats.files import write_json
from helicon.formats.printable import print_text, printable
from helicon.formats.quantities import quantity
from helicon.formats.read_report import repaired
from helicon.formats.sheets import before_and_after
from helicon.modalities import registry
from helicon.tokenizers.base import Tokenizer


def reconstruct(args: Namespace) -> int:
    """Run `helicon reconstruct` with its parsed options; return the exit status, 1 if a file is unreadable.

    An unreadable file is named, the others are reconstructed.
    """
    tokenizer, path = codec_of(Path(args.model), args.device), Path(args.out)
    if sound_codec := sound_codec_of(tokenizer):
        return reconstruct_sounds(sound_codec, args)
    if args.level is not None:
        raise CommandError("--level: a codec of pictures has one level")
    with output_folder(path):
        return reconstruct_pictures(tokenizer, args, path)


def reconstruct_pictures(tokenizer: Tokenizer, args: Namespace, out: Path) -> int:
    """Write a PNG for each picture, `before-and-after.png` and `reconstruct.json`.

    Args:
        tokenizer: `Tokenizer` of a codec of pictures.
        args: parsed options `files` and `model`.
        out: path of the output folder.

    Returns:
        Exit status: 0, or 1 if a file is unreadable.

    Raises:
        CommandError: no file is readable.
    """
    modality = registry.get("image")
    names, media = [], []
    faults = 0
    for name in args.files:
        try:
            picture, counts = modality.read(Path(name), options=tokenizer.read_options)
            media.append(picture)
            names.append(name)
            if counts:
                print_text(repaired(counts, printable(name)), sys.stderr)
        except (OSError, ValueError) as error:
            faults += 1
            print_text(f"helicon: {name}: {reason(error)}", sys.stderr)
    if not media:
        raise CommandError("none of the pictures could be read")
    results, report = reconstructed_pictures(tokenizer, media), []
    for number, (name, result) in enumerate(zip(names, results)):
        target = out / f"{number:03d}-{Path(name).stem}.png"
        modality.write(result.after, target)
        report.append({"file": name, "written": target.name, **result.figures, "codes": result.codes})
        print_text(
            f"{name}: PSNR {result.figures['psnr']:.2f} dB (higher is better), {quantity(result.codes, 'code')}",
            sys.stderr,
        )
    before_and_after([(result.before, result.after) for result in results], out / "before-and-after.png")
    write_json(out / "reconstruct.json", {"model": args.model, "pictures": report})
    print_text(f"wrote {len(report)} to {out}; look at {out / 'before-and-after.png'}", sys.stderr)
    return 1 if faults else 0
