"""Files to media on all cores: in order, tolerant of bad files, read once where they fit into memory."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tqdm import tqdm

from helicon.data.files import Entry
from helicon.modalities import registry
from helicon.modalities.base import Modality

KEPT_BYTES = 64 << 20  # files up to this size in all stay in memory between fitting and encoding
POOL_FROM_BYTES = 2 << 20  # below this, starting processes costs more than it saves

Media = dict[str, Any]  # modality name -> media object
Read = tuple[Media | None, str, dict[str, int]]  # media or None, reason it was passed over, counts of what was repaired


class Reader:
    """Reads entries on all cores, in order; those of a small set are read once and kept."""

    def __init__(self, entries: Sequence[Entry], modalities: Sequence[Modality], options: Mapping[str, Any]) -> None:
        self.entries, self.modalities, self.options = list(entries), list(modalities), dict(options)
        self.good: list[Entry] = []
        self.skipped: dict[str, str] = {}
        self.repaired: dict[str, int] = {}
        self._bytes = sum(path.stat().st_size for entry in entries for path in entry.files.values())
        self._kept: list[Media] | None = None

    def read(self, what: str) -> Iterator[tuple[Entry, Media]]:
        """Entries and their media; the first pass learns which are good."""
        if self._kept is not None:
            yield from zip(self.good, self._kept)
            return
        first = not self.good
        entries, kept = self.entries if first else self.good, []
        bar = tqdm(self._results(entries), total=len(entries), desc=what, unit=" files", leave=False, disable=None)
        for entry, (media, reason, repaired) in zip(entries, bar):
            if media is None:
                self.skipped[str(next(iter(entry.files.values())))] = reason
                continue
            if first:
                self.good.append(entry)
                for event, n in repaired.items():
                    self.repaired[event] = self.repaired.get(event, 0) + n
            if self._bytes <= KEPT_BYTES:
                kept.append(media)
            yield entry, media
        if self._bytes <= KEPT_BYTES:
            self._kept = kept

    def _results(self, entries: Sequence[Entry]) -> Iterator[Read]:
        tasks = [(entry, [modality.name for modality in self.modalities], self.options) for entry in entries]
        cores = os.cpu_count() or 1
        if self._bytes < POOL_FROM_BYTES or cores == 1 or not hasattr(sys.modules["__main__"], "__file__"):
            yield from map(read_entry, tasks)
            return
        # Spawned, because a forked child of a process whose threads hold locks can hang
        with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(read_entry, tasks, chunksize=max(1, min(32, len(tasks) // (4 * cores))))


def read_entry(task: tuple[Entry, Sequence[str], Mapping[str, Any]]) -> Read:
    """Reads the files of one entry; a file that cannot be read gives its reason instead of an exception."""
    entry, names, options = task
    media: Media = {}
    repaired: dict[str, int] = {}
    for name in names:
        modality = registry.get(name)
        try:
            if name in entry.files:
                media[name], counts = modality.read(entry.files[name], entry.label, options)
            else:
                media[name], counts = modality.from_text(entry.texts[0]), {}
        except (OSError, ValueError) as error:
            return None, " ".join(str(error).split()), {}
        for what, n in counts.items():
            repaired[what] = repaired.get(what, 0) + n
    return media, "", repaired
