"""Interfaces between media and ids: `Tokenizer`, and `Automaton`, the grammar that a tokenizer may carry.

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
State = dict[str, Tensor]  # every value has B as its first dimension, so that items can be selected and copied
Coords = Mapping[str, Any]  # int64 array or tensor by name; each automaton has names of its own


class Automaton(Protocol):
    """Grammar and coordinates of an id stream, over tensors: one scan in training, one step at a time in decoding.

    Coordinates of a token are a function of the ids up to and including it, hence causal. The exception are those of a
    *plan*, such as the total length: in training they come from the complete piece, in decoding from the request.
    """

    @property
    def rate(self) -> float | None:
        """Tokens a second; None when tokens have no constant duration."""
        ...

    @property
    def axes(self) -> Mapping[str, int]:
        """Number of rows of each axis's coordinate table, by name of the axis; rows are 0 .. size-1."""
        ...

    def start(self, batch: int) -> State:
        """State of `batch` items before the first token: a dict of tensors [batch, ...] by name, on CPU."""
        ...

    @property
    def constrain(self) -> Callable[..., State]:
        """Function `constrain(state, tokens=None, **constraints)`, which returns the state with added constraints.

        Masks of the new state are subsets of the old ones. `tokens` is how many may still come at most; further
        constraints depend on the medium. None adds none.
        """
        ...

    def step(self, state: State, ids_B: Tensor) -> State:
        """Advance each item by a token.

        Args:
            state: dict of tensors [B, ...], as of `start`.
            ids_B: local ids int64 [B], 0 .. V-1 for the V tokens of the block, or V for `eos`, which changes nothing. A
                token that the grammar forbids is accepted, too.

        Returns:
            The next state, of the same form.
        """
        ...

    def allowed(self, state: State) -> Tensor:
        """Mask of the tokens that may come next: bool [B, V + 1], True for allowed; at least one always is.

        The columns are the V tokens of the block, then `eos`.

        Args:
            state: dict of tensors [B, ...], as of `start`.
        """
        ...

    def coords(self, state: State) -> Coords:
        """Raw coordinates of each item's last token, counted from the start of the piece: int64 tensor [B] by axis.

        Args:
            state: dict of tensors [B, ...], as of `start`.
        """
        ...

    def scan(self, ids_T: np.ndarray, plan: bool = True) -> Coords:
        """Compute `coords` after each token of a piece at once: the fast path of `step` in a loop.

        Args:
            ids_T: local ids NumPy int64 [T] of the complete piece, T tokens.
            plan: False sets the coordinates that look ahead, such as the total length, to 0.

        Returns:
            Raw coordinates, an int64 array [T] by name.
        """
        ...

    def position(self, coords: Coords, origin: Coords) -> Coords:
        """Convert raw coordinates to rows of the tables named in `axes`, relative to a window.

        Args:
            coords: raw coordinates by name, int64 arrays or tensors of one shape, as of `coords` or `scan`.
            origin: raw coordinates by name just before the window; those of `start` for the first window.

        Returns:
            Rows, int64 of the shape of `coords`, by axis; clipped to the size of each table.
        """
        ...


class Tokenizer(ABC, Generic[Media]):
    """Base class of tokenizers: media to local ids `0 .. V-1` and back.

    `encode(decode(ids)) == ids` for canonical ids; `decode` is total. Optional abilities are further base classes: see
    `helicon.tokenizers.abilities` and, for tokenizers with a network, `helicon.tokenizers.codec`.

    Attributes:
        block: names of the tokens.
        automaton: grammar and coordinates of the ids; None if any id may follow any other.
        read_options: options by name with which the tokenizer's media files have to be read; by default none.
    """

    block: TokenBlock
    automaton: Automaton | None = None
    read_options: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def encode(self, media: Media) -> np.ndarray:
        """Encode media of the tokenizer's kind, such as a `str` or a `Score`, to local ids NumPy int64 [T]."""

    @abstractmethod
    def decode(self, ids: np.ndarray) -> Media:
        """Decode any local ids NumPy int64 [T] to media of the tokenizer's kind.

        ValueError for ids outside `0 .. V-1`.
        """

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict, from which `TokenizerSpec.from_state` makes an equal tokenizer.

        By default the block's name and `read_options`, which suffices for a tokenizer that is not fitted.
        """
        return {"block": self.block.name, **self.read_options}

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units, beside tokens, in which a loss on local ids NumPy int64 [T] is reported.

        The result is amount by unit, such as {"note": 812.0, "second": 90.5}; by default empty.
        """
        return {}

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users, such as {"labels": ["bach"]}; by default empty."""
        return {}


def stepped(automaton: Automaton, state: State, ids_T: Tensor) -> tuple[State, dict[str, Tensor]]:
    """Advance an automaton by the tokens of a piece, one at a time.

    Args:
        automaton: `Automaton`, the grammar of the tokens.
        state: of one item, a dict of tensors [1, ...].
        ids_T: local ids int64 [T].

    Returns:
        The last state, and the raw coordinates before the first token and after each: int64 tensor [T + 1] by axis.
    """
    coords = automaton.coords(state)
    by_axis = {axis: torch.empty(len(ids_T) + 1, dtype=torch.int64) for axis in coords}
    for i in range(len(ids_T) + 1):
        for axis, values in by_axis.items():
            values[i] = coords[axis][0]
        if i < len(ids_T):
            state = automaton.step(state, ids_T[i : i + 1])
            coords = automaton.coords(state)
    return state, by_axis


def rate_of(tokenizer: Tokenizer | None) -> float | None:
    """Return the tokens a second of a `Tokenizer` or None; None when its tokens have no constant duration."""
    return tokenizer.automaton.rate if tokenizer and tokenizer.automaton else None


def check_ids(ids: Any, size: int) -> np.ndarray:
    """Convert ids to an array and check their range.

    Args:
        ids: local ids, an array-like of integers.
        size: number of tokens of the block.

    Returns:
        Array int64 of the same shape.

    Raises:
        ValueError: an id is outside `0 .. size-1`.
    """
    ids = np.asarray(ids, np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        raise ValueError(f"ids must be 0 .. {size - 1}, got {ids.min()} .. {ids.max()}")
    return ids
