"""The seam between media and ids: what a tokenizer is, and the grammar (automaton) it may carry.

Shapes: B batch, T tokens, V tokens of the block, without its `eos` row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from helicon.sequence.vocabulary import TokenBlock

Media = TypeVar("Media")
State = dict[str, Tensor]  # every value has B as its first dimension, so rows can be selected and copied
Coords = Mapping[str, Any]  # name -> int64 array or tensor; the names are the automaton's affair


class Automaton(Protocol):
    """Grammar and coordinates of an id stream, over tensors: one scan in training, one step at a time in decoding.

    Coordinates belong to a token once it is consumed: they are a function of the ids up to and including it, hence
    causal, except for those of a *plan*: in training taken from the whole piece, in decoding from what was asked for.
    """

    @property
    def rate(self) -> float | None:
        """Tokens a second where they come at a constant rate, else None."""
        ...

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

        Id V, `eos`, changes nothing.
        """
        ...

    def allowed(self, state: State) -> Tensor:
        """bool [B, V + 1]: which tokens may come next; the last column is `eos`. At least one is always allowed."""
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


class Tokenizer(ABC, Generic[Media]):
    """Media to local ids `0 .. V-1` and back: the base class of all tokenizers.

    `encode(decode(ids)) == ids` for canonical ids; `decode` is total. What only some tokenizers can do is declared by
    inheriting it, too: see `helicon.tokenizers.abilities` and, for those with a network, `helicon.tokenizers.codec`.

    Attributes:
        block: names of its tokens.
        automaton: grammar and coordinates of its ids; by default any id may follow any other.
        read_options: options with which files have to be read for it, by name; by default whatever is asked for.
    """

    block: TokenBlock
    automaton: Automaton | None = None
    read_options: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def encode(self, media: Media) -> np.ndarray:
        """int64 [T], local ids."""

    @abstractmethod
    def decode(self, ids: np.ndarray) -> Media:
        """Media of any id sequence; ids outside `0 .. V-1` raise ValueError."""

    def state(self) -> dict[str, Any]:
        """JSON-able state, of which its `TokenizerSpec.from_state` makes an equal tokenizer.

        By default what one has that learns nothing: the block's name and the options of reading.
        """
        return {"block": self.block.name, **self.read_options}

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Amounts that a loss is told by beside tokens, such as {"note": 812.0, "second": 90.5}; by default none."""
        return {}

    def describe(self) -> dict[str, Any]:
        """JSON-able, for people who ask what it knows; by default nothing."""
        return {}


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


def rate_of(tokenizer: Tokenizer | None) -> float | None:
    """Tokens a second; None where they come at no constant rate."""
    return tokenizer.automaton.rate if tokenizer and tokenizer.automaton else None


def check_ids(ids: Any, size: int) -> np.ndarray:
    """int64 array of `ids`; ValueError when one is outside `0 .. size-1`."""
    ids = np.asarray(ids, np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        raise ValueError(f"ids must be 0 .. {size - 1}, got {ids.min()} .. {ids.max()}")
    return ids
