"""Thread that makes the corpora of the next units ahead of the training, and removes those that are done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from helicon.data.corpus import read_corpus
from helicon.data.streaming.batches import StreamPlace, UnitStream
from helicon.data.streaming.encode import UnitEncoder
from helicon.data.streaming.shards import Unit
from helicon.data.workers import Workers
from helicon.formats.files import write_text
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.progress import progress_to
from helicon.formats.quantities import quantity
from helicon.formats.read_report import repaired
from helicon.formats.temporary import remove_temporary

AHEAD = 2  # units that are made beyond the current one
RETRY_S = 0.2  # seconds between looks for a corpus that another process makes
MAX_LOGGED = 20  # damaged shards that are named; more are counted


class Feeder:
    """Maker of the units that a training comes to, in a thread with processes of its own.

    It keeps the current unit of each layout on disk and makes AHEAD further ones, more if they are small. All ranks
    and trainings on the same stream share corpora, each of which is made by one of them.

    Args:
        streams: one for each layout, which take turns; used by its thread alone.
        units: all `Unit`s of the source.
        encoder: of units.
        place: files on disk.
        near: number of batches that are made ahead by loaders, at most.
        processes: that read and encode.

    Attributes:
        failure: error that ended it, if any.
        waited: seconds that the training has waited for batches, but for the first one.
        begin_s: seconds that it has waited for the first batch.
    """

    def __init__(
        self, streams: Sequence[UnitStream], units: Sequence[Unit], encoder: UnitEncoder, place: StreamPlace, near: int,
        processes: int,
    ) -> None:  # fmt: skip
        self.streams, self.units, self.encoder, self.place = list(streams), list(units), encoder, place
        write_text(place.sign, "")
        self.near, self.workers = near, Workers(processes, background=True)
        self.failure: Exception | None = None
        self.waited, self.begin_s, self.begun = 0.0, 0.0, time.monotonic()
        self._t = 0
        self._moved, self._stopped = Event(), Event()
        self._thread: Thread | None = None
        self._held: set[tuple[int, str]] = set()  # layout and corpus
        self._files, self._skipped, self.units_read = 0, 0, 0
        self._damaged: dict[str, str] = {}
        self._lost: Counter[str] = Counter()

    def start(self, t: int) -> None:
        """Begin to feed a training whose next batch is number t, or go on there."""
        self.reached(t)
        if self._thread is None:
            self.begun = time.monotonic()
            self._thread = Thread(target=self._run, name="feeder", daemon=True)
            self._thread.start()

    def reached(self, t: int) -> None:
        """Take note that the training has got all batches before number t."""
        self._t = t
        self._moved.set()

    def note_wait(self, seconds: float) -> None:
        """Add the seconds that the training has waited for a batch."""
        if self.begin_s:
            self.waited += seconds
        else:
            self.begin_s = seconds

    def stop(self) -> None:
        """End the thread, and whoever waits for it, and remove what it has made."""
        self._stopped.set()
        self._moved.set()
        self.workers.cancel()
        if self._thread is not None:
            self._thread.join()
        remove_temporary(self.place.sign)

    def _run(self) -> None:
        try:
            with progress_to(None), self.workers:
                self.streams[0].live.clear()
                while not self._stopped.is_set():
                    self._moved.clear()
                    wait = self._feed()
                    self._moved.wait(wait)
        except Exception as error:
            if not self._stopped.is_set():
                self.failure = error
                with suppress(OSError):
                    write_text(self.place.sign, str(error) or type(error).__name__)
        finally:
            for index, name in self._held:
                self.streams[index].live.release(name)
            self._held.clear()

    def _feed(self) -> float | None:
        """Release what is done and make what is next; return the seconds until another look, None for a new batch."""
        wait = None
        while True:
            wanted = self._wanted()
            for index, name in self._held - {(i, self.streams[i].corpus_name(p)) for i, p in wanted}:
                self.streams[index].live.release(name)
                self._held.remove((index, name))
            for index, position in wanted:
                if self._stopped.is_set():
                    return None
                if (index, self.streams[index].corpus_name(position)) not in self._held:
                    if self._hold(index, position):
                        break
                    wait = RETRY_S
            else:
                return wait

    def _wanted(self) -> list[tuple[int, int]]:
        """Return (layout, position) of the units that are to be on disk, those that are needed first at first."""
        wanted = []
        for index, stream in enumerate(self.streams):
            t = -(-(self._t - index) // len(self.streams))
            place = stream.locate(max(0, t))
            position = place[0] if place else stream.counted
            while True:
                count = stream.count(position)
                if count is None or count:
                    wanted.append((position - (place[0] if place else position), index, position))
                ahead = sum(i == index for _, i, _ in wanted) - 1
                if count is None or (ahead >= AHEAD and stream.end(position) > t + self.near):
                    break
                position += 1
        return [(index, position) for _, index, position in sorted(wanted)]

    def _hold(self, index: int, position: int) -> bool:
        """Hold the corpus of a unit, made if necessary, and count its batches; False while another process makes it."""
        stream = self.streams[index]
        unit, name = self.units[stream.unit(position)], stream.corpus_name(position)

        def make(folder: Path) -> None:
            encoded = self.encoder(unit, index, folder, self.workers, self._stopped.wait)
            self.units_read += 1
            self._files += encoded.files
            self._skipped += len(encoded.skipped)
            self._lost += encoded.lost
            self._damaged |= encoded.damaged

        if not stream.live.hold(name, make):
            return False
        self._held.add((index, name))
        if stream.count(position) is None:
            windows = stream.window_stream(read_corpus(stream.live.folder / name, check=False), position)
            stream.counts.add(unit.key, windows.epoch if windows else 0)
        return True

    def report(self) -> list[str]:
        """Return lines on what was read, and on the time that the training has waited."""
        seconds = time.monotonic() - self.begun - self.begin_s
        share = 100 * self.waited / max(seconds, 1e-9)
        damaged = f", {len(self._damaged):,} of their shards damaged" if self._damaged else ""
        lines = [
            f"stream     {quantity(self.units_read, 'part')} read{damaged}; "
            f"{self._files:,} files read, {self._skipped:,} skipped",
            f"idle       {self.waited:.1f} s of {seconds:.0f} s, waiting for tokens ({share:.1f} %); before, "
            f"{self.begin_s:.1f} s for the first of them",
        ]
        lines += [
            f"  damaged  {printable(name, MAX_QUOTED)}: {printable(reason, MAX_QUOTED)}"
            for name, reason in list(self._damaged.items())[:MAX_LOGGED]
        ]
        return [*lines, *filter(None, [repaired(self._lost)])]
