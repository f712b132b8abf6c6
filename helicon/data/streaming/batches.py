"""Batches of a stream: a batch number belongs to a unit and a batch within it, by the numbers of batches of all units.

Units come in an order that depends on (seed, epoch). Their numbers of batches are learned as they are tokenised, and
kept on disk, so that a resumed training need not tokenise those before its place again.
"""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from helicon.data.batches import Variation, WindowStream
from helicon.data.collate import Windows
from helicon.data.corpus import Corpus
from helicon.data.entries import DataError
from helicon.data.packing import EpochOrder
from helicon.data.streaming.encode import StreamError
from helicon.data.streaming.live import BatchCounts, LiveCorpora
from helicon.data.streaming.shards import Unit
from helicon.formats.files import read_regular
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

POLL_S = 0.02  # seconds between looks at the disk for a corpus that is being made
OPEN = 2  # window streams that are kept open: batches that are made ahead belong to two units at most, mostly
MAX_SIGN_BYTES = 1 << 16

ResultT = TypeVar("ResultT")
Number = tuple[int, int]  # position of the unit in the endless order, and number of the item in its window stream


@dataclass(frozen=True, kw_only=True)
class StreamPlace:
    """Files by which the processes of a training share a stream.

    Attributes:
        folder: of the temporary corpora.
        counts: file of the numbers of batches; the number of the layout follows.
        sign: file that is there while corpora are made; it says why none are made any more after a failure.
    """

    folder: Path
    counts: Path
    sign: Path


class UnitStream:
    """Endless training windows of the units of a stream, each unit once in an epoch, in the place of a `WindowStream`.

    Args:
        units: all `Unit`s.
        index: number of the layout.
        place: files on disk.
        epoch: number of batches of an epoch, about.
        sequencer: packs the ids of a window.
        layout: of the sequences.
        seed: of the order of units, and of all draws within them.
        batch: number of full-context sequences in a batch, over all processes.
        how: augmentation and dropout.
    """

    labels = None

    def __init__(
        self, units: Sequence[Unit], index: int, place: StreamPlace, epoch: int, sequencer: Sequencer, layout: Layout,
        seed: int, batch: int, how: Variation,
    ) -> None:  # fmt: skip
        self.names, self.keys = [unit.name for unit in units], [unit.key for unit in units]
        self.index, self.sign, self.epoch = index, place.sign, epoch
        self.sequencer, self.layout, self.seed, self.sequences, self.how = sequencer, layout, seed, batch, how
        self.live, self.counts = (
            LiveCorpora(place.folder),
            BatchCounts(place.counts.with_name(f"{place.counts.name}-{index}")),
        )
        self._order = EpochOrder(np.arange(len(units)), seed)
        self._ends = [0]  # number of batches before each unit
        self._open: dict[int, WindowStream] = {}

    def rows(self, t: int) -> list[tuple[Number, int]]:
        """Return the items of batch t: a list of ((position of its unit, number in it), row of its window table)."""
        position, within = self._await(lambda: self.locate(t))
        stream = self._stream(position)
        first = position // len(self.keys) * stream.batches.epoch  # an epoch is of one pass of each unit
        return [((position, number), window) for number, window in stream.rows(first + within)]

    def windows_at(self, number: Number, window: int) -> Windows:
        """Return one item of a batch.

        Args:
            number: position of its unit, and number in it, which seeds its random draws.
            window: row of the window table of the unit.

        Returns:
            ((example number, `PackedSequence`),): a tuple of one pair.
        """
        return self._stream(number[0]).windows_at(number[1], window)

    def unit(self, position: int) -> int:
        """Return the number of the unit at a position of the endless order."""
        return int(self._order.at(np.array([position]))[0])

    def corpus_name(self, position: int) -> str:
        """Return the name of the temporary corpus of the unit at a position."""
        return f"{self.keys[self.unit(position)]}-{self.index}"

    def locate(self, t: int) -> tuple[int, int] | None:
        """Return (position of the unit, batch within it) of batch t; None while some unit before was not counted.

        Raises:
            DataError: no unit has any batch.
        """
        while self._ends[-1] <= t:
            if self.count(self.counted) is None:
                return None
        position = bisect_right(self._ends, t) - 1
        return position, t - self._ends[position]

    @property
    def counted(self) -> int:
        """First position of which the number of batches is not known yet."""
        return len(self._ends) - 1

    def count(self, position: int) -> int | None:
        """Return the number of batches of the unit at a position that is counted, or the next; None if not known.

        Raises:
            DataError: no unit has any batch.
        """
        if position == self.counted:
            count = self.counts.get(self.keys[self.unit(position)])
            if count is None:
                return None
            self._ends.append(self._ends[-1] + count)
            if self.counted == len(self.keys) and not self._ends[-1]:
                raise DataError(
                    f"nothing in {len(self.keys):,} parts of the stream can be trained on for `{self.layout}`"
                )
        return self._ends[position + 1] - self._ends[position]

    def end(self, position: int) -> int:
        """Return the number of the batch after those of the unit at a counted position."""
        return self._ends[position + 1]

    def window_stream(self, corpus: Corpus, position: int) -> WindowStream | None:
        """Make the windows of a unit.

        Args:
            corpus: `Corpus` of the unit.
            position: of the unit in the endless order.

        Returns:
            A `WindowStream`, or None if nothing in the unit can be trained on.
        """
        if not len(corpus.select(val=False)):
            return None
        # Equal draws in all units would repeat with their number
        digest = hashlib.sha256(f"{self.seed} {self.names[self.unit(position)]}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big")
        return WindowStream(corpus, self.sequencer, self.layout, seed, self.sequences, self.how, passes=True)

    def _stream(self, position: int) -> WindowStream:
        if position not in self._open:
            stream = self._await(lambda: self._opened(position))
            self._open = dict([*self._open.items(), (position, stream)][-OPEN:])
        return self._open[position]

    def _opened(self, position: int) -> WindowStream | None:
        corpus = self.live.open(self.corpus_name(position))
        return None if corpus is None else self.window_stream(corpus, position)

    def _await(self, get: Callable[[], ResultT | None]) -> ResultT:
        """Wait for a result; StreamError once no more corpora come."""
        while (result := get()) is None:
            try:
                failure = read_regular(self.sign, MAX_SIGN_BYTES).decode()
            except FileNotFoundError:
                failure = "the training has ended"
            if failure:
                raise StreamError(failure)
            time.sleep(POLL_S)
        return result
