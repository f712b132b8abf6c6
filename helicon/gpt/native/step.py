"""Python side of the native decode step: a GPT and its KV cache as C structures that point into PyTorch's memory.

Shapes: B rows, A coordinate axes, K keys of a list, V tokens of the vocabulary slice.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int64, c_void_p
from time import perf_counter
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from helicon.gpt.attention.pattern_base import AttentionPattern
from helicon.gpt.attention.stride_patterns import DensePattern
from helicon.gpt.cache import Cache
from helicon.gpt.layer import Layer
from helicon.gpt.model import GPT
from helicon.gpt.native.build import library
from helicon.gpt.native.thread_tuner import ThreadTuner
from helicon.gpt.quantized import Int8Linear
from helicon.sequence.layout import PatternContext

# Codes of dtypes and activations, the order of the enums in step.c
KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
ACTIVATIONS = {"gelu": 0, "quick_gelu": 1, "relu2": 2, "swiglu": 3}
WEIGHTS_PER_THREAD = 1 << 20  # weights of layers; with fewer, another thread costs more in barriers than it saves
# Queries whose key lists are computed at a time, which spares calls into PyTorch
SHARED_QUERIES = 256  # in a table for all rows
ROW_QUERIES = 32  # in a table for each row
SOFTMAX_PADDING = 16  # numbers that the softmax writes past the last score: LANES of step.c


class NativeLinear(ctypes.Structure):
    """`Linear` of step.c."""

    _fields_: ClassVar = [
        *((name, c_void_p) for name in ("weight", "scale", "bias")),
        *((name, c_int64) for name in ("outputs", "inputs", "kind")),
    ]


class NativeNorm(ctypes.Structure):
    """`Norm` of step.c."""

    _fields_: ClassVar = [("weight", c_void_p), ("bias", c_void_p)]


class NativeLayer(ctypes.Structure):
    """`Layer` of step.c."""

    _fields_: ClassVar = [
        *((name, NativeNorm) for name in ("norm_1", "q_norm", "k_norm", "norm_2")),
        *((name, NativeLinear) for name in ("qkv", "out", "up", "down")),
        ("keys", c_void_p), ("keys_count", c_int64), ("k_cache", c_void_p), ("v_cache", c_void_p),
    ]  # fmt: skip


class NativeModel(ctypes.Structure):
    """`Model` of step.c."""

    _fields_: ClassVar = [
        ("layers", c_void_p),
        *((name, c_int64) for name in (
            "layer_count", "width", "heads", "head", "qk_head", "normalise_qk", "rms", "activation", "rope",
            "mlp_width", "prefix", "cache_kind", "cache_length", "axes", "table_kind", "threads",
        )),
        ("tokens", c_void_p), ("coords", c_void_p), ("norm", NativeNorm),
        *((name, c_void_p) for name in ("x", "angles", "shared", "scratch")),
        *((name, c_int64) for name in ("shared_width", "scratch_size")),
    ]  # fmt: skip


class NativeStep:
    """Decode step in C: `GPT.step` and `GPT.logits` on a CPU, for weights in float32, bfloat16 or int8.

    Args:
        gpt: `GPT` for which `supported` is true.
        cache: its KV `Cache`.
        frame: `PatternContext`, the prefix length and grid width of the layout.
        threads: number of threads at most; None for PyTorch's number, or fewer for a small model.
    """

    def __init__(self, gpt: GPT, cache: Cache, frame: PatternContext, threads: int | None = None) -> None:
        compiled = library()
        assert compiled is not None, "supported() comes first"
        self._function = compiled.helicon_step
        self._owned = [gpt, cache.kv]  # what the structures point to must live as long as they do
        config, batch = gpt.config, cache.kv.shape[2]
        layers = [layer for layer in gpt.layers if isinstance(layer, Layer)]
        self._patterns: dict[AttentionPattern, list[int]] = {}  # indices of the layers that do not read all keys
        for i, layer in enumerate(layers):
            resolved = layer.attention.pattern.resolve(frame.row)
            if not isinstance(resolved, DensePattern):
                self._patterns.setdefault(resolved, []).append(i)
        self._tables: dict[AttentionPattern, Tensor] = {}
        self._heads: dict[tuple[int, int], NativeLinear] = {}
        # A row's queries first .. first + ahead - 1 are in the tables, from table row `_table_B` on
        self._first_B = self._table_B = torch.empty(0, dtype=torch.int64)
        self._ahead = 0
        self._layers = (NativeLayer * len(layers))(*(self._layer(layer, cache, i) for i, layer in enumerate(layers)))
        threads = threads or self._threads()
        self._tuner = ThreadTuner(threads)
        widest = max(config.width, sum(layers[0].attention.widths), layers[0].mlp.up.weight.shape[0])
        # Floats of each thread: normalised x; then a query's key list and scores, or x rounded to bfloat16
        workspace = max(2 * (cache.length + frame.prefix) + SOFTMAX_PADDING, batch * widest // 2 + 1)
        scratch = batch * config.width + workspace
        query = config.qk_width // config.heads
        sizes = (batch, config.width), (batch, query), (batch, widest), (threads, scratch)
        self._buffers = [torch.zeros(size) for size in sizes]
        self._model = NativeModel(
            ctypes.addressof(self._layers), len(layers), config.width, config.heads, config.head_width,
            query, int(config.qk_norm), int(config.norm == "rms"), ACTIVATIONS[config.mlp],
            int(gpt.rope), config.mlp_width, frame.prefix, KINDS[cache.kv.dtype], cache.length, 0,
            KINDS[gpt.tokens.weight.dtype], threads, gpt.tokens.weight.data_ptr(), gpt.places.weight.data_ptr(),
            self._norm(gpt.norm), *(buffer.data_ptr() for buffer in self._buffers), widest, scratch,
        )  # fmt: skip
        self.gpt, self.frame, self.length = gpt, frame, cache.length

    def __call__(
        self, ids_B: Tensor, coord_ids_BA: Tensor, position_B: Tensor, vocab_slice: slice, kv_length: int
    ) -> Tensor:  # fmt: skip
        """Compute logits [B, V] as DecodeStep does, in float32."""
        ids, coord_ids, position = (t.to(torch.int64).contiguous() for t in (ids_B, coord_ids_BA, position_B))
        self._model.axes = coord_ids.shape[1]
        table_rows = self._keys(position)
        start, stop = vocab_slice.start, vocab_slice.stop
        if (start, stop) not in self._heads:
            self._heads[start, stop] = self._linear(self.gpt.head or self.gpt.tokens, vocab_slice)
        head = self._heads[start, stop]
        logits = torch.empty(len(ids), stop - start)
        self._model.threads, began = self._tuner.threads, perf_counter()
        self._function(
            ctypes.byref(self._model), ctypes.byref(head), c_int64(len(ids)), c_void_p(ids.data_ptr()),
            c_void_p(coord_ids.data_ptr()), c_void_p(position.data_ptr()), c_void_p(table_rows.data_ptr()),
            c_void_p(logits.data_ptr()),
        )  # fmt: skip
        self._tuner.record(perf_counter() - began)
        return logits

    def _threads(self) -> int:
        """Choose the most threads to use: few for a small model, which would spend its time in barriers."""
        linears = (getattr(layer, name) for layer in self._layers for name in ("qkv", "out", "up", "down"))
        weights = sum(linear.outputs * linear.inputs for linear in linears)
        return max(1, min(torch.get_num_threads(), weights // WEIGHTS_PER_THREAD))

    def _keys(self, position_B: Tensor) -> Tensor:
        """Return each query's row [B] in the tables of key lists, computing tables for many queries at a time.

        Rows whose positions are close share tables of SHARED_QUERIES queries; else each row has ROW_QUERIES of its own.
        """
        if not self._patterns:
            return position_B
        query_B = position_B - self.frame.prefix
        if len(query_B) == len(self._first_B):
            offset_B = query_B - self._first_B
            low, high = (int(offset) for offset in offset_B.aminmax())
            if low >= 0 and high < self._ahead:
                return offset_B + self._table_B
        first, last = (int(query) for query in query_B.aminmax())
        if last - first < SHARED_QUERIES:
            self._first_B, self._table_B = torch.full_like(query_B, first), torch.tensor(0)
            self._ahead = SHARED_QUERIES
            queries = torch.arange(first, first + SHARED_QUERIES)
        else:
            self._first_B, self._table_B = query_B, torch.arange(len(query_B)) * ROW_QUERIES
            self._ahead = ROW_QUERIES
            queries = (query_B[:, None] + torch.arange(ROW_QUERIES)).flatten()
        length = max(1, min(int(queries.max()) + 1, self.length - self.frame.prefix))
        for pattern, layers in self._patterns.items():
            index, valid = pattern.keys(queries.clamp(min=0, max=length - 1), length)
            keys = index.masked_fill(~(valid & (queries >= 0)[:, None]), -1).to(torch.int32)
            for i in layers:
                self._layers[i].keys, self._layers[i].keys_count = keys.data_ptr(), keys.shape[1]
            self._tables[pattern] = keys
        return query_B - self._first_B + self._table_B

    def _layer(self, layer: Layer, cache: Cache, i: int) -> NativeLayer:
        attention, mlp = layer.attention, layer.mlp
        norms = (self._norm(norm) for norm in (layer.norm_1, attention.q_norm, attention.k_norm, layer.norm_2))
        linears = (self._linear(linear) for linear in (attention.qkv, attention.out, mlp.up, mlp.out))
        k, v = cache.layer(i)
        return NativeLayer(*norms, *linears, None, 0, k.data_ptr(), v.data_ptr())

    def _norm(self, norm: nn.Module) -> NativeNorm:
        return NativeNorm(self._float32(getattr(norm, "weight", None)), self._float32(getattr(norm, "bias", None)))

    def _linear(self, linear: Any, rows: slice = slice(None)) -> NativeLinear:
        """Describe rows of an nn.Linear, of an Int8Linear, or of an embedding that serves as output matrix."""
        weight = linear.weight[rows]
        scale = self._float32(linear.scale[rows]) if isinstance(linear, Int8Linear) else None
        bias = self._float32(getattr(linear, "bias", None))
        return NativeLinear(weight.data_ptr(), scale, bias, *weight.shape, KINDS[weight.dtype])

    def _float32(self, values: Tensor | None) -> int | None:
        """Return the address of a float32 copy of a small tensor, which lives as long as the step."""
        if values is None:
            return None
        self._owned.append(values.detach().float().contiguous())
        return self._owned[-1].data_ptr()


def supported(gpt: GPT) -> bool:
    """Return True if a `GPT` can run in C: on a CPU, in float32, bfloat16 or int8, on a machine with a compiler."""
    weights = gpt.tokens.weight
    return weights.device.type == "cpu" and weights.dtype in KINDS and library() is not None
