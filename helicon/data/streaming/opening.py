"""Opening of a prepared stream for training: the batches of all layouts, and the thread that feeds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from helicon.data.batches import Variation, WindowStream
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.data.streaming.batches import StreamPlace, UnitStream
from helicon.data.streaming.encode import UnitEncoder
from helicon.data.streaming.feeder import Feeder
from helicon.data.streaming.live import SHARED
from helicon.data.streaming.shards import find_shards, units_of
from helicon.formats.temporary import temporary_path
from helicon.tokenizers.sequencer import Sequencer

BATCHING = 1  # version of how a unit is cut to batches; others are counted again


def open_stream(
    source: DataSource, prepared: Prepared, sequencer: Sequencer, seed: int, batch: int, how: Variation, near: int,
    processes: int,
) -> tuple[Sequence[UnitStream], Feeder]:  # fmt: skip
    """Open a stream for training.

    Args:
        source: `DataSource` of the shards.
        prepared: `Prepared` by `prepare_stream`.
        sequencer: packs the ids of a window.
        seed: of the order and all draws.
        batch: number of full-context sequences in a batch, over all processes.
        how: augmentation and dropout.
        near: number of batches that loaders make ahead, at most.
        processes: that read and encode.

    Returns:
        (a stream of each layout, the `Feeder` of them all).
    """
    units, layouts = units_of(find_shards(source.path, source.cache)[0]), sequencer.schema.layouts
    folder = prepared.corpora[0].folder
    assert folder is not None, "a stream is on disk"
    folder = folder.parent
    numbers = [[str(y), sequencer.target_capacity(y), y.prefix] for y in layouts]
    cut = hashlib.sha256(json.dumps([BATCHING, batch, numbers]).encode()).hexdigest()[:12]
    place = StreamPlace(
        folder=folder / "live" if SHARED else temporary_path(folder / "live"),
        counts=folder / f"counts-{cut}",
        sign=temporary_path(folder / "feeding"),
    )
    epochs = [
        max(1, round(prepared.scale * WindowStream(corpus, sequencer, layout, seed, batch, how).epoch))
        for corpus, layout in zip(prepared.corpora, layouts)
    ]

    def make_streams() -> list[UnitStream]:
        return [
            UnitStream(units, index, place, epoch, sequencer, layout, seed, batch, how)
            for index, (layout, epoch) in enumerate(zip(layouts, epochs))
        ]

    encoder = UnitEncoder(source=source, layouts=layouts, tokenizers=prepared.tokenizers)
    # Each thread has streams of its own, as they learn the numbers of batches as they go
    return make_streams(), Feeder(make_streams(), units, encoder, place, near, processes)
