"""The seam between media and ids: what a tokenizer is, and the grammar (automaton) it may carry.

Shapes: B batch, T tokens, V tokens of the block, without its `stop` row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from helicon.sequence.vocabulary import Block

Media = TypeVar("Media")
State = dict[str, Tensor]  # every value has B as its first dimension, so rows can be selected and copied
Coords = Mapping[str, Any]  # name -> int64 array or tensor; the names are the automaton's affair


class Automaton(Protocol):
    """Grammar and coordinates of an id stream, over tensors: one scan in training, one step at a time in decoding.

    Coordinates belong to a token once it is consumed: they are a function of the ids up to and including it, hence
    causal, except for those of a *plan*: in training taken from the whole piece, in decoding from what was asked for.
    """

    @property
    def axes(self) -> Mapping[str, int]:
        """Name -> size of a coordinate table, whose rows are 0 .. size-1."""
        ...

    def start(self, batch: int) -> State:
        """State before the first token, on CPU."""
        ...

    @property
    def constrain(self) -> Callable[..., State]:
        """constrain(state, tokens=None, **wishes): state in which `allowed` lets less through.

        tokens: how many may still come. Further wishes are the medium's own; None leaves things as they are.
        """
        ...

    def step(self, state: State, ids_B: Tensor) -> State:
        """State after one more token a row; total: a token outside the grammar is taken as well as it can be.

        Id V, `stop`, changes nothing.
        """
        ...

    def allowed(self, state: State) -> Tensor:
        """bool [B, V + 1]: which tokens may come next; the last column is `stop`. At least one is always allowed."""
        ...

    def coords(self, state: State) -> Coords:
        """Raw coordinates of the token consumed last, counted from the start of the piece: int64 [B] each."""
        ...

    def scan(self, ids_T: np.ndarray, plan: bool = True) -> Coords:
        """`coords` after each token of one piece at once, int64 [T] each: the fast path of `step` in a loop.

        Without `plan` the coordinates that look ahead are 0.
        """
        ...

    def position(self, coords: Coords, origin: Coords) -> Coords:
        """Rows of the tables named in `axes`, clipped to their sizes, for raw coordinates seen from a window.

        `origin` are the raw coordinates just before the window (those of `start` for the first one). Arrays and
        tensors alike.
        """
        ...


@runtime_checkable
class Tokenizer(Protocol[Media]):
    """Media to local ids `0 .. V-1` and back.

    `encode(decode(ids)) == ids` for canonical ids. `decode` is total. A tokenizer may also have
    `augment(ids, change) -> ids`, equal to encoding the changed media; `encode_with_report(media)`, which also gives a
    ReadReport of what was lost; `parse(text) -> media` for what is typed; `wishes(media)`, what that media asks of
    the automaton of the slot that is made; `units(ids) -> {"note": 812.0, "second": 90.5}`, what a loss can be told by
    beside tokens; `describe()`, JSON-able, for people who ask what it knows; `shape`, rows and columns of the grid
    that its ids fill; `reading`, options with which files are to be read for it; `encode_many` and `decode_many`, of
    several at once; and `weights()`, tensors that belong to its state. Of tokens that come at a constant rate `rate`
    is how many a second; beside them `slide(ids, begin_s, end_s, total_s, length)` gives at most `length` of a
    condition's ids, those that belong to some seconds of a piece.
    """

    @property
    def block(self) -> Block:
        """Its tokens' names."""
        ...

    @property
    def automaton(self) -> Automaton | None:
        """Grammar and coordinates of its ids, if it has any."""
        ...

    def encode(self, media: Media) -> np.ndarray:
        """int64 [T], local ids."""
        ...

    def decode(self, ids: np.ndarray) -> Media:
        """Media of any id sequence; ids outside `0 .. V-1` raise ValueError."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON-able state; `from_state` of the same class gives back an equal tokenizer."""
        ...


def stepped(automaton: Automaton, state: State, ids_T: Tensor) -> tuple[State, dict[str, Tensor]]:
    """State [1] after the tokens of one piece, and the coordinates int64 [T + 1] from before the first of them on."""
    coords = automaton.coords(state)
    found = {axis: torch.empty(len(ids_T) + 1, dtype=torch.int64) for axis in coords}
    for i in range(len(ids_T) + 1):
        for axis, values in found.items():
            values[i] = coords[axis][0]
        if i < len(ids_T):
            state = automaton.step(state, ids_T[i : i + 1])
            coords = automaton.coords(state)
    return state, found


def tokenizer_weights(tokenizer: Tokenizer) -> dict[str, Tensor]:
    """Tensors that a tokenizer needs beside its `state()`: none of most."""
    return tokenizer.weights() if hasattr(tokenizer, "weights") else {}  # type: ignore[attr-defined]


def reading(tokenizers: Iterable[Tokenizer]) -> dict[str, Any]:
    """Options with which files have to be read for these tokenizers."""
    return {name: value for tokenizer in tokenizers for name, value in getattr(tokenizer, "reading", {}).items()}


def check_ids(ids: Any, size: int) -> np.ndarray:
    """int64 array of `ids`; ValueError when one is outside `0 .. size-1`."""
    ids = np.asarray(ids, np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        raise ValueError(f"ids must be 0 .. {size - 1}, got {ids.min()} .. {ids.max()}")
    return ids
