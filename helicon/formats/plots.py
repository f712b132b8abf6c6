"""Plots as PNG files: piano rolls, training curves, confusion matrices.

Drawn through matplotlib's objects, never pyplot: no global state, no display, and matplotlib is imported on first use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from numpy.typing import ArrayLike

from helicon.formats.figures import import_matplotlib
from helicon.formats.files import atomic_write
from helicon.formats.score import DRUMS, Score
from helicon.formats.timbres import DRUM_NAMES, FAMILY_NAMES, drum_of, family_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, _FAINT = "#333333", "#e4e4e4"  # of text, and of grids
_COLORS = (  # one for each family, in their order: those most often heard together are far apart
    "#2f6fb7", "#8c6bb1", "#6b7a8f", "#e08214", "#7a4a2b", "#2e9e5b", "#63b598", "#d64541",
    "#b5487f", "#17a2b8", "#c9a400", "#7f8fd6", "#a3a948", "#c76f53", "#5d8a66", "#999999", "#4a4a4a",
)  # fmt: skip
LONGEST_LABEL, MAX_WRITTEN = 16, 20  # characters of a label, and labels whose counts are written into a picture
MAX_SHOWN = 1e30  # of what is drawn as a curve, for Matplotlib squares it
# Colours of curves, in their order
LINES = ("#2f6fb7", "#d64541", "#2e9e5b", "#e08214", "#8c6bb1", "#7a4a2b")


def piano_roll(score: Score, path: str | os.PathLike[str]) -> None:
    """Write a piano roll as a PNG, 1000 pixels wide: time against pitch, coloured by family of instruments.

    Louder notes are more opaque. Drums have a strip below, a row for each drum.

    Args:
        score: `Score` to draw.
        path: path of the PNG.
    """
    figure = new_figure(4.6)
    pitched, drums = score.program != DRUMS, score.program == DRUMS
    names = sorted({drum_of(int(note)).name for note in score.pitch[drums]}, key=DRUM_NAMES.index)
    rows = max(len(names), 1)
    if names and pitched.any():
        axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[1, min(0.05 + 0.055 * rows, 0.6)])
        axes.tick_params(axis="x", length=0, labelbottom=False)
    else:
        axes = strip = figure.subplots()
    if pitched.any() or not names:
        _draw_pitches(axes, score, pitched)
    if names:
        _draw_drums(strip, score, drums, names)
    strip.set_xlim(0, max(score.seconds, 1.0))
    strip.set_xlabel("seconds")
    _legend(figure, sorted({family_of(int(program)) for program in score.program}, key=FAMILY_NAMES.index))
    save(figure, path)


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    path: str | os.PathLike[str],
    *,
    label: str,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Write curves over training steps as a PNG, 1000 pixels wide.

    Args:
        series: name -> (steps, values); of many points a running mean is drawn over the faint values. Values that are
            not finite or too large to draw are left out.
        path: path of the PNG.
        label: label of the vertical axis, with its unit.
        levels: name -> value of a reference such as a baseline, drawn as a dashed line.
    """
    figure, last = new_figure(4.0), 1.0
    axes = figure.subplots()
    tidy(axes)
    for color, (name, points) in zip(LINES * (1 + len(series) // len(LINES)), series.items()):
        x, y = (np.asarray(values, np.float64) for values in points)
        shown = np.abs(y) < MAX_SHOWN  # and no NaN
        _draw_curve(axes, x[shown], y[shown], name, color)
        last = x.max(initial=last)
    for name, level in (levels or {}).items():
        axes.axhline(level, color="#888888", linewidth=1.2, linestyle=(0, (5, 3)))
        axes.annotate(
            f"{name} {level:.2f}", (1, level), xycoords=("axes fraction", "data"), xytext=(-4, 4),
            textcoords="offset points", ha="right", color="#666666", fontsize=10,
        )  # fmt: skip
    axes.set_xlim(0, last)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    if series:
        axes.legend(frameon=False, labelcolor=INK, fontsize=11)
    save(figure, path)


def confusion(counts_KK: ArrayLike, labels: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Write a confusion matrix as a PNG, 1000 pixels wide; colours show each row's shares.

    Args:
        counts_KK: counts [K, K], a row for each true label, a column for each predicted one.
        labels: names of the K labels, in order.
        path: path of the PNG.
    """
    counts = np.asarray(counts_KK)
    figure = new_figure(min(20.0, 2.0 + 0.45 * len(labels)))
    axes = figure.subplots()
    tidy(axes)
    axes.grid(visible=False)
    axes.imshow(counts / np.maximum(1, counts.sum(1, keepdims=True)), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…" for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 8 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("label")
    if len(names) <= MAX_WRITTEN:
        share = counts / np.maximum(1, counts.sum(1, keepdims=True))
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if share[row, column] > 0.5 else INK
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=10)
    save(figure, path)


def _draw_pitches(axes: Axes, score: Score, chosen: np.ndarray) -> None:
    """Draw notes as bars one semitone high, over grid lines at every C."""
    tidy(axes)
    _bars(axes, score, chosen, score.pitch[chosen].astype(float))
    low = int(score.pitch[chosen].min(initial=60)) - 2
    high = int(score.pitch[chosen].max(initial=72)) + 2
    octaves = range(-(-low // 12) * 12, high + 1, 12)
    axes.set_yticks(list(octaves), [f"C{pitch // 12 - 1}" for pitch in octaves])  # middle C, 60, is C4
    axes.set_ylim(low, high)


def _draw_drums(axes: Axes, score: Score, chosen: np.ndarray, names: list[str]) -> None:
    """Draw drum strokes as short marks, a row for each drum."""
    tidy(axes)
    rows = np.array([names.index(drum_of(int(note)).name) for note in score.pitch[chosen]], float)
    _bars(axes, score, chosen, rows, width_s=max(score.seconds, 1.0) / 250)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(-0.7, len(names) - 0.3)


def _bars(axes: Axes, score: Score, chosen: np.ndarray, y: np.ndarray, width_s: float | None = None) -> None:
    """Draw rectangles around `y`, from onset to end or `width_s` wide, coloured by family and velocity."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    left = score.onset_s[chosen]
    right = score.end_s[chosen] if width_s is None else left + width_s
    corners = [left, y - 0.42, left, y + 0.42, right, y + 0.42, right, y - 0.42]
    outlines = rearrange(corners, "(corner xy) note -> note corner xy", xy=2)
    palette = np.array([to_rgb(color) for color in _COLORS])
    alpha = 0.3 + 0.7 * score.velocity[chosen] / 127
    colors = np.column_stack([palette[np.minimum(score.program[chosen], DRUMS) // 8], alpha])
    # A thin line between notes tells repeated ones apart; among very many it would hide the notes.
    line = 0.4 if len(score) < 2000 else 0.0
    axes.add_collection(
        PolyCollection(list(outlines), facecolors=colors, edgecolors="white", linewidths=line, zorder=2)
    )


def _draw_curve(axes: Axes, x: np.ndarray, y: np.ndarray, name: str, color: str) -> None:
    if len(x) <= 60:
        axes.plot(x, y, color=color, linewidth=1.8, marker="o", markersize=4, label=name)
        return
    axes.plot(x, y, color=color, linewidth=0.8, alpha=0.25)
    window = np.ones(max(3, len(y) // 40))
    # Divided by the same window over ones, so that the ends are means too, of fewer values.
    mean = np.convolve(y, window, "same") / np.convolve(np.ones_like(y), window, "same")
    axes.plot(x, mean, color=color, linewidth=2, label=name)


def _legend(figure: Figure, families: list[str]) -> None:
    from matplotlib.patches import Patch

    if families:
        patches = [Patch(color=_COLORS[FAMILY_NAMES.index(family)], label=family) for family in families]
        columns = min(len(patches), 8)
        figure.legend(handles=patches, loc="outside upper left", ncols=columns, frameon=False, labelcolor=INK)


def new_figure(height: float) -> Figure:
    """Return an empty Matplotlib figure, 1000 pixels wide and 100 pixels high per unit of `height`."""
    import_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(10, height), dpi=100, layout="constrained", facecolor="white")


def tidy(axes: Axes) -> None:
    """Style Matplotlib axes in place: a faint grid and no frame."""
    axes.set_facecolor("white")
    axes.grid(color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
    axes.tick_params(colors=INK, length=0, labelsize=10)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG file; the same figure gives the same bytes.

    Args:
        figure: `Figure` of Matplotlib.
        path: of the file, replaced only once it is whole.
    """
    with atomic_write(path) as temporary:
        # Without the drawing program's name and version, the same picture is the same bytes.
        figure.savefig(temporary, format="png", metadata={"Software": None})
