"""Trial of a plugin's tokenizer when it is made: finds before the training what would fail after it.

Shapes: B sequences, V tokens of the block, and one for the end of a piece.
"""

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

BATCH = 2  # sequences of the trial of an automaton: more than 1, so that a missing batch axis is noticed
MAX_TOKENS = 8  # length limit of the trial, in tokens; any small number serves

Fault = str  # what a tokenizer returned and what is needed, a clause; empty if nothing is wrong


def tokenizer_fault(tokenizer: Any, from_state: Callable[..., Tokenizer], media: type[Any] = object) -> Fault:
    """Find the first fault of a tokenizer: block, state, units, dropout, media or automaton. Its exceptions pass.

    Args:
        tokenizer: as returned by `make`.
        from_state: function of its `TokenizerSpec` that restores it.
        media: class of the media that it should decode to.

    Returns:
        The fault, a clause of text; empty if there is none.
    """
    if not isinstance(tokenizer, Tokenizer):
        return f"make gives {kind_of(tokenizer)}; a helicon.Tokenizer is needed"
    if not isinstance(tokenizer.block, TokenBlock) or not len(tokenizer.block):
        return f"its block is {kind_of(tokenizer.block)}; a helicon.TokenBlock of at least one token is needed"
    fault = _state_fault(tokenizer, from_state) or _units_fault(tokenizer) or _dropout_fault(tokenizer)
    if not fault and not isinstance(tokenizer, CodecTokenizer):  # whose network may take long
        fault = media_fault(tokenizer.decode(np.zeros(1, np.int64)), media)
    return fault or (_automaton_fault(tokenizer.automaton, len(tokenizer.block)) if tokenizer.automaton else "")


def ids_fault(ids: Any, size: int) -> Fault:
    """Find the fault of what should be local ids, int64 [T].

    Args:
        ids: anything, as returned by a tokenizer.
        size: number of tokens of its block.

    Returns:
        The fault, a clause of text; empty if there is none.
    """
    needed = f"; int64 [T] from 0 to {size - 1} is needed"
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
        return f"{kind_of(ids)}{needed}"
    outside = len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size
    return f"ids from {ids.min()} to {ids.max()}{needed}" if outside else ""


def media_fault(media: Any, kind: type[Any]) -> Fault:
    """Find the fault of decoded media.

    Args:
        media: anything, as returned by a tokenizer.
        kind: class of media that is needed; `object` for any but None.

    Returns:
        The fault, a clause of text; empty if there is none.
    """
    if media is not None and isinstance(media, kind):
        return ""
    needed = "media are" if kind is object else f"{kind.__name__} is"
    return f"decode gives {kind_of(media)}; {needed} needed"


def _state_fault(tokenizer: Tokenizer, from_state: Callable[..., Tokenizer]) -> Fault:
    """Check that the state survives JSON, and that `from_state` restores the same tokenizer from it."""
    if not isinstance(state := tokenizer.state(), dict):
        return f"state gives {kind_of(state)}; a dict is needed"
    try:
        state = json.loads(json.dumps(state))
    except (TypeError, ValueError) as error:
        return f"state gives what is no JSON ({error})"
    if isinstance(tokenizer, CodecTokenizer):  # needs its weights, too; a second network would cost memory
        return ""
    again = from_state(state)
    if not isinstance(again, Tokenizer):
        return f"from_state gives {kind_of(again)}; a helicon.Tokenizer is needed"
    if again.block != tokenizer.block or json.loads(json.dumps(again.state())) != state:
        return "from_state gives another tokenizer than the one whose state it gets"
    return ""


def _units_fault(tokenizer: Tokenizer) -> Fault:
    units = tokenizer.units(np.zeros(1, np.int64))
    if not isinstance(units, dict) or not all(isinstance(number, Real) for number in units.values()):
        return f"units gives {units!r}; a dict of numbers is needed"
    return ""


def _dropout_fault(tokenizer: Tokenizer) -> Fault:
    """Check the null condition, in which all words are dropped."""
    if not isinstance(tokenizer, Words):
        return ""
    ids = tokenizer.drop(tokenizer.encode(tokenizer.parse("")), np.random.default_rng(0), 1.0)
    fault = ids_fault(ids, len(tokenizer.block))
    return f"drop gives {fault}" if fault else ""


def _automaton_fault(automaton: Automaton, size: int) -> Fault:
    """Check one step of a batch, and the scan of a piece of one token; `size` is V."""
    first = automaton.constrain(automaton.start(BATCH), tokens=MAX_TOKENS)
    if not isinstance(first, dict) or not all(
        isinstance(t, Tensor) and t.shape[:1] == (BATCH,) for t in first.values()
    ):
        return f"its automaton starts with {_kinds(first)}; tensors by name, [B, ...], are needed"
    allowed = automaton.allowed(first)
    if not isinstance(allowed, Tensor) or allowed.dtype != torch.bool or allowed.shape != (BATCH, size + 1):
        return f"its automaton allows {kind_of(allowed)}; torch.bool [{BATCH}, {size + 1}] is needed"
    if not allowed.any(1).all():
        return "its automaton allows no token to begin with"
    ids_B = allowed[:, :size].long().argmax(1)
    second = automaton.step(first, ids_B)
    shapes = {name: (tensor.dtype, tensor.shape) for name, tensor in first.items()}
    if (
        not isinstance(second, dict)
        or {name: (tensor.dtype, tensor.shape) for name, tensor in second.items()} != shapes
    ):
        return f"its automaton steps from {_kinds(first)} to {_kinds(second)}; the same names and shapes are needed"
    before, after = automaton.coords(first), automaton.coords(second)
    for coords in (before, after):
        if not isinstance(coords, Mapping) or any(
            kind_of(coord) != f"torch.int64 [{BATCH}]" for coord in coords.values()
        ):
            return f"coords of its automaton are {_kinds(coords)}; torch.int64 [{BATCH}] by name are needed"
    if (scanned := automaton.scan(ids_B[:1].numpy())).keys() != after.keys():
        return f"scan of its automaton gives {', '.join(scanned) or 'nothing'}; its coords are {', '.join(after)}"
    positions = automaton.position(after, before)
    if missing := [axis for axis in automaton.axes if axis not in positions]:
        return (
            f"position of its automaton gives {', '.join(positions) or 'nothing'}; {', '.join(missing)} is needed, too"
        )
    return ""


def _kinds(tensors: Any) -> str:
    """Describe the type and shape of each of a mapping's tensors, or of anything else."""
    if not isinstance(tensors, Mapping):
        return kind_of(tensors)
    return ", ".join(f"{name}: {kind_of(tensor)}" for name, tensor in tensors.items()) or "nothing"
