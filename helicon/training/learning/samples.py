"""A sample of what the model makes so far."""

from __future__ import annotations

from pathlib import Path

from helicon.bundle.bundle import Bundle
from helicon.generation.generate import generate
from helicon.generation.request import Request

MAX_TOKENS = 256


def write_samples(bundle: Bundle, path: Path, seed: int) -> None:
    """Writes one item of each layout as PATH-SLOT with its previews."""
    for layout in bundle.schema.layouts:
        alike = (each.target.length for each in bundle.schema.layouts if each.target.name == layout.target.name)
        tokens = min([MAX_TOKENS, *filter(None, alike)])  # whichever of them it is that makes it
        (item,) = generate(bundle, Request(seed=seed, to=layout.target.name, tokens=tokens))
        target = path.with_name(f"{path.name}-{layout.target.name}{item.modality.suffixes[0]}")
        target.parent.mkdir(parents=True, exist_ok=True)
        item.save(target)
