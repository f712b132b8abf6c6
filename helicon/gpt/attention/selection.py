"""Selection of the attention backend: one on a CPU; on CUDA the fastest by a table of measured times.

`python benchmarks/gpu.py --attention` measures all backends on the GPU at hand and writes the table. For a case without
measurements, the backend is one that uses PyTorch's public functions only, the one of least memory first: `disjoint`
where nothing has to be merged, `masked` up to 4,096 tokens, where masks are small, and `matmul` beyond.
"""

from __future__ import annotations

import json
from functools import cache
from math import log2
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from helicon.gpt.attention.backends import BACKENDS
from helicon.gpt.attention.pattern_base import AttentionPattern

# Measured times on CUDA, which come with the package
TABLE = Path(__file__).with_name("cuda_backends.json")
MAX_MASKED_TOKENS = 4096  # a mask of 16 million pairs, 16 MB


class TimingKey(NamedTuple):
    """Key of a measured time.

    Attributes:
        pattern: name of the pattern, such as `strided`.
        prefixed: True if the sequence has a prefix.
        dtype: `bfloat16`, which stands for float16, too, or `float32`.
    """

    pattern: str
    prefixed: bool
    dtype: str

    @staticmethod
    def of(pattern: AttentionPattern, prefix: int, dtype: torch.dtype) -> TimingKey:
        """Make the key of a case.

        Args:
            pattern: `AttentionPattern` of the target slot.
            prefix: number of positions before the target slot.
            dtype: `torch.dtype` of the queries.

        Returns:
            The `TimingKey` of such sequences.
        """
        half = dtype in (torch.bfloat16, torch.float16)
        return TimingKey(str(pattern).partition(":")[0], prefix > 0, "bfloat16" if half else "float32")


class Timing(NamedTuple):
    """Measured times of one case.

    Attributes:
        key: the case.
        tokens: length T of the sequence.
        ms: milliseconds of forward and backward, by name of each backend that supports the case.
    """

    key: TimingKey
    tokens: int
    ms: dict[str, float]


class TimingTable(NamedTuple):
    """Table of measured times.

    Attributes:
        measured_on: GPU, versions and date; None when nothing was measured.
        rows: the times.
    """

    measured_on: str | None
    rows: tuple[Timing, ...]

    @staticmethod
    def read(path: Path = TABLE) -> TimingTable:
        """Read a `TimingTable` from a JSON file: the inverse of `write`."""
        table = json.loads(path.read_text(encoding="utf-8"))
        rows = (Timing(TimingKey(r["pattern"], r["prefixed"], r["dtype"]), r["tokens"], r["ms"]) for r in table["rows"])
        return TimingTable(table["measured_on"], tuple(rows))

    def write(self, path: Path = TABLE) -> None:
        """Write the table to a JSON file, one row per line."""
        rows = ",\n".join(json.dumps({**row.key._asdict(), "tokens": row.tokens, "ms": row.ms}) for row in self.rows)
        text = f'{{"measured_on": {json.dumps(self.measured_on)},\n"rows": [\n{rows}\n]}}\n'
        path.write_text(text, encoding="utf-8")

    def fastest(self, key: TimingKey, tokens: int) -> list[str]:
        """Rank the backends of a case by the times at the nearest length, nearest in the logarithm.

        Args:
            key: `TimingKey` of the case.
            tokens: length T of the sequence.

        Returns:
            Keys of BACKENDS, fastest first; empty without measurements of the case.
        """
        rows = [row for row in self.rows if row.key == key]
        if not rows:
            return []
        nearest = min(rows, key=lambda row: abs(log2(row.tokens / tokens)))
        return sorted(nearest.ms, key=nearest.ms.__getitem__)


def select_backend(pattern: AttentionPattern, prefix: int, q_BHTD: Tensor) -> str:
    """Choose the backend for a sequence.

    Args:
        pattern: `AttentionPattern` of the target slot.
        prefix: number of positions before the target slot.
        q_BHTD: queries of H heads of width D, T tokens, for their device, dtype and shape.

    Returns:
        Name of the backend, a key of BACKENDS.
    """
    device, tokens = q_BHTD.device.type, q_BHTD.shape[2]
    if device != "cuda":
        return "lse_merged" if device == "cpu" else "matmul"
    measured = cuda_table().fastest(TimingKey.of(pattern, prefix, q_BHTD.dtype), tokens)
    unmeasured = ["disjoint", *(["masked"] if tokens <= MAX_MASKED_TOKENS else []), "matmul"]
    return next(name for name in [*measured, *unmeasured] if BACKENDS[name].supports(q_BHTD, pattern, prefix))


@cache
def cuda_table() -> TimingTable:
    """Read the `TimingTable` that comes with the package. Cached."""
    return TimingTable.read()
