"""Samples of the current model, written during training."""

from __future__ import annotations

from pathlib import Path

from helicon.bundle.bundle import Bundle
from helicon.generation.generate import generate
from helicon.generation.request import Request

MAX_TOKENS = 256  # of a sample, so that samples take little of the training's time


def write_samples(bundle: Bundle, path: Path, seed: int) -> None:
    """Generate and write one item of each layout, as PATH-SLOT with the suffix of its medium.

    Args:
        bundle: `Bundle`, model that samples.
        path: beginning of the file names; its folder is made.
        seed: of sampling.
    """
    for layout in bundle.schema.layouts:
        # `generate` chooses a layout by its target alone: the length has to fit all layouts with this target
        lengths = (other.target.length for other in bundle.schema.layouts if other.target.name == layout.target.name)
        tokens = min([MAX_TOKENS, *filter(None, lengths)])
        (item,) = generate(bundle, Request(seed=seed, to=layout.target.name, tokens=tokens))
        target = path.with_name(f"{path.name}-{layout.target.name}{item.modality.suffixes[0]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        item.save(target)
