"""Token shards on disk: the ids of every slot of every example, memory-mapped; names, labels, the held-out split."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from helicon.formats.files import atomic_write, write_json

VERSION = 1
INDEX = "corpus.json"


class CorpusError(ValueError):
    """Shards that are damaged, half-written or of another version; they are to be built again."""


@dataclass(frozen=True)
class Corpus:
    """Examples of one layout. ids: slot -> flat array of local ids; offsets: slot -> int64 [examples + 1] into it."""

    layout: str
    names: list[str]
    labels: list[str | None]
    held: np.ndarray
    ids: Mapping[str, np.ndarray]
    offsets: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.names)

    def example(self, index: int) -> dict[str, np.ndarray]:
        """Local ids of each slot, int64."""
        return {
            slot: np.asarray(ids[self.offsets[slot][index] : self.offsets[slot][index + 1]], np.int64)
            for slot, ids in self.ids.items()
        }

    def lengths(self, slot: str) -> np.ndarray:
        """Tokens of a slot in each example, int64 [examples]."""
        return np.diff(self.offsets[slot])

    def select(self, held: bool) -> np.ndarray:
        """Indices of the held-out examples, or of those to train on."""
        return np.flatnonzero(self.held == held)

    def tokens(self, held: bool) -> int:
        """Tokens of the slot that is made, over one side of the split."""
        return int(self.lengths(self.layout.split()[-1].partition("[")[0])[self.select(held)].sum())


def write_corpus(
    folder: Path, layout: str, rows: Iterable[tuple[str, str | None, bool, Mapping[str, np.ndarray]]],
    block_sizes: Mapping[str, int],
) -> Corpus:  # fmt: skip
    """Writes (name, label, held out, ids of each slot) as shards; the index, with checksums, comes last."""
    names, labels, held = [], [], []
    parts: dict[str, list[np.ndarray]] = {slot: [] for slot in block_sizes}
    for name, label, out, ids in rows:
        names.append(name)
        labels.append(label)
        held.append(bool(out))
        for slot, size in block_sizes.items():
            parts[slot].append(np.asarray(ids[slot]).astype(np.uint16 if size <= 1 << 16 else np.uint32))
    checksums = {}
    for slot, arrays in parts.items():
        lengths = np.array([0, *map(len, arrays)], np.int64)
        flat = np.concatenate(arrays) if arrays else np.zeros(0, np.uint16)
        for kind, array in (("ids", flat), ("offsets", lengths.cumsum())):
            path = folder / f"{slot}.{kind}.npy"
            with atomic_write(path) as temporary:
                np.save(temporary, array)
            checksums[path.name] = _checksum(path)
    index = {
        "version": VERSION, "layout": layout, "names": names, "labels": labels, "held": held, "checksums": checksums,
    }  # fmt: skip
    write_json(folder / INDEX, index)
    return read_corpus(folder)


def read_corpus(folder: Path) -> Corpus:
    """Opens shards without reading the ids into memory. CorpusError says why they cannot be used."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["version"] != VERSION:
            raise CorpusError(f"{folder}: version {index['version']}, this is {VERSION}")
        for name, checksum in index["checksums"].items():
            if _checksum(folder / name) != checksum:
                raise CorpusError(f"{folder / name}: checksum differs")
        slots = sorted({name.split(".")[0] for name in index["checksums"]})
        arrays = {
            kind: {s: np.load(folder / f"{s}.{kind}.npy", mmap_mode="r", allow_pickle=False) for s in slots}
            for kind in ("ids", "offsets")
        }
        held = np.array(index["held"], bool)
        return Corpus(index["layout"], index["names"], index["labels"], held, arrays["ids"], arrays["offsets"])
    except (OSError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise error if isinstance(error, CorpusError) else CorpusError(f"{folder}: {error}") from None


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value
