"""The page that the training of a codec ends with: reconstructions, and how quality and use of the codebook went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helicon
from helicon.demos import picture_codec_result, sound_codec_result
from helicon.formats.page import PageItem, write_page
from helicon.formats.plots import curves
from helicon.training.metrics import Metrics, read_metrics
from helicon.training.raw_data import RawData
from helicon.vqvae.storage import CodecBundle, load_codec


@dataclass(frozen=True)
class Shown:
    """How the codecs of a medium are shown.

    items(bundle, data, folder): what the page shows, written below its folder. charts: file -> (caption, name of a
    line -> metric). summary(last metrics): quality on what is held out, in one line. settings(bundle, data): rows of
    the page's table. next_steps(run, folder): commands to go on with.
    """

    items: Callable[[CodecBundle, Any, Path], list[PageItem]]
    charts: Callable[[CodecBundle], Mapping[str, tuple[str, Mapping[str, str]]]]
    summary: Callable[[Mapping[str, float]], str]
    settings: Callable[[CodecBundle, Any], dict[str, object]]
    next_steps: Callable[[str, str], list[str]]


MEDIA = {
    name: Shown(room.items, room.charts, room.summary, room.settings, room.next_steps)
    for name, room in {"image": picture_codec_result, "audio": sound_codec_result}.items()
}


def write_codec_result(
    page: Path, run: Path, data: RawData, settings: Mapping[str, object], next_steps: Sequence[str]
) -> tuple[Path, str]:  # fmt: skip
    """Writes the page beside what it shows; gives its path and the last figures in one line."""
    bundle, metrics = load_codec(run), read_metrics(run)
    shown = MEDIA[data.medium]
    data.setup("fit")
    items = shown.items(bundle, data, page.parent)
    figures = _draw(shown.charts(bundle), metrics, page.parent)
    line = shown.summary({name: values[-1] for name, (_, values) in metrics.items() if values})
    assert data.prepared is not None
    told: dict[str, object] = {
        **settings,
        "files": f"{data.prepared.files:,} read, {len(data.prepared.skipped):,} skipped",
        **shown.settings(bundle, data),
        "steps": f"{bundle.notes.get('step', 0):,}",
        "fingerprint": bundle.fingerprint(),
        "held out": line,
        "helicon": helicon.__version__,
    }
    write_page(page, f"What {run.name} learned", line, items, figures, told, next_steps)
    return page, line


def _draw(
    charts: Mapping[str, tuple[str, Mapping[str, str]]], metrics: Metrics, folder: Path
) -> list[tuple[str, Path]]:
    """(caption, picture below the page's folder) of what was logged over the training."""
    drawn = []
    for name, (caption, series) in charts.items():
        found = {shown: metrics[key] for shown, key in series.items() if key in metrics}
        if found:
            curves(found, folder / name, label=caption.partition(":")[0])
            drawn.append((caption, Path(name)))
    return drawn
