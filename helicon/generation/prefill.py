"""Prefill: complete windows through the model, keys and values into cache rows, logits of the next token.

Shapes: T tokens of a window, A coordinate axes, N different windows, V tokens of the slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helicon.gpt.cache import Cache
from helicon.gpt.model import GPT
from helicon.sequence.layout import PatternContext


class Window(NamedTuple):
    """Vocabulary rows int64 [T] of the T tokens that are fed, and their rows on A coordinate axes, int64 [T, A]."""

    ids: np.ndarray
    coord_ids: np.ndarray


def prefill(
    gpt: GPT, frame: PatternContext, cache: Cache, windows: Sequence[Window], to: Sequence[int], vocabulary: slice
) -> Tensor:  # fmt: skip
    """Fill cache rows with windows and compute the logits that follow; equal windows are computed once.

    On a CPU different windows go one by one, so that a row's logits do not depend on the others; on a GPU together.

    Args:
        gpt: `GPT`, model.
        frame: `PatternContext`, prefix length and grid width of the layout.
        cache: `Cache`, KV cache, changed in place.
        windows: a `Window` for each row to fill.
        to: numbers of those rows.
        vocabulary: slice of the vocabulary's rows whose logits are computed.

    Returns:
        Logits of the next token, [len(windows), V], V rows of `vocabulary`.
    """
    different: dict[bytes, int] = {}
    which = [different.setdefault(w.ids.tobytes() + w.coord_ids.tobytes(), len(different)) for w in windows]
    fed = [windows[which.index(number)] for number in range(len(different))]
    groups = [[row for row, other in zip(to, which) if other == number] for number in range(len(fed))]
    if len(fed) > 1 and cache.kv.device.type != "cpu":
        logits_NV = _forward(gpt, frame, apart := gpt.new_cache(len(fed), max(map(_length, fed))), fed, vocabulary)
        cache.copy_rows(apart, which, to)
    else:
        parts = []
        for window, (row, *others) in zip(fed, groups):
            parts.append(
                _forward(gpt, frame, cache.select_rows(slice(row, row + 1), cache.length), [window], vocabulary)
            )
            for other in others:
                cache.move_row(row, other, _length(window))
        logits_NV = torch.cat(parts)
    return logits_NV[torch.tensor(which, device=logits_NV.device)]


def _length(window: Window) -> int:
    return len(window.ids)


def _forward(gpt: GPT, frame: PatternContext, cache: Cache, windows: Sequence[Window], vocabulary: slice) -> Tensor:
    """Compute logits [N, V] after each window; keys and values go into a cache of N rows."""
    longest, device = max(map(_length, windows)), gpt.tokens.weight.device
    ids = torch.zeros(len(windows), longest, dtype=torch.int64)
    rows = torch.zeros(len(windows), longest, windows[0].coord_ids.shape[1], dtype=torch.int64)
    for number, window in enumerate(windows):
        ids[number, : len(window.ids)] = torch.as_tensor(window.ids)
        rows[number, : len(window.ids)] = torch.as_tensor(window.coord_ids)
    last = torch.tensor([len(window.ids) - 1 for window in windows], device=device)
    hidden = gpt(ids.to(device), rows.to(device), frame, cache)
    return gpt.logits(hidden[torch.arange(len(windows), device=device), last], vocabulary)
