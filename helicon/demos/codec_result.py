"""The page that the training of a codec ends with: reconstructions, and how quality and use of the codebook went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import helicon
from helicon.formats.page import PageItem, write_page
from helicon.formats.plots import curves
from helicon.training.codec import write_reconstructions
from helicon.training.codec_data import CodecData
from helicon.training.metrics import read_metrics
from helicon.vqvae.storage import CodecBundle, load_codec

SHOWN = 24  # held-out pictures


def write_codec_result(
    page: Path, run: Path, data: CodecData, settings: Mapping[str, object], next_steps: Sequence[str]
) -> tuple[Path, str]:  # fmt: skip
    """Writes the page beside its pictures; gives its path and the last figures in one line."""
    bundle, metrics = load_codec(run), read_metrics(run)
    data.setup("fit")
    before = data.pictures.batch(data.examples(SHOWN))
    sheet = page.with_name("reconstructions.png")
    write_reconstructions(bundle.codec, before, sheet)
    shown = f"{len(before)} pictures it {'never saw' if len(data.held) else 'was trained on'}"
    items = [PageItem("Before and after", shown, image=sheet.name, files=[sheet.name])]
    figures = _draw(metrics, page.parent)
    last = {name: values[-1] for name, (_, values) in metrics.items() if values}
    line = summary(last)
    told = {**settings, **_settings(bundle, data), "held out": line, "helicon": helicon.__version__}
    write_page(page, f"What {run.name} learned", line, items, figures, told, next_steps)
    return page, line


def summary(last: Mapping[str, float]) -> str:
    """Quality on what is held out, in one line."""
    if "val/psnr" not in last:
        return "not measured: too few steps, or nothing held out"
    return (
        f"PSNR {last['val/psnr']:.2f} dB, {last['val/loss']:.4f} of the mean picture's squared error, "
        f"{100 * last['val/usage']:.1f} % of the codes used, perplexity {last['val/perplexity']:.0f}"
    )


def _draw(metrics: Mapping[str, tuple[list[int], list[float]]], folder: Path) -> list[tuple[str, Path]]:
    """(caption, picture below the page's folder) of quality and of the codebook over the training."""
    wanted = {
        "psnr.png": ("PSNR of held-out pictures, dB", {"held out": "val/psnr"}),
        "codes.png": (
            "Perplexity of the codes: as many equally frequent ones would carry as much",
            {"held out": "val/perplexity", "training": "train/perplexity"},
        ),
    }
    drawn = []
    for name, (caption, series) in wanted.items():
        found = {shown: metrics[key] for shown, key in series.items() if key in metrics}
        if found:
            curves(found, folder / name, label=caption.partition(":")[0])
            drawn.append((caption, Path(name)))
    return drawn


def _settings(bundle: CodecBundle, data: CodecData) -> dict[str, object]:
    shape = bundle.codec.shape
    assert data.prepared is not None
    return {
        "files": f"{data.prepared.files:,} read, {len(data.prepared.skipped):,} skipped",
        "codec": f"{shape.quantizer}, {bundle.codec.codebook_size} codes, each {shape.factor} x {shape.factor} pixels",
        "network": f"width {shape.width}, {shape.blocks} blocks, likelihood {shape.likelihood}",
        "pictures": f"{bundle.size} x {bundle.size} pixels",
        "steps": f"{bundle.notes.get('step', 0):,}",
        "fingerprint": bundle.fingerprint(),
    }
