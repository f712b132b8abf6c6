"""Token shards on disk: memory-mapped ids of each slot of each example, with names, labels and validation split."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from helicon.formats.files import open_regular, read_regular
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.sequence.layout import Layout

VERSION = 5  # of the shards; others are built again
INDEX = "corpus.json"  # names, labels, split and checksums
MAX_INDEX_BYTES = 1 << 30  # names of ten million examples
SHARD = re.compile(r"(\w+)\.(ids|offsets|variants)\.npy")  # name of a file: slot and kind of array
MAGIC = b"\x93NUMPY\x01\x00"  # of .npy files, version 1.0 (NEP 1)
# Header of a .npy file with one axis of integers: their type and number
HEADER = re.compile(rb"\{'descr': '([<>|][iu][1248])', 'fortran_order': False, 'shape': \((\d{1,15}),\), \} *\n")


class CorpusError(ValueError):
    """Shards that are damaged, incomplete or of another version; they have to be built again."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Examples of one layout. A corpus read from a folder is pickled as the folder's path, without its arrays.

    Attributes:
        layout: of the examples.
        names: of the examples.
        labels: of the examples; None where there is none.
        val: bool [examples], True in the validation part.
        ids: slot -> local ids of all variants, unsigned [tokens].
        offsets: slot -> bounds of each variant in `ids`, int64 [variants + 1].
        variants: slot -> bounds of each example in the variants, int64 [examples + 1]; only of slots of which some
            example has several.
        files: number of the file of each example, int64 [examples], the same for all documents of a long text; empty
            where each example has its own file.
        pairs: int64 [pairs, 2], the chosen and the rejected example of preference pairs.
        origins: number of the source of each example, int64 [examples]; empty where all are from one.
        folder: of the shards, if they are on disk.
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
    origins: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    folder: Path | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return super().__reduce_ex__(protocol) if self.folder is None else (read_corpus, (self.folder, False))

    def __len__(self) -> int:
        return len(self.names)

    def example(self, index: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Return the local ids of an example.

        Args:
            index: number of the example.
            rng: draws the variant; None for the first. One draw serves all slots, so that slots of one medium have the
                same variant; nothing is drawn where no slot has variants.

        Returns:
            Slot -> local ids of its T tokens, NumPy int64 [T].
        """
        draw = rng.random() if rng is not None and self.variants else 0.0
        example = {}
        for slot, ids in self.ids.items():
            first, end = self.variants[slot][index : index + 2] if slot in self.variants else (index, index + 1)
            start, stop = self.offsets[slot][first + int(draw * (end - first)) :][:2]
            example[slot] = np.asarray(ids[start:stop], np.int64)
        return example

    def variants_of(self, index: int) -> dict[str, list[np.ndarray]]:
        """Return slot -> local ids of each variant of an example, given its number, as they are stored."""
        several = {}
        for slot, ids in self.ids.items():
            first, end = self.variants[slot][index : index + 2] if slot in self.variants else (index, index + 1)
            bounds = self.offsets[slot][first : end + 1]
            several[slot] = [ids[start:stop] for start, stop in pairwise(bounds)]
        return several

    def lengths(self, slot: str) -> np.ndarray:
        """Return the number of tokens of a slot (name) in each example's first variant, NumPy int64 [examples]."""
        lengths = np.diff(self.offsets[slot])
        return lengths[self.variants[slot][:-1]] if slot in self.variants else lengths

    def longest(self, slot: str) -> np.ndarray:
        """Return the number of tokens of a slot (name) in each example's longest variant, NumPy int64 [examples]."""
        lengths = np.diff(self.offsets[slot])
        return np.maximum.reduceat(lengths, self.variants[slot][:-1]) if slot in self.variants else lengths

    def select(self, val: bool) -> np.ndarray:
        """Return the numbers of the N validation examples, with `val` False of the training ones, NumPy int64 [N]."""
        return np.flatnonzero(self.val == val)

    def origin(self, index: int) -> int:
        """Return the number of the source that the example of this number is from."""
        return int(self.origins[index]) if len(self.origins) else 0

    def of_origin(self, number: int) -> np.ndarray:
        """Return whether each example is from the source of this number, bool [examples]."""
        return self.origins == number if len(self.origins) else np.full(len(self), number == 0)

    def tokens(self, val: bool, origin: int | None = None) -> int:
        """Count the tokens of the target slot.

        Args:
            val: in the validation part; False for the training part.
            origin: number of a source; None for all sources.

        Returns:
            Number of tokens, in the first variant of each example.
        """
        lengths = self.lengths(Layout.parse(self.layout).target.name)
        return int(lengths[(self.val == val) & (True if origin is None else self.of_origin(origin))].sum())

    def select_pairs(self, val: bool) -> np.ndarray:
        """Return the N validation pairs, or with `val` False the training pairs; no pair is in both parts.

        Returns:
            Example numbers (chosen, rejected), NumPy int64 [N, 2].
        """
        return self.pairs[self.val[self.pairs[:, 0]] == val]


def narrow(ids: np.ndarray, size: int, what: str) -> np.ndarray:
    """Cast ids to the smallest integer type that holds a block.

    Args:
        ids: of the block, NumPy integers [T].
        size: tokens of the block.
        what: beginning of the error message.

    Returns:
        The same ids, NumPy uint8, uint16, uint32 or uint64 [T].

    Raises:
        ValueError: ids outside 0 .. size - 1.
    """
    kind, is_exact = smallest_type(size)
    if is_exact and ids.dtype == kind:  # the type has no other values
        return ids
    if len(ids) and int(ids.view(f"u{ids.itemsize}").max()) >= size:  # as unsigned, negative ids are large
        raise ValueError(f"{what} ids must be from 0 to {size - 1}, got {ids.min()} to {ids.max()}")
    return ids.astype(kind, copy=False)


@cache
def smallest_type(size: int) -> tuple[np.dtype, bool]:
    """Return the smallest type for ids below `size`, and whether all of its values are below."""
    kind = np.min_scalar_type(max(0, size - 1))
    return kind, int(np.iinfo(kind).max) == size - 1


def read_corpus(folder: Path, check: bool = True) -> Corpus:
    """Open the shards of a folder; ids are memory-mapped.

    Args:
        folder: of the shards.
        check: True compares checksums, for which everything is read once.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: shards that cannot be used, with the reason.
    """
    try:
        index: dict[str, Any] = json.loads(read_regular(folder / INDEX, MAX_INDEX_BYTES, links=False))
        if index["version"] != VERSION:
            raise CorpusError(f"{folder}: version {printable(index['version'], MAX_QUOTED)}, this is {VERSION}")
        arrays: dict[str, dict[str, np.ndarray]] = {"ids": {}, "offsets": {}, "variants": {}}
        for name, stored in sorted(index["checksums"].items()):
            shard = SHARD.fullmatch(name)
            if not shard:  # it may be a path out of the folder
                raise CorpusError(f"{folder / INDEX}: {printable(name, MAX_QUOTED)!r} is no name of a shard")
            slot, kind = shard.groups()
            arrays[kind][slot] = _mapped(folder / name, "u" if kind == "ids" else "i")  # of the length in its header
            if check and checksum(folder / name) != stored:
                raise CorpusError(f"{folder / name}: checksum differs")
        names, labels, val = index["names"], index["labels"], np.array(index["held"], bool)
        files, pairs = np.array(index["files"], np.int64), np.array(index["pairs"], np.int64).reshape(-1, 2)
        origins = np.array(index["origins"], np.int64)
        consistent = len(names) == len(labels) == len(val) and {len(files), len(origins)} <= {0, len(names)}
        consistent &= bool(((pairs >= 0) & (pairs < len(names))).all())
        for slot, ids in arrays["ids"].items():
            variants = arrays["variants"].get(slot, np.arange(len(names) + 1))
            offsets = arrays["offsets"][slot]
            consistent &= len(variants) == len(names) + 1 and (np.diff(variants) > 0).all()
            consistent &= _fit(variants, len(offsets) - 1) and _fit(offsets, len(ids))
        if not consistent:
            raise CorpusError(f"{folder}: names, offsets and ids do not fit together")
        return Corpus(
            layout=index["layout"], names=names, labels=labels, val=val, **arrays, files=files, pairs=pairs,
            origins=origins, folder=folder,
        )  # fmt: skip
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise (
            error if isinstance(error, CorpusError) else CorpusError(f"{folder}: {printable(error, MAX_QUOTED)}")
        ) from None


def _fit(offsets: np.ndarray, total: int) -> bool:
    """Return whether offsets rise from 0 to the total."""
    return offsets[0] == 0 and offsets[-1] == total and bool((np.diff(offsets) >= 0).all())


def _mapped(path: Path, kind: str) -> np.ndarray:
    """Memory-map a one-dimensional .npy file of numpy kind `u` or `i`; CorpusError if size and header disagree.

    The header may be forged: it is checked before anything is allocated.
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


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    value = 0
    with open_regular(path, links=False) as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value
