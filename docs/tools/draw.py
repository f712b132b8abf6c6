"""Draws the pictures of the explanation pages with the code that they explain.

python docs/tools/draw.py [FOLDER]        (docs/images unless given)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from helicon.demos.composer import compose
from helicon.formats.plots import INK, new_figure, save, tidy
from helicon.formats.score import Score
from helicon.gpt.attention.patterns import parse_pattern
from helicon.sequence.layout import Layout
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.musenet import events
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.style import StyleTokenizer, all_sets

COLOURS = {"task": "#d0d4db", "style": "#f3cf9b", "music": "#b9d2ee"}  # of slots
SHOWN = 18  # tokens of the sequence
SECONDS = 2.2  # of the piece: what these tokens say
PATTERNS = (
    "dense", "local:8", "block:6", "previous:6", "column:6",
    "summary:6,2", "strided:6", "fixed:6,2", "row:6", "conv:3,6",
)  # fmt: skip
POSITIONS = 36  # a grid of 6 x 6, for those that have one


def draw_patterns(path: Path) -> None:
    """Each pattern as a matrix: a row for a query, dark where it sees a key."""
    figure = new_figure(4.7)
    index = torch.arange(POSITIONS)
    for axes, name in zip(figure.subplots(2, 5).flat, PATTERNS):
        sees_QK = parse_pattern(name).resolve(None).allowed(index[:, None], index)
        axes.imshow(sees_QK.expand(POSITIONS, POSITIONS), cmap="Blues", vmin=0, vmax=1.3, interpolation="nearest")
        axes.set_title(name, fontsize=12, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("key", fontsize=9, color=INK)
        axes.set_ylabel("query", fontsize=9, color=INK)
    save(figure, path)


def draw_path(path: Path) -> None:
    """The beginning of a piece as notes, as tokens, and as what the GPT is fed and is to predict."""
    score = compose(seed=1)
    style, music = StyleTokenizer(MUSENET, ("duet",), all_sets(MUSENET)), events()
    layout = Layout.parse("style[3] music")
    sequencer = Sequencer([layout], {"style": style, "music": music}, context=SHOWN)
    example = {"style": style.encode(style.style_of(score)), "music": music.encode(score)}
    packed, vocabulary = sequencer.pack(layout, example), sequencer.schema.vocabulary
    slots = ["task"] + ["style"] * 3 + ["music"] * (SHOWN - 4)
    rows = []
    for slot, fed, target in zip(slots, packed.ids.tolist(), packed.targets.tolist()):
        local = fed - vocabulary.slice(slot).start
        rows.append((slot, vocabulary.block(slot).tokens[local], local, fed, target))
    figure = new_figure(6)
    notes, table = figure.subplots(2, 1, height_ratios=[1, 1.5])
    _draw_notes(notes, score)
    _draw_table(table, rows)
    save(figure, path)


def _draw_notes(axes: Axes, score: Score) -> None:
    """The notes that begin in the first seconds."""
    early = score.onset_s < SECONDS
    left, width = score.onset_s[early], np.minimum(score.end_s[early], SECONDS) - score.onset_s[early]
    axes.barh(score.pitch[early], width, left=left, height=0.9, color=COLOURS["music"], edgecolor=INK, linewidth=0.8)
    tidy(axes)
    axes.set_xlim(0, SECONDS)
    axes.set_xlabel("seconds")
    axes.set_ylabel("MIDI pitch")


def _draw_table(axes: Axes, rows: list[tuple[str, str, int, int, int]]) -> None:
    """A column for each token: its slot's colour, its word, its id in its block, the row fed, the row to predict."""
    axes.set_axis_off()
    axes.set_xlim(-3.4, SHOWN)
    axes.set_ylim(0, 6.4)
    heads = {5.9: "slot", 4.2: "token", 2.5: "id in its block", 1.5: "row fed", 0.5: "row to predict"}
    for y, head in heads.items():
        axes.text(-0.3, y, head, ha="right", va="center", color=INK, fontsize=10)
    for x, (slot, word, *numbers) in enumerate(rows):
        axes.bar(x + 0.5, 6.4, width=0.94, color=COLOURS[slot])
        axes.text(x + 0.5, 5.9, slot, ha="center", va="center", color=INK, fontsize=9)
        axes.text(x + 0.5, 4.2, word, ha="center", va="center", color=INK, fontsize=10, rotation=90)
        for y, number in zip((2.5, 1.5, 0.5), numbers):
            axes.text(x + 0.5, y, str(number), ha="center", va="center", color=INK, fontsize=10)


def main(folder: Path) -> None:
    draw_patterns(folder / "patterns.png")
    draw_path(folder / "path.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "images")
