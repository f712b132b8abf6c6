"""A tokenizer of somebody's own is tried as it is made: what would fail after the training is told before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.formats.kinds import kind_of
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Words
from helicon.tokenizers.base import Automaton, Tokenizer
from helicon.tokenizers.codec import CodecTokenizer

ROWS, TOKENS = 2, 8  # that an automaton is tried with

Wrong = str  # what a tokenizer gives, and what is needed; empty where that is the same


def tried(tokenizer: Any, from_state: Callable[..., Tokenizer]) -> Wrong:
    """What is wrong with a tokenizer that was made, and comes back by `from_state`; what it raises is let through."""
    if not isinstance(tokenizer, Tokenizer):
        return f"make gives {kind_of(tokenizer)}; a helicon.Tokenizer is needed"
    if not isinstance(tokenizer.block, TokenBlock) or not len(tokenizer.block):
        return f"its block is {kind_of(tokenizer.block)}; a helicon.TokenBlock of at least one token is needed"
    wrong = _state(tokenizer, from_state) or _amounts(tokenizer) or _dropped(tokenizer)
    return wrong or (_automaton(tokenizer.automaton, len(tokenizer.block)) if tokenizer.automaton else "")


def wrong_ids(ids: Any, size: int) -> Wrong:
    """What ids are that are no int64 [T] of a block of so many tokens."""
    needed = f"; int64 [T] from 0 to {size - 1} is needed"
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
        return f"{kind_of(ids)}{needed}"
    outside = len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size
    return f"ids from {ids.min()} to {ids.max()}{needed}" if outside else ""


def _state(tokenizer: Tokenizer, from_state: Callable[..., Tokenizer]) -> Wrong:
    """The state has to go through JSON and back; that of a codec's takes its weights, which are not built once more."""
    if not isinstance(found := tokenizer.state(), dict):
        return f"state gives {kind_of(found)}; a dict is needed"
    try:
        state = json.loads(json.dumps(found))
    except (TypeError, ValueError) as error:
        return f"state gives what is no JSON ({error})"
    if isinstance(tokenizer, CodecTokenizer):
        return ""
    again = from_state(state)
    if not isinstance(again, Tokenizer):
        return f"from_state gives {kind_of(again)}; a helicon.Tokenizer is needed"
    if again.block != tokenizer.block or json.loads(json.dumps(again.state())) != state:
        return "from_state gives another tokenizer than the one whose state it gets"
    return ""


def _amounts(tokenizer: Tokenizer) -> Wrong:
    units = tokenizer.units(np.zeros(1, np.int64))
    if not isinstance(units, dict) or not all(isinstance(each, Real) for each in units.values()):
        return f"units gives {units!r}; a dict of numbers is needed"
    return ""


def _dropped(tokenizer: Tokenizer) -> Wrong:
    """Words that are all left open."""
    if not isinstance(tokenizer, Words):
        return ""
    found = tokenizer.drop(tokenizer.encode(tokenizer.parse("")), np.random.default_rng(0), 1.0)
    wrong = wrong_ids(found, len(tokenizer.block))
    return f"drop gives {wrong}" if wrong else ""


def _automaton(automaton: Automaton, size: int) -> Wrong:
    """Two rows take one step, and a piece of one token is scanned."""
    first = automaton.constrain(automaton.start(ROWS), tokens=TOKENS)
    if not isinstance(first, dict) or not all(isinstance(t, Tensor) and t.shape[:1] == (ROWS,) for t in first.values()):
        return f"its automaton starts with {_kinds(first)}; tensors by name, [B, ...], are needed"
    allowed = automaton.allowed(first)
    if not isinstance(allowed, Tensor) or allowed.dtype != torch.bool or allowed.shape != (ROWS, size + 1):
        return f"its automaton allows {kind_of(allowed)}; torch.bool [{ROWS}, {size + 1}] is needed"
    if not allowed.any(1).all():
        return "its automaton allows no token to begin with"
    ids_B = allowed[:, :size].long().argmax(1)
    then = automaton.step(first, ids_B)
    shapes = {name: (tensor.dtype, tensor.shape) for name, tensor in first.items()}
    if not isinstance(then, dict) or {name: (tensor.dtype, tensor.shape) for name, tensor in then.items()} != shapes:
        return f"its automaton steps from {_kinds(first)} to {_kinds(then)}; the same names and shapes are needed"
    before, after = automaton.coords(first), automaton.coords(then)
    for coords in (before, after):
        if not isinstance(coords, Mapping) or any(kind_of(each) != f"torch.int64 [{ROWS}]" for each in coords.values()):
            return f"coords of its automaton are {_kinds(coords)}; torch.int64 [{ROWS}] by name are needed"
    if (scanned := automaton.scan(ids_B[:1].numpy())).keys() != after.keys():
        return f"scan of its automaton gives {', '.join(scanned) or 'nothing'}; its coords are {', '.join(after)}"
    rows = automaton.position(after, before)
    if missing := [axis for axis in automaton.axes if axis not in rows]:
        return f"position of its automaton gives {', '.join(rows) or 'nothing'}; {', '.join(missing)} is needed, too"
    return ""


def _kinds(found: Any) -> str:
    """Of several, by name."""
    if not isinstance(found, Mapping):
        return kind_of(found)
    return ", ".join(f"{name}: {kind_of(each)}" for name, each in found.items()) or "nothing"
