"""Writer of token shards as examples come: one example is in memory at a time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from helicon.data.corpus import INDEX, MAGIC, VERSION, Corpus, checksum, narrow, read_corpus, smallest_type
from helicon.formats.files import atomic_write, write_json

HEADER_BYTES = 128  # of a .npy file, a multiple of 64 (NEP 1) that holds any number of ids

Ids = np.ndarray | Sequence[np.ndarray]  # local ids of a slot: one array, or one for each variant


class CorpusWriter:
    """Writer of the shards of a layout, to be used in a `with` block; the index, with checksums, comes last.

    Args:
        folder: of the shards.
        layout: of the examples, as text.
        block_sizes: slot -> tokens of its block.
    """

    def __init__(self, folder: Path, layout: str, block_sizes: Mapping[str, int]) -> None:
        self.folder, self.layout, self.block_sizes = folder, layout, dict(block_sizes)
        self.names: list[str] = []
        self.labels: list[str | None] = []
        self.val: list[bool] = []

    def __enter__(self) -> CorpusWriter:
        self._files = ExitStack()
        self._slots = {
            slot: _SlotWriter(self._files.enter_context(atomic_write(self.folder / f"{slot}.ids.npy")), slot, size)
            for slot, size in self.block_sizes.items()
        }
        return self

    def __exit__(self, *error: Any) -> None:
        for writer in self._slots.values():
            writer.file.close()
        self._files.__exit__(*error)

    def append(self, name: str, label: str | None, val: bool, ids: Mapping[str, Ids]) -> None:
        """Write an example.

        Args:
            name: of the example.
            label: of the example, if there is one.
            val: True in the validation part.
            ids: slot -> local ids, NumPy integers [T], or a list of variants of them.

        Raises:
            ValueError: a slot without ids, or ids that its block does not have.
        """
        self.names.append(name)
        self.labels.append(label)
        self.val.append(bool(val))
        for slot, writer in self._slots.items():
            writer.append(name, ids[slot])

    def finish(
        self, files: Sequence[int] = (), pairs: Sequence[tuple[int, int]] = (), origins: Sequence[int] = ()
    ) -> Corpus:
        """Complete the shards and open them.

        Args:
            files: number of the file of each example; empty where each has its own.
            pairs: (chosen, rejected) example numbers.
            origins: number of the source of each example; empty where all are from one.

        Returns:
            The `Corpus`, memory-mapped.
        """
        paths = [self.folder / f"{slot}.ids.npy" for slot in self._slots]
        for slot, writer in self._slots.items():
            writer.finish()
            for kind, bounds in writer.bounds().items():
                paths.append(self.folder / f"{slot}.{kind}.npy")
                with atomic_write(paths[-1]) as temporary:
                    np.save(temporary, bounds)
        self._files.close()  # renames the files of ids
        index = {
            "version": VERSION, "layout": self.layout, "names": self.names, "labels": self.labels, "held": self.val,
            "checksums": {path.name: checksum(path) for path in paths},
            "files": list(files), "pairs": [list(pair) for pair in pairs], "origins": list(origins),
        }  # fmt: skip
        write_json(self.folder / INDEX, index)
        return read_corpus(self.folder)


class _SlotWriter:
    """Writer of the ids of a slot to a .npy file, whose header, with their number, is written last."""

    def __init__(self, path: Path, slot: str, size: int) -> None:
        self.slot, self.size = slot, size
        self.offsets, self.variants = array("q", [0]), array("q", [0])  # bounds, as in `Corpus`
        self.file = path.open("wb")
        self.file.write(bytes(HEADER_BYTES))

    def append(self, name: str, ids: Ids) -> None:
        variants = [ids] if isinstance(ids, np.ndarray) else list(ids)
        if not variants:
            raise ValueError(f"{name}: no ids for the slot {self.slot}")
        for variant in variants:
            self.file.write(narrow(variant, self.size, f"{name}: {self.slot}").tobytes())
            self.offsets.append(self.offsets[-1] + len(variant))
        self.variants.append(len(self.offsets) - 1)

    def finish(self) -> None:
        kind = np.lib.format.dtype_to_descr(smallest_type(self.size)[0])
        header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({self.offsets[-1]},), }}"
        self.file.seek(0)
        self.file.write(MAGIC + (HEADER_BYTES - len(MAGIC) - 2).to_bytes(2, "little"))
        self.file.write(header.ljust(HEADER_BYTES - len(MAGIC) - 3).encode() + b"\n")
        self.file.close()

    def bounds(self) -> dict[str, np.ndarray]:
        """Return `offsets`, and `variants` if some example has several."""
        bounds = {"offsets": np.array(self.offsets, np.int64)}
        if len(self.offsets) > len(self.variants):
            bounds["variants"] = np.array(self.variants, np.int64)
        return bounds


def write_corpus(
    folder: Path, layout: str, rows: Iterable[tuple[str, str | None, bool, Mapping[str, Ids]]],
    block_sizes: Mapping[str, int],
) -> Corpus:  # fmt: skip
    """Write the shards of examples, each of which has a file of its own.

    Args:
        folder: of the shards.
        layout: of the examples, as text.
        rows: (name, label, True in the validation part, ids) of each example, the arguments of `CorpusWriter.append`.
        block_sizes: slot -> tokens of its block.

    Returns:
        The corpus, memory-mapped.

    Raises:
        ValueError: a slot without ids, or ids that its block does not have.
    """
    with CorpusWriter(folder, layout, block_sizes) as writer:
        for row in rows:
            writer.append(*row)
        return writer.finish()
