"""How a codec of pictures is shown: what it makes of some, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from helicon.formats.page import PageItem
from helicon.training.codec import write_reconstructions
from helicon.training.codec_data import CodecData
from helicon.vqvae.codec import Codec
from helicon.vqvae.storage import CodecBundle

SHOWN = 24  # held-out pictures


def items(bundle: CodecBundle, data: CodecData, folder: Path) -> list[PageItem]:
    """A sheet of pictures before and after."""
    assert isinstance(bundle.codec, Codec)
    before = data.pictures.batch(data.examples(SHOWN))
    sheet = folder / "reconstructions.png"
    write_reconstructions(bundle.codec, before, sheet)
    shown = f"{len(before)} pictures it {'never saw' if len(data.held) else 'was trained on'}"
    return [PageItem("Before and after", shown, image=sheet.name, files=[sheet.name])]


def charts(bundle: CodecBundle) -> dict[str, tuple[str, dict[str, str]]]:
    """Quality, and use of the codebook."""
    return {
        "psnr.png": ("PSNR of held-out pictures, dB", {"held out": "val/psnr"}),
        "codes.png": (
            "Perplexity of the codes: as many equally frequent ones would carry as much",
            {"held out": "val/perplexity", "training": "train/perplexity"},
        ),
    }


def summary(last: Mapping[str, float]) -> str:
    """Quality on what is held out, in one line."""
    if "val/psnr" not in last:
        return "not measured: too few steps, or nothing held out"
    return (
        f"PSNR {last['val/psnr']:.2f} dB, {last['val/loss']:.4f} of the mean picture's squared error, "
        f"{100 * last['val/usage']:.1f} % of the codes used, perplexity {last['val/perplexity']:.0f}"
    )


def settings(bundle: CodecBundle, data: CodecData) -> dict[str, object]:
    """Rows of the page's table."""
    assert isinstance(bundle.codec, Codec)
    shape, size = bundle.codec.shape, data.size
    return {
        "codec": f"{shape.quantizer}, {bundle.codec.codebook_size} codes, each {shape.factor} x {shape.factor} pixels",
        "network": f"width {shape.width}, {shape.blocks} blocks, likelihood {shape.likelihood}",
        "pictures": f"{size} x {size} pixels",
    }


def next_steps(run: str, folder: str) -> list[str]:
    """Commands to go on with."""
    return [
        f"helicon reconstruct {run} PICTURE... -o out",
        f"helicon train image {folder} --data.tokenizer {run}",
        f"helicon train text-to-image {folder} --data.tokenizer {run}",
    ]
