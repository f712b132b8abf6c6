"""Token shards on disk: the ids of every slot of every example, memory-mapped; names, labels, the held-out split."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from helicon.formats.files import atomic_write, open_regular, read_regular, write_json
from helicon.formats.printable import MOST, printable
from helicon.sequence.layout import Layout

VERSION = 4
INDEX = "corpus.json"
MAX_INDEX_BYTES = 1 << 30  # names of ten million examples
SHARD = re.compile(r"(\w+)\.(ids|offsets|variants)\.npy")
MAGIC = b"\x93NUMPY\x01\x00"  # of NEP 1
HEADER = re.compile(rb"\{'descr': '([<>|][iu][1248])', 'fortran_order': False, 'shape': \((\d{1,15}),\), \} *\n")

Ids = np.ndarray | Sequence[np.ndarray]  # of a slot: one array, or its variants


class CorpusError(ValueError):
    """Shards that are damaged, half-written or of another version; they are to be built again."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Examples of one layout. What is read from a folder is sent to other processes as that folder, not as its arrays.

    ids: slot -> flat array of local ids of all variants. offsets: slot -> int64 [variants + 1] into it.
    variants: slot -> int64 [examples + 1] into the variants, for slots of which some example has several.
    files: int64 [examples], number of the file that each comes from: of a long text the same for each of its documents;
    empty where each has its own. pairs: int64 [pairs, 2], the examples of which the first was preferred to the second.
    """

    layout: str
    names: list[str]
    labels: list[str | None]
    val: np.ndarray
    ids: Mapping[str, np.ndarray]
    offsets: Mapping[str, np.ndarray]
    variants: Mapping[str, np.ndarray] = field(default_factory=dict)
    files: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    pairs: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    folder: Path | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return super().__reduce_ex__(protocol) if self.folder is None else (read_corpus, (self.folder, False))

    def __len__(self) -> int:
        return len(self.names)

    def example(self, index: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Local ids of each slot, int64: the first variant, or one drawn by `rng`.

        One number is drawn for all slots, so that those of one medium are of the same variant, and none where no slot
        has variants.
        """
        draw = rng.random() if rng is not None and self.variants else 0.0
        found = {}
        for slot, ids in self.ids.items():
            first, end = self.variants[slot][index : index + 2] if slot in self.variants else (index, index + 1)
            start, stop = self.offsets[slot][first + int(draw * (end - first)) :][:2]
            found[slot] = np.asarray(ids[start:stop], np.int64)
        return found

    def lengths(self, slot: str) -> np.ndarray:
        """Tokens of a slot in each example, of its first variant, int64 [examples]."""
        lengths = np.diff(self.offsets[slot])
        return lengths[self.variants[slot][:-1]] if slot in self.variants else lengths

    def longest(self, slot: str) -> np.ndarray:
        """Tokens of a slot in each example, of its longest variant, int64 [examples]."""
        lengths = np.diff(self.offsets[slot])
        return np.maximum.reduceat(lengths, self.variants[slot][:-1]) if slot in self.variants else lengths

    def select(self, val: bool) -> np.ndarray:
        """Indices of the held-out examples, or of those to train on."""
        return np.flatnonzero(self.val == val)

    def tokens(self, val: bool) -> int:
        """Tokens of the slot that is made, over one side of the split."""
        return int(self.lengths(Layout.parse(self.layout).target.name)[self.select(val)].sum())

    def select_pairs(self, val: bool) -> np.ndarray:
        """The held-out pairs [N, 2], or those to train on: both of a pair are on the same side."""
        return self.pairs[self.val[self.pairs[:, 0]] == val]


def write_corpus(
    folder: Path, layout: str, rows: Iterable[tuple[str, str | None, bool, Mapping[str, Ids]]],
    block_sizes: Mapping[str, int], files: Sequence[int] = (), pairs: Sequence[tuple[int, int]] = (),
) -> Corpus:  # fmt: skip
    """Writes (name, label, held out, ids of each slot) as shards; the index, with checksums, comes last.

    Ids of a slot are an array, or a list of several: variants of which one is used at a time. ValueError for ids that
    the slot's block does not have.
    """
    names, labels, val = [], [], []
    parts: dict[str, list[np.ndarray]] = {slot: [] for slot in block_sizes}
    counts: dict[str, list[int]] = {slot: [0] for slot in block_sizes}
    for name, label, out, ids in rows:
        names.append(name)
        labels.append(label)
        val.append(bool(out))
        for slot, size in block_sizes.items():
            given = ids[slot]
            variants = [given] if isinstance(given, np.ndarray) else list(given)
            if not variants:
                raise ValueError(f"{name}: no ids for the slot {slot}")
            parts[slot] += [narrow(variant, size, f"{name}: {slot}") for variant in variants]
            counts[slot].append(len(variants))
    arrays = {}
    for slot, found in parts.items():
        arrays[f"{slot}.ids"] = np.concatenate(found) if found else np.zeros(0, np.uint8)
        arrays[f"{slot}.offsets"] = np.array([0, *map(len, found)], np.int64).cumsum()
        if len(found) > len(names):
            arrays[f"{slot}.variants"] = np.array(counts[slot], np.int64).cumsum()
    checksums = {}
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        with atomic_write(path) as temporary:
            np.save(temporary, array)
        checksums[path.name] = _checksum(path)
    index = {
        "version": VERSION, "layout": layout, "names": names, "labels": labels, "held": val, "checksums": checksums,
        "files": list(files), "pairs": [list(pair) for pair in pairs],
    }  # fmt: skip
    write_json(folder / INDEX, index)
    return read_corpus(folder)


def narrow(ids: np.ndarray, size: int, what: str) -> np.ndarray:
    """Ids as the smallest type for those of a block of `size` tokens; ValueError, beginning with `what`, for others."""
    kind, whole = _smallest(size)
    if whole and ids.dtype == kind:  # there are no others
        return ids
    if len(ids) and int(ids.view(f"u{ids.itemsize}").max()) >= size:  # seen so, negative ones are large
        raise ValueError(f"{what} ids must be from 0 to {size - 1}, got {ids.min()} to {ids.max()}")
    return ids.astype(kind, copy=False)


@cache
def _smallest(size: int) -> tuple[np.dtype, bool]:
    """The smallest type for ids below a size, and whether it holds no others."""
    kind = np.min_scalar_type(max(0, size - 1))
    return kind, int(np.iinfo(kind).max) == size - 1


def read_corpus(folder: Path, check: bool = True) -> Corpus:
    """Opens shards without reading the ids into memory. CorpusError says why they cannot be used.

    check: whether checksums are compared, for which all is read once.
    """
    try:
        index: dict[str, Any] = json.loads(read_regular(folder / INDEX, MAX_INDEX_BYTES, links=False))
        if index["version"] != VERSION:
            raise CorpusError(f"{folder}: version {printable(index['version'], MOST)}, this is {VERSION}")
        arrays: dict[str, dict[str, np.ndarray]] = {"ids": {}, "offsets": {}, "variants": {}}
        for name, checksum in sorted(index["checksums"].items()):
            shard = SHARD.fullmatch(name)
            if not shard:  # it may lead elsewhere
                raise CorpusError(f"{folder / INDEX}: {printable(name, MOST)!r} is no name of a shard")
            slot, kind = shard.groups()
            arrays[kind][slot] = _mapped(folder / name, "u" if kind == "ids" else "i")  # as large as it says
            if check and _checksum(folder / name) != checksum:
                raise CorpusError(f"{folder / name}: checksum differs")
        names, labels, val = index["names"], index["labels"], np.array(index["held"], bool)
        files, pairs = np.array(index["files"], np.int64), np.array(index["pairs"], np.int64).reshape(-1, 2)
        whole = len(names) == len(labels) == len(val) and len(files) in (0, len(names))
        whole &= bool(((pairs >= 0) & (pairs < len(names))).all())
        for slot, ids in arrays["ids"].items():
            variants = arrays["variants"].get(slot, np.arange(len(names) + 1))
            offsets = arrays["offsets"][slot]
            whole &= len(variants) == len(names) + 1 and (np.diff(variants) > 0).all()
            whole &= _fit(variants, len(offsets) - 1) and _fit(offsets, len(ids))
        if not whole:
            raise CorpusError(f"{folder}: names, offsets and ids do not fit together")
        return Corpus(
            layout=index["layout"], names=names, labels=labels, val=val, **arrays, files=files, pairs=pairs,
            folder=folder,
        )  # fmt: skip
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, CorpusError) else CorpusError(f"{folder}: {printable(error, MOST)}") from None


def _fit(offsets: np.ndarray, total: int) -> bool:
    """Whether they go from 0 up to the total."""
    return offsets[0] == 0 and offsets[-1] == total and bool((np.diff(offsets) >= 0).all())


def _mapped(path: Path, kind: str) -> np.ndarray:
    """A row of numbers of numpy's kind `u` or `i`, memory-mapped. CorpusError unless the file is as its header says.

    The header is checked before anything is allocated by it: it may be forged.
    """
    with open_regular(path, links=False) as file:
        magic, length = file.read(8), int.from_bytes(file.read(2), "little")
        header = HEADER.fullmatch(file.read(length))
        start = file.tell()
    if magic != MAGIC or header is None:
        raise CorpusError(f"{path}: not a row of numbers as they are written")
    dtype, count = np.dtype(header[1].decode()), int(header[2])
    if dtype.kind != kind or start + count * dtype.itemsize != path.stat().st_size:
        raise CorpusError(f"{path}: {path.stat().st_size} bytes, which are not {count} numbers of the kind {dtype}")
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))  # plain arrays of the file are sliced faster


def _checksum(path: Path) -> int:
    value = 0
    with open_regular(path, links=False) as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value
