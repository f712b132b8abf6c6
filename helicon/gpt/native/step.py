"""A GPT and its cache as the C step takes them: structures of pointers into PyTorch's own memory.

Shapes: B rows, A coordinate axes, K keys of a list, V rows of the output matrix.
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
from helicon.gpt.layer import Layer as ModelLayer
from helicon.gpt.model import GPT
from helicon.gpt.native.build import library
from helicon.gpt.native.pace import Pace
from helicon.gpt.quantized import Int8Linear
from helicon.sequence.layout import PatternContext

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
ACTIVATIONS = {"gelu": 0, "quick_gelu": 1, "relu2": 2, "swiglu": 3}
PER_THREAD = 1 << 20  # weights of layers, without which another thread is not worth its barriers
MANY, AHEAD = 256, 32  # queries whose lists of keys are made at a time: of all rows together, or of each
ROOM = 16  # numbers that the softmax writes beyond the last score


class Linear(ctypes.Structure):
    """Of the same name in step.c, as are those below."""

    _fields_: ClassVar = [
        *((name, c_void_p) for name in ("weight", "scale", "bias")),
        *((name, c_int64) for name in ("outputs", "inputs", "kind")),
    ]


class Norm(ctypes.Structure):
    _fields_: ClassVar = [("weight", c_void_p), ("bias", c_void_p)]


class Layer(ctypes.Structure):
    _fields_: ClassVar = [
        *((name, Norm) for name in ("norm_1", "q_norm", "k_norm", "norm_2")),
        *((name, Linear) for name in ("qkv", "out", "up", "down")),
        ("keys", c_void_p), ("keys_count", c_int64), ("k_cache", c_void_p), ("v_cache", c_void_p),
    ]  # fmt: skip


class Model(ctypes.Structure):
    _fields_: ClassVar = [
        ("layers", c_void_p),
        *((name, c_int64) for name in (
            "layer_count", "width", "heads", "head", "qk_head", "normalise_qk", "rms", "activation", "rope",
            "mlp_width", "prefix", "cache_kind", "cache_length", "axes", "table_kind", "threads",
        )),
        ("tokens", c_void_p), ("places", c_void_p), ("norm", Norm),
        *((name, c_void_p) for name in ("x", "angles", "shared", "scratch")),
        *((name, c_int64) for name in ("shared_width", "scratch_size")),
    ]  # fmt: skip


class NativeStep:
    """`GPT.step` and `GPT.logits` of a GPT on the CPU against a cache, in float32, bfloat16 or int8 weights."""

    def __init__(self, gpt: GPT, cache: Cache, frame: PatternContext, threads: int | None = None) -> None:
        found = library()
        assert found is not None, "supported() comes first"
        self._function, self._kept = found.helicon_step, [gpt, cache.kv]
        config, batch = gpt.config, cache.kv.shape[2]
        layers = [layer for layer in gpt.layers if isinstance(layer, ModelLayer)]
        self._patterns: dict[AttentionPattern, list[int]] = {}  # of the layers that do not read all keys
        for i, layer in enumerate(layers):
            resolved = layer.attention.pattern.resolve(frame.row)
            if not isinstance(resolved, DensePattern):
                self._patterns.setdefault(resolved, []).append(i)
        self._tables: dict[AttentionPattern, Tensor] = {}
        self._heads: dict[tuple[int, int], Linear] = {}
        self._first_B = self._table_B = torch.empty(0, dtype=torch.int64)  # of each row's queries; where they begin
        self._ahead = 0  # queries from the first one on that the tables are of
        self._layers = (Layer * len(layers))(*(self._layer(layer, cache, i) for i, layer in enumerate(layers)))
        threads = threads or self._threads()
        self._pace = Pace(threads)
        widest = max(config.width, sum(layers[0].attention.widths), layers[0].mlp.up.weight.shape[0])
        # What is normalised; then a query's keys, its scores and what the softmax writes beyond them, or x rounded
        room = max(2 * (cache.length + frame.prefix) + ROOM, batch * widest // 2 + 1)
        scratch = batch * config.width + room
        query = config.qk_width // config.heads
        sizes = (batch, config.width), (batch, query), (batch, widest), (threads, scratch)
        self._room = [torch.zeros(size) for size in sizes]
        self._model = Model(
            ctypes.addressof(self._layers), len(layers), config.width, config.heads, config.head_width,
            query, int(config.qk_norm), int(config.norm == "rms"), ACTIVATIONS[config.mlp],
            int(gpt.rope), config.mlp_width, frame.prefix, KINDS[cache.kv.dtype], cache.length, 0,
            KINDS[gpt.tokens.weight.dtype], threads, gpt.tokens.weight.data_ptr(), gpt.places.weight.data_ptr(),
            self._norm(gpt.norm), *(room.data_ptr() for room in self._room), widest, scratch,
        )  # fmt: skip
        self.gpt, self.frame, self.length = gpt, frame, cache.length

    def __call__(self, ids_B: Tensor, rows_BA: Tensor, position_B: Tensor, rows: slice, reach: int) -> Tensor:
        """Logits [B, V], float32."""
        ids, places, position = (t.to(torch.int64).contiguous() for t in (ids_B, rows_BA, position_B))
        self._model.axes = places.shape[1]
        which = self._keys(position)
        if (rows.start, rows.stop) not in self._heads:
            self._heads[rows.start, rows.stop] = self._linear(self.gpt.head or self.gpt.tokens, rows)
        head = self._heads[rows.start, rows.stop]
        logits = torch.empty(len(ids), rows.stop - rows.start)
        self._model.threads, began = self._pace.threads, perf_counter()
        self._function(
            ctypes.byref(self._model), ctypes.byref(head), c_int64(len(ids)), c_void_p(ids.data_ptr()),
            c_void_p(places.data_ptr()), c_void_p(position.data_ptr()), c_void_p(which.data_ptr()),
            c_void_p(logits.data_ptr()),
        )  # fmt: skip
        self._pace.took(perf_counter() - began)
        return logits

    def _threads(self) -> int:
        """Few for a small model, which would wait for its threads more than it computes on a busy machine."""
        linears = (getattr(layer, name) for layer in self._layers for name in ("qkv", "out", "up", "down"))
        weights = sum(linear.outputs * linear.inputs for linear in linears)
        return max(1, min(torch.get_num_threads(), weights // PER_THREAD))

    def _keys(self, position_B: Tensor) -> Tensor:
        """Row of each query in the tables of key lists, to which the layers point: made for many queries at a time.

        Where all are near each other they share a table of MANY queries, else each has AHEAD of its own.
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
        if last - first < MANY:
            self._first_B, self._ahead, self._table_B = torch.full_like(query_B, first), MANY, torch.tensor(0)
            queries = torch.arange(first, first + MANY)
        else:
            self._first_B, self._ahead, self._table_B = query_B, AHEAD, torch.arange(len(query_B)) * AHEAD
            queries = (query_B[:, None] + torch.arange(AHEAD)).flatten()
        reach = max(1, min(int(queries.max()) + 1, self.length - self.frame.prefix))
        for pattern, layers in self._patterns.items():
            index, valid = pattern.keys(queries.clamp(min=0, max=reach - 1), reach)
            keys = index.masked_fill(~(valid & (queries >= 0)[:, None]), -1).to(torch.int32)
            for i in layers:
                self._layers[i].keys, self._layers[i].keys_count = keys.data_ptr(), keys.shape[1]
            self._tables[pattern] = keys
        return query_B - self._first_B + self._table_B

    def _layer(self, layer: ModelLayer, cache: Cache, i: int) -> Layer:
        attention, mlp = layer.attention, layer.mlp
        norms = (self._norm(norm) for norm in (layer.norm_1, attention.q_norm, attention.k_norm, layer.norm_2))
        linears = (self._linear(linear) for linear in (attention.qkv, attention.out, mlp.up, mlp.out))
        k, v = cache.layer(i)
        return Layer(*norms, *linears, None, 0, k.data_ptr(), v.data_ptr())

    def _norm(self, norm: nn.Module) -> Norm:
        return Norm(self._float32(getattr(norm, "weight", None)), self._float32(getattr(norm, "bias", None)))

    def _linear(self, linear: Any, rows: slice = slice(None)) -> Linear:
        """Of an nn.Linear, an Int8Linear, or an embedding as an output matrix."""
        weight = linear.weight[rows]
        scale = self._float32(linear.scale[rows]) if isinstance(linear, Int8Linear) else None
        bias = self._float32(getattr(linear, "bias", None))
        return Linear(weight.data_ptr(), scale, bias, *weight.shape, KINDS[weight.dtype])

    def _float32(self, values: Tensor | None) -> int | None:
        """Address of a small tensor in float32, which is kept while the step is."""
        if values is None:
            return None
        self._kept.append(values.detach().float().contiguous())
        return self._kept[-1].data_ptr()


def supported(gpt: GPT) -> bool:
    """Whether the C step can run a GPT: on a CPU, in float32, bfloat16 or int8, where there is a compiler."""
    weights = gpt.tokens.weight
    return weights.device.type == "cpu" and weights.dtype in KINDS and library() is not None
