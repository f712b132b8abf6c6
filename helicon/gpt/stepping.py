"""A new token a row, from ids to logits: by PyTorch, by a graph of its kernels on a GPU, or by C on a CPU.

The first is what the others are tested against. Each is bound to a GPT and a cache, whose memory it reads and writes.
A step is of the first B rows of the cache, so that rows may join and leave between two steps.

Shapes: B rows, A coordinate axes, V rows of the output matrix asked for.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from helicon.gpt.cache import Cache
from helicon.gpt.model import GPT
from helicon.gpt.native.step import NativeStep, supported
from helicon.gpt.quantized import FEW, Int8Linear
from helicon.sequence.layout import PatternContext

DecodeBackend = Literal["auto", "eager", "native", "graph"]
BUCKET = 512  # a graph is captured for each so many tokens of context: more are longer waits, fewer idle reads
WARM_UP = 2  # steps before a capture, in which libraries allocate what a capture may not
INT8_ROWS = FEW  # at a time on a CPU: more are multiplied by weights that were rounded otherwise


class DecodeStep(Protocol):
    """Logits [B, V] of what follows tokens `ids` [B], with coordinates [B, A], at `position` [B]."""

    def __call__(self, ids_B: Tensor, rows_BA: Tensor, position_B: Tensor, rows: slice, reach: int) -> Tensor:
        """`rows` are those of the output matrix; no position is `reach` or more, which spares a GPU a question."""
        ...


class EagerStep:
    """PyTorch's own operations, one by one.

    On a CPU what a row gets depends neither on how many others there are nor on where they stand: rows at the same
    position go together, by operations that treat each row alike (Linear, MLP.step, Cache.widen say which do not).
    float64 alone goes by MKL's products, and is exact to 1e-15.
    """

    def __init__(self, gpt: GPT, cache: Cache, frame: PatternContext) -> None:
        self.gpt, self.cache, self.frame = gpt, cache, frame
        if cache.kv.device.type == "cpu":
            cache.widen()

    def __call__(self, ids_B: Tensor, rows_BA: Tensor, position_B: Tensor, rows: slice, reach: int) -> Tensor:
        cache = self.cache.rows(slice(len(ids_B)), reach)
        if position_B.device.type != "cpu":
            hidden = self.gpt.step(ids_B, rows_BA, position_B, self.frame, cache, reach)
            return self.gpt.logits(hidden, rows)
        positions = position_B.unique().tolist()
        if len(positions) == 1:
            return self._together(ids_B, rows_BA, position_B, rows, cache)
        logits = ids_B.new_empty((len(ids_B), rows.stop - rows.start), dtype=self.gpt.tokens.weight.dtype)
        for position in positions:
            here = (position_B == position).nonzero()[:, 0]
            part = self.cache.rows(here, position + 1)
            logits[here] = self._together(ids_B[here], rows_BA[here], position_B[here], rows, part)
            self.cache.kv[:, :, here, :, position] = part.kv[:, :, :, :, position]
        return logits

    def _together(
        self, ids_B: Tensor, rows_BA: Tensor, position_B: Tensor, rows: slice, cache: Cache
    ) -> Tensor:  # fmt: skip
        """Of rows at one position, as many at a time as their products allow."""
        reach, logits = int(position_B[0]) + 1, []
        most = INT8_ROWS if isinstance(self.gpt.head, Int8Linear) else len(ids_B)
        for first in range(0, len(ids_B), most):
            some = slice(first, first + most)
            part = cache if most >= len(ids_B) else cache.rows(some, reach)
            hidden = self.gpt.step(ids_B[some], rows_BA[some], position_B[some], self.frame, part, reach)
            logits.append(self.gpt.logits(hidden, rows))
        return torch.cat(logits)


class GraphStep:
    """The same operations as one CUDA graph for each length of context: the CPU launches one thing a token.

    A graph is of a power of two of rows, or of all that the cache has. Those beyond the rows that are asked for are
    computed for nothing; what they write is in rows of the cache that nobody has.
    """

    def __init__(self, gpt: GPT, cache: Cache, frame: PatternContext) -> None:
        self.eager, self.slots, self.length = EagerStep(gpt, cache, frame), cache.kv.shape[2], cache.length
        self.graphs: dict[tuple[int, int, int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.inputs: tuple[Tensor, ...] | None = None

    def __call__(self, ids_B: Tensor, rows_BA: Tensor, position_B: Tensor, rows: slice, reach: int) -> Tensor:
        """The logits are overwritten by the next call."""
        new, count = (ids_B, rows_BA, position_B), len(ids_B)
        if self.inputs is None:
            self.inputs = tuple(each.new_zeros(self.slots, *each.shape[1:]) for each in new)
        for kept, each in zip(self.inputs, new):
            kept[:count].copy_(each)
        limit = min(-(-reach // BUCKET) * BUCKET, self.length)
        captured = [key[0] for key in self.graphs if key[1:] == (rows.start, rows.stop, limit) and key[0] >= count]
        size = min(captured, default=min(1 << (count - 1).bit_length(), self.slots))
        key = size, rows.start, rows.stop, limit
        if key not in self.graphs:
            self.graphs[key] = self._captured(tuple(kept[:size] for kept in self.inputs), rows, limit)
        graph, logits = self.graphs[key]
        graph.replay()
        return logits[:count]

    def _captured(
        self, inputs: tuple[Tensor, ...], rows: slice, limit: int
    ) -> tuple[torch.cuda.CUDAGraph, Tensor]:  # fmt: skip
        """A step is repeatable: it writes the same keys and values to the same places."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self.eager(inputs[0], inputs[1], inputs[2], rows, limit)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values()))[0].pool() if self.graphs else None
        with torch.cuda.graph(graph, pool=pool):
            logits = self.eager(inputs[0], inputs[1], inputs[2], rows, limit)
        return graph, logits


def make_step(gpt: GPT, cache: Cache, frame: PatternContext, backend: DecodeBackend = "auto") -> DecodeStep:
    """The fastest that there is for the device and the weights' type, or the one asked for.

    Not by how many rows there are: each of them rounds in its own way. The cache is still empty, and no other step's.

    ValueError for one that this machine or this model does not have.
    """
    device = gpt.tokens.weight.device.type
    there: dict[str, bool] = {
        "graph": device == "cuda",
        "native": backend != "eager" and device == "cpu" and supported(gpt),
        "eager": True,
    }
    if backend == "auto":
        backend = next(name for name in ("graph", "native", "eager") if there[name])  # type: ignore[assignment]
    if not there.get(backend, False):
        raise ValueError(f"backend {backend!r}: there is {', '.join(name for name in there if there[name])} here")
    return {"graph": GraphStep, "native": NativeStep, "eager": EagerStep}[backend](gpt, cache, frame)
