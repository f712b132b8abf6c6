"""`helicon reconstruct`: media through a codec and back, side by side with what they were."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from helicon.cli import CommandError, reason
from helicon.commands.outputs import output_folder
from helicon.commands.reconstruct_sound import reconstruct_sounds
from helicon.evaluation.reconstruction import codec_of, reconstructed_pictures, sound_codec_of
from helicon.formats.files import write_json
from helicon.formats.printable import print_text
from helicon.formats.sheets import before_and_after
from helicon.modalities import registry
from helicon.tokenizers.base import Tokenizer


def reconstruct(args: Namespace) -> int:
    """Writes what a codec makes of each file, and figures of how near it comes; a bad file is named, others go on."""
    tokenizer, path = codec_of(Path(args.model), args.device), Path(args.out)
    if sound_codec := sound_codec_of(tokenizer):
        return reconstruct_sounds(sound_codec, args)
    if args.level is not None:
        raise CommandError("--level: a codec of pictures has one level")
    with output_folder(path):
        return reconstruct_pictures(tokenizer, args, path)


def reconstruct_pictures(tokenizer: Tokenizer, args: Namespace, out: Path) -> int:
    """Writes a PNG for each picture, `before-and-after.png` and a JSON."""
    modality = registry.get("image")
    names, media = [], []
    faults = 0
    for name in args.files:
        try:
            media.append(modality.read(Path(name), options=tokenizer.read_options)[0])
            names.append(name)
        except (OSError, ValueError) as error:
            faults += 1
            print_text(f"helicon: {name}: {reason(error)}", sys.stderr)
    if not media:
        raise CommandError("none of the pictures could be read")
    found, report = reconstructed_pictures(tokenizer, media), []
    for number, (name, each) in enumerate(zip(names, found)):
        target = out / f"{number:03d}-{Path(name).stem}.png"
        modality.write(each.after, target)
        report.append({"file": name, "written": target.name, **each.figures, "codes": each.codes})
        print_text(f"{name}: PSNR {each.figures['psnr']:.2f} dB, {each.codes} codes", sys.stderr)
    before_and_after([(each.before, each.after) for each in found], out / "before-and-after.png")
    write_json(out / "reconstruct.json", {"model": args.model, "pictures": report})
    print_text(f"wrote {len(report)} to {out}; look at {out / 'before-and-after.png'}", sys.stderr)
    return 1 if faults else 0
