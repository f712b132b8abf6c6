"""Files to media on all cores: in order, tolerant of bad files, read once where the media fit into memory."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from helicon.data.entries import Entry, at_path, size
from helicon.data.shards import shown
from helicon.modalities import registry
from helicon.modalities.base import Modality

KEPT_BYTES = 64 << 20  # media up to this size in all stay in memory between fitting and encoding
POOL_FROM_BYTES = 2 << 20  # below this, starting processes costs more than it saves
CHUNK_BYTES = 2 << 20  # of media that a process reads at a time, about
LONGEST_CHUNK = 32  # entries
AHEAD = 2  # chunks for each core that may wait to be used

Media = dict[str, Any]  # modality name -> media object, or Alternatives
Task = tuple[Entry, Sequence[str], Mapping[str, Any]]  # what to read, names of modalities, options


class Alternatives(tuple[Any, ...]):
    """Several media of one example and modality, such as captions of a picture, of which each epoch takes one."""


def variants(media: Any) -> list[Any]:
    """The media of one example: the alternatives, or the only one."""
    return list(media) if isinstance(media, Alternatives) else [media]


@dataclass(frozen=True)
class Read:
    """Media, or None, the file that cannot be read and why; counts of what was repaired; bytes that the media take."""

    media: Media | None
    file: str = ""
    reason: str = ""
    repaired: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


class Reader:
    """Reads entries on all cores, in order; those of a small set are read once and kept."""

    def __init__(self, entries: Sequence[Entry], modalities: Sequence[Modality], options: Mapping[str, Any]) -> None:
        self.entries, self.modalities, self.options = list(entries), list(modalities), dict(options)
        self.good: list[Entry] = []
        self.skipped: dict[str, str] = {}
        self.repaired: dict[str, int] = {}
        self._kept: list[Media] | None = None

    def read(self, what: str) -> Iterator[tuple[Entry, Media]]:
        """Entries and their media; the first pass learns which are good."""
        if self._kept is not None:
            yield from zip(self.good, self._kept)
            return
        first = not self.good
        entries = self.entries if first else self.good
        kept, taken = [], 0
        bar = tqdm(self._results(entries), total=len(entries), desc=what, unit=" files", leave=False, disable=None)
        for entry, found in zip(entries, bar):
            if found.media is None:
                self.skipped[found.file] = found.reason
                continue
            if first:
                self.good.append(entry)
                for event, n in found.repaired.items():
                    self.repaired[event] = self.repaired.get(event, 0) + n
            taken += found.bytes
            if taken <= KEPT_BYTES:
                kept.append(found.media)
            else:
                kept.clear()
            yield entry, found.media
        if taken <= KEPT_BYTES:
            self._kept = kept

    def _results(self, entries: Sequence[Entry]) -> Iterator[Read]:
        tasks = [(entry, [modality.name for modality in self.modalities], self.options) for entry in entries]
        cores = os.cpu_count() or 1
        total = sum(size(file) for entry in entries for file in entry.files.values())
        if total < POOL_FROM_BYTES or cores == 1 or not hasattr(sys.modules["__main__"], "__file__"):
            return map(read_entry, tasks)
        return pooled(tasks, cores)


def pooled(tasks: Sequence[Task], processes: int) -> Generator[Read, None, None]:
    """`read_entry` of each task, in order, by several processes, which wait when their results are not taken.

    Entries are sent in chunks of about CHUNK_BYTES of what came back so far.
    """
    most = max(1, min(LONGEST_CHUNK, len(tasks) // (4 * processes)))
    start, chunk = 0, 1
    done, taken = 0, 0
    pending: deque[Future[list[Read]]] = deque()
    # Spawned, because a forked child of a process whose threads hold locks can hang
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        while start < len(tasks) or pending:
            while start < len(tasks) and len(pending) < AHEAD * processes:
                pending.append(pool.submit(read_entries, tasks[start : start + chunk]))
                start += chunk
            results = pending.popleft().result()
            done, taken = done + len(results), taken + sum(found.bytes for found in results)
            chunk = max(1, min(most, CHUNK_BYTES * done // max(1, taken)))
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)


def read_entries(tasks: Sequence[Task]) -> list[Read]:
    """`read_entry` of each."""
    return [read_entry(task) for task in tasks]


def read_entry(task: Task) -> Read:
    """Reads the files of one entry; a file that cannot be read gives its reason instead of an exception."""
    entry, names, options = task
    media: Media = {}
    repaired: dict[str, int] = {}
    taken = 0
    for name in names:
        modality = registry.get(name)
        try:
            if name in entry.files:
                file = entry.files[name]
                with at_path(file) as path:
                    media[name], counts = modality.read(path, entry.label, options)
                taken += getattr(media[name], "nbytes", None) or size(file)
            else:
                said = [modality.from_text(text) for text in entry.texts]
                media[name], counts = said[0] if len(said) == 1 else Alternatives(said), {}
                taken += sum(map(len, entry.texts))
        except (OSError, ValueError) as error:
            file = entry.files.get(name) or next(iter(entry.files.values()))
            return Read(None, shown(str(file)), " ".join(str(error).split()))
        for what, n in counts.items():
            repaired[what] = repaired.get(what, 0) + n
    return Read(media, repaired=repaired, bytes=taken)
