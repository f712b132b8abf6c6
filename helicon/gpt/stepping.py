"""Decode steps, one new token per row from ids to logits: eager PyTorch, a CUDA graph, or C on a CPU.

The eager one is the reference that the others are tested against. A step is bound to a GPT and a KV cache, whose memory
it reads and writes. It computes the first B rows of the cache, so that rows may join and leave between two steps.

Shapes: B rows, A coordinate axes, V tokens of the vocabulary slice.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from helicon.gpt.cache import Cache
from helicon.gpt.model import GPT
from helicon.gpt.native.step import NativeStep, supported
from helicon.gpt.quantized import MAX_INT8_ROWS, Int8Linear
from helicon.sequence.layout import PatternContext

DecodeBackend = Literal["auto", "eager", "native", "graph"]
BUCKET = 512  # tokens of context per CUDA graph: smaller buckets capture more often, larger ones read unused keys
WARM_UP = 2  # steps before a capture: libraries allocate in them, which they may not during a capture


class DecodeStep(Protocol):
    """Decode step, bound to a GPT and a KV cache."""

    def __call__(
        self, ids_B: Tensor, coord_ids_BA: Tensor, position_B: Tensor, vocab_slice: slice, kv_length: int
    ) -> Tensor:
        """Compute logits of the next tokens, and write the new keys and values to the cache.

        Args:
            ids_B: vocabulary ids of the new tokens, int64.
            coord_ids_BA: int64, a row of the coordinate table for each of A axes.
            position_B: int64 positions of the new tokens in their sequences, from 0, which may differ.
            vocab_slice: range of V vocabulary ids to score.
            kv_length: exclusive upper bound of the positions, so that no GPU is waited for.

        Returns:
            Logits [B, V] of the slice.
        """
        ...


class EagerStep:
    """Decode step by PyTorch's operations, one by one.

    On a CPU a row's result depends neither on the number of other rows nor on their positions: rows at the same
    position are computed together, by operations that treat all rows alike (see the exceptions at `linear`, `MLP.step`
    and `Cache.widen`). Only float64 goes through MKL's products, and is equal to 1e-15.
    """

    def __init__(self, gpt: GPT, cache: Cache, frame: PatternContext) -> None:
        self.gpt, self.cache, self.frame = gpt, cache, frame
        if cache.kv.device.type == "cpu":
            cache.widen()

    def __call__(
        self, ids_B: Tensor, coord_ids_BA: Tensor, position_B: Tensor, vocab_slice: slice, kv_length: int
    ) -> Tensor:
        cache = self.cache.select_rows(slice(len(ids_B)), kv_length)
        if position_B.device.type != "cpu":
            hidden = self.gpt.step(ids_B, coord_ids_BA, position_B, self.frame, cache, kv_length)
            return self.gpt.logits(hidden, vocab_slice)
        positions = position_B.unique().tolist()
        if len(positions) == 1:
            return self._aligned_step(ids_B, coord_ids_BA, position_B, vocab_slice, cache)
        logits = ids_B.new_empty((len(ids_B), vocab_slice.stop - vocab_slice.start), dtype=self.gpt.tokens.weight.dtype)
        for position in positions:
            index = (position_B == position).nonzero()[:, 0]
            part = self.cache.select_rows(index, position + 1)
            logits[index] = self._aligned_step(ids_B[index], coord_ids_BA[index], position_B[index], vocab_slice, part)
            self.cache.kv[:, :, index, :, position] = part.kv[:, :, :, :, position]
        return logits

    def _aligned_step(
        self, ids_B: Tensor, coord_ids_BA: Tensor, position_B: Tensor, vocab_slice: slice, cache: Cache
    ) -> Tensor:  # fmt: skip
        """Compute logits of rows at one position.

        int8 rows go in batches of MAX_INT8_ROWS: larger batches are multiplied by weights that are rounded otherwise.
        """
        kv_length, logits = int(position_B[0]) + 1, []
        size = MAX_INT8_ROWS if isinstance(self.gpt.head, Int8Linear) else len(ids_B)
        for first in range(0, len(ids_B), size):
            rows = slice(first, first + size)
            part = cache if size >= len(ids_B) else cache.select_rows(rows, kv_length)
            hidden = self.gpt.step(ids_B[rows], coord_ids_BA[rows], position_B[rows], self.frame, part, kv_length)
            logits.append(self.gpt.logits(hidden, vocab_slice))
        return torch.cat(logits)


class GraphStep:
    """Eager decode step captured as CUDA graphs, one per bucket of context: one launch per token.

    A graph has a power of two of rows, or all rows of the cache. Rows beyond B are computed and ignored; they write to
    rows of the cache that are not in use.
    """

    def __init__(self, gpt: GPT, cache: Cache, frame: PatternContext) -> None:
        self.eager, self.max_rows, self.length = EagerStep(gpt, cache, frame), cache.kv.shape[2], cache.length
        self.graphs: dict[tuple[int, int, int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.inputs: tuple[Tensor, ...] | None = None

    def __call__(
        self, ids_B: Tensor, coord_ids_BA: Tensor, position_B: Tensor, vocab_slice: slice, kv_length: int
    ) -> Tensor:
        """Compute logits [B, V] as DecodeStep does; the next call overwrites them."""
        new, count = (ids_B, coord_ids_BA, position_B), len(ids_B)
        if self.inputs is None:
            self.inputs = tuple(tensor.new_zeros(self.max_rows, *tensor.shape[1:]) for tensor in new)
        for buffer, tensor in zip(self.inputs, new):
            buffer[:count].copy_(tensor)
        bucket = vocab_slice.start, vocab_slice.stop, min(-(-kv_length // BUCKET) * BUCKET, self.length)
        captured = [key[0] for key in self.graphs if key[1:] == bucket and key[0] >= count]
        size = min(captured, default=min(1 << (count - 1).bit_length(), self.max_rows))
        key = size, *bucket
        if key not in self.graphs:
            self.graphs[key] = self._captured(tuple(buffer[:size] for buffer in self.inputs), vocab_slice, bucket[-1])
        graph, logits = self.graphs[key]
        graph.replay()
        return logits[:count]

    def _captured(
        self, inputs: tuple[Tensor, ...], vocab_slice: slice, kv_length: int
    ) -> tuple[torch.cuda.CUDAGraph, Tensor]:  # fmt: skip
        """Capture a step. Running it several times is safe: it writes the same keys and values each time."""
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(WARM_UP):
                self.eager(inputs[0], inputs[1], inputs[2], vocab_slice, kv_length)
        torch.cuda.current_stream().wait_stream(side_stream)
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values()))[0].pool() if self.graphs else None
        with torch.cuda.graph(graph, pool=pool):
            logits = self.eager(inputs[0], inputs[1], inputs[2], vocab_slice, kv_length)
        return graph, logits


def make_step(gpt: GPT, cache: Cache, frame: PatternContext, backend: DecodeBackend = "auto") -> DecodeStep:
    """Make a decode step.

    `auto` never depends on the number of rows: backends round differently, and results would, too.

    Args:
        gpt: `GPT` whose tokens are decoded.
        cache: an empty KV `Cache` that no other step uses.
        frame: `PatternContext`, the prefix length and grid width of the layout.
        backend: `eager` (PyTorch), `native` (C on a CPU) or `graph` (CUDA graphs); `auto` takes the fastest for the
            device and the weights' dtype.

    Returns:
        A `DecodeStep`, called with vocabulary ids, coordinate rows and positions of a new token per row; it returns
        logits.

    Raises:
        ValueError: the backend does not exist for this machine or model.
    """
    device = gpt.tokens.weight.device.type
    available: dict[str, bool] = {
        "graph": device == "cuda",
        "native": backend != "eager" and device == "cpu" and supported(gpt),
        "eager": True,
    }
    if backend == "auto":
        backend = next(name for name in ("graph", "native", "eager") if available[name])  # type: ignore[assignment]
    if not available.get(backend, False):
        raise ValueError(
            f"backend {backend!r}: there is {', '.join(name for name in available if available[name])} here"
        )
    return {"graph": GraphStep, "native": NativeStep, "eager": EagerStep}[backend](gpt, cache, frame)
