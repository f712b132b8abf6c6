"""Untrained models of pictures of 4 x 4 pixels in four colours, of short captions and labels, which tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.formats.image import write_image
from helicon.gpt.model import GPTConfig
from helicon.sequence.layout import Layout
from helicon.tokenizers.labels import LabelTokenizer
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer

CENTROIDS = np.array([[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [1, 1, 1]])  # black, red, green, white


def image_bundle(*layouts: str, context: int = 24) -> Bundle:
    """A palette, a token a byte, and weights large enough that what is given matters."""
    tokenizers = {
        "text": BytesTokenizer(), "image": PaletteTokenizer(CENTROIDS, 4), "style": LabelTokenizer(["cat", "owl"]),
    }  # fmt: skip
    parsed = [Layout.parse(spec) for spec in layouts]
    slots = {slot.name for layout in parsed for slot in layout.slots}
    sequencer = Sequencer(parsed, {slot: tokenizers[slot] for slot in slots}, context)
    torch.manual_seed(1)
    gpt = make_gpt(GPTConfig(layers=1, width=16, heads=2), sequencer.schema)
    for parameter in gpt.parameters():
        parameter.data.mul_(8 if parameter.dim() > 1 else 1)
    names = {"text": "bytes", "image": "palette", "style": "labels"}
    return Bundle(gpt=gpt, sequencer=sequencer, tokenizer_names={slot: names[slot] for slot in slots})


def picture(seed: int) -> np.ndarray:
    """uint8 [4, 4, 3]: pixels of the palette at random."""
    colours = PaletteTokenizer(CENTROIDS, 4).colours
    return colours[np.random.default_rng(seed).integers(4, size=(4, 4))]


def write_picture(path: Path, seed: int) -> np.ndarray:
    """Writes it, and gives it back."""
    write_image(picture(seed), path)
    return picture(seed)
