"""`helicon reconstruct`: media through a codec and back, side by side with what they were."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from helicon.bundle.storage import load_bundle
from helicon.cli import CommandError, reason
from helicon.commands.outputs import output_folder
from helicon.commands.reconstruct_sound import reconstruct_sounds
from helicon.formats.files import write_json
from helicon.formats.printable import print_text
from helicon.formats.sheets import before_and_after
from helicon.generation.runtime import choose_device
from helicon.modalities import registry
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer, decode_all, encode_all
from helicon.vqvae.audio_codec import AudioCodec

MEDIA = ("image", "audio")  # whose models can hold a codec


def reconstruct(args: Namespace) -> int:
    """Writes what a codec makes of each file, and figures of how near it comes; a bad file is named, others go on."""
    tokenizer, path = codec_of(Path(args.model), args.device), Path(args.out)
    if isinstance(tokenizer, CodecTokenizer) and isinstance(tokenizer.codec, AudioCodec):
        return reconstruct_sounds(tokenizer.codec, args)
    if args.level is not None:
        raise CommandError("--level: a codec of pictures has one level")
    with output_folder(path):
        return reconstruct_pictures(tokenizer, args, path)


def codec_of(path: Path, device: str) -> Tokenizer:
    """The codec of a run or bundle as a tokenizer, or the one that a model has."""
    for slot in MEDIA:
        if found := registry.opened(slot, path, choose_device(device)):
            return found[1]
    tokenizers = load_bundle(path, choose_device(device)).sequencer.tokenizers
    coded = [tokenizers[slot] for slot in MEDIA if slot in tokenizers]
    needed = "the run of a codec, or of a model of pictures or of a codec's sound, is needed"
    if not coded:
        raise CommandError(f"{path}: a model without pictures or sound; {needed}")
    if "image" not in tokenizers and not isinstance(coded[0], CodecTokenizer):
        raise CommandError(f"{path}: a model of samples as they are; {needed}")
    return coded[0]


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
    ids = [found for found, _ in encode_all(tokenizer, media)]
    after = decode_all(tokenizer, ids)
    report = []
    for number, (name, picture, codes) in enumerate(zip(names, after, ids)):
        target = out / f"{number:03d}-{Path(name).stem}.png"
        modality.write(picture, target)
        report.append({"file": name, "written": target.name, "psnr": psnr(media[number], picture), "codes": len(codes)})
        print_text(f"{name}: PSNR {report[-1]['psnr']:.2f} dB, {len(codes)} codes", sys.stderr)
    before_and_after(list(zip(media, after)), out / "before-and-after.png")
    write_json(out / "reconstruct.json", {"model": args.model, "pictures": report})
    print_text(f"wrote {len(report)} to {out}; look at {out / 'before-and-after.png'}", sys.stderr)
    return 1 if faults else 0


def psnr(before: np.ndarray, after: np.ndarray) -> float:
    """Peak signal to noise ratio of uint8 pictures, in dB; 99 where they are the same."""
    error = float(np.mean((before.astype(np.float64) - after.astype(np.float64)) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else 99.0
