"""Import of ImageGPT (Chen et al., 2020): layout `image[HxW]`, palette colours; start-of-image is the task token."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isqrt

import numpy as np
import torch
from einops import rearrange

from helicon.bundle.bundle import Bundle
from helicon.bundle.importing.checkpoint import Checkpoint, ImportingError, read_json
from helicon.bundle.importing.layers import build, coord_table, gpt_config
from helicon.formats.quantities import quantity
from helicon.sequence.layout import TASK, Layout
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import Sequencer

SLOT = "image"  # the only one of the layout
PALETTE = "preprocessor_config.json"  # has the k-means clusters of colours that are the tokens


def import_imagegpt(checkpoint: Checkpoint, log: Callable[[str], None]) -> Bundle:
    """Import an ImageGPT: logits after (task, a, b ...) are its logits after (start-of-image, a, b ...).

    Args:
        checkpoint: `Checkpoint`, config and tensors, which are taken from it.
        log: called with each message.

    Returns:
        The `Bundle`, in evaluation mode.

    Raises:
        ImportingError: a setting or tensor that is not supported.
    """
    checkpoint.option("tie_word_embeddings", False, [False])
    config = gpt_config(checkpoint, "rms", "quick_gelu", tied=False)
    colours, pixels = checkpoint.positive_int("vocab_size") - 1, checkpoint.positive_int("n_positions")
    size = isqrt(pixels)
    if size * size != pixels:
        raise checkpoint.fault(f"n_positions {pixels}: the pixels of a square picture are accepted, such as 1024")
    wte, wpe = (checkpoint.take(f"{n}.weight", m, config.width) for n, m in (("wte", colours + 1), ("wpe", pixels)))
    tokenizer = PaletteTokenizer(_palette(checkpoint, colours, log), size)

    sequencer = Sequencer([Layout.parse(f"{SLOT}[{size}x{size}]")], {SLOT: tokenizer}, pixels)
    schema = sequencer.schema
    rows = schema.vocab_slice(schema.layouts[0].target)
    tables = {name: torch.zeros(len(schema.vocabulary), config.width) for name in ("tokens.weight", "head.weight")}
    tables["tokens.weight"][rows] = wte[:colours]
    tables["tokens.weight"][schema.vocabulary.slice(TASK).start] = wte[colours]
    tables["head.weight"][rows] = checkpoint.take("lm_head.weight", colours, config.width)
    tables["places.weight"] = coord_table(schema, wpe)
    return Bundle(gpt=build(checkpoint, config, schema, tables), sequencer=sequencer, tokenizer_names={SLOT: "palette"})


def _palette(checkpoint: Checkpoint, colours: int, log: Callable[[str], None]) -> np.ndarray:
    """Read the palette of the folder, float [colours, 3] in [-1, 1]; without one, log it and space colours evenly."""
    path = checkpoint.folder / PALETTE
    clusters = read_json(path).get("clusters") if path.is_file() else None
    if clusters is None:
        log(f"palette    no clusters in {PALETTE}: {colours} evenly spaced colours, not those that the model learned")
        return evenly_spaced(colours)
    try:
        palette = np.array(clusters, np.float32)
    except (TypeError, ValueError):  # not numbers
        palette = np.zeros(0)
    if palette.shape != (colours, 3) or not (np.abs(palette) <= 1).all():
        raise ImportingError(f"{path}: clusters: {colours} colours of 3 numbers in [-1, 1] are accepted")
    log(f"palette    {quantity(colours, 'colour')}")
    return palette


def evenly_spaced(colours: int) -> np.ndarray:
    """Return that many different colours on a regular grid, RGB in [-1, 1], NumPy float64 [colours, 3]."""
    levels = max(2, ceil(round(colours ** (1 / 3), 9)))
    axes = list(np.meshgrid(*[np.linspace(-1, 1, levels)] * 3, indexing="ij"))
    grid = rearrange(axes, "channel r g b -> (r g b) channel")
    return grid[np.linspace(0, len(grid) - 1, colours).round().astype(int)]
