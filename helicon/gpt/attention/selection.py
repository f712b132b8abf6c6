"""Which way a pattern is run on a device: the CPU has one, CUDA's are chosen by a table of measured times.

`python benchmarks/gpu.py --attention` measures all ways on the card at hand and writes the table. Until it has rows,
the way taken is one of public functions alone, the least memory first: tiles apart where nothing has to be merged; the
fused kernel with the whole mask up to 4,096 tokens, whose masks are small; matrix products beyond.
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

TABLE = Path(__file__).with_name("cuda_backends.json")
MASKED_UP_TO = 4096  # tokens; a mask of 16 million pairs


class TimingKey(NamedTuple):
    """What a row of the table is of: pattern, such as `strided`; whether tokens come before its slot; type of numbers.

    Half precision is one type, bfloat16.
    """

    pattern: str
    prefixed: bool
    dtype: str

    @staticmethod
    def of(pattern: AttentionPattern, prefix: int, dtype: torch.dtype) -> TimingKey:
        """That of a case."""
        half = dtype in (torch.bfloat16, torch.float16)
        return TimingKey(str(pattern).partition(":")[0], prefix > 0, "bfloat16" if half else "float32")


class Timing(NamedTuple):
    """Milliseconds, forward and backward, of each way that the card could go."""

    key: TimingKey
    tokens: int
    ms: dict[str, float]


class TimingTable(NamedTuple):
    """What was measured, and on what: card, versions and date; None when nothing was."""

    measured_on: str | None
    rows: tuple[Timing, ...]

    @staticmethod
    def read(path: Path = TABLE) -> TimingTable:
        """Inverse of `write`."""
        said = json.loads(path.read_text(encoding="utf-8"))
        rows = (Timing(TimingKey(r["pattern"], r["prefixed"], r["dtype"]), r["tokens"], r["ms"]) for r in said["rows"])
        return TimingTable(said["measured_on"], tuple(rows))

    def write(self, path: Path = TABLE) -> None:
        """JSON, a row a line."""
        rows = ",\n".join(json.dumps({**row.key._asdict(), "tokens": row.tokens, "ms": row.ms}) for row in self.rows)
        text = f'{{"measured_on": {json.dumps(self.measured_on)},\n"rows": [\n{rows}\n]}}\n'
        path.write_text(text, encoding="utf-8")

    def fastest(self, key: TimingKey, tokens: int) -> list[str]:
        """Ways, fastest first, as measured at the length nearest in its logarithm; none where there is no such row."""
        rows = [row for row in self.rows if row.key == key]
        if not rows:
            return []
        nearest = min(rows, key=lambda row: abs(log2(row.tokens / tokens)))
        return sorted(nearest.ms, key=nearest.ms.__getitem__)


def select_backend(pattern: AttentionPattern, prefix: int, q_BHTD: Tensor) -> str:
    """The way for a pattern, its prefix and the queries that there are."""
    device, tokens = q_BHTD.device.type, q_BHTD.shape[2]
    if device != "cuda":
        return "lse_merged" if device == "cpu" else "matmul"
    measured = cuda_table().fastest(TimingKey.of(pattern, prefix, q_BHTD.dtype), tokens)
    certain = ["disjoint", *(["masked"] if tokens <= MASKED_UP_TO else []), "matmul"]
    return next(name for name in [*measured, *certain] if BACKENDS[name].supports(q_BHTD, pattern, prefix))


@cache
def cuda_table() -> TimingTable:
    """The table that comes with the package."""
    return TimingTable.read()
