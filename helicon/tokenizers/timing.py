"""Timing coordinates of tokens with a constant rate (Jukebox's timing signal), and exact lengths.

The signal is the total length, the time since the start and the elapsed part (arXiv:2005.00341, section 4.1), here as
rows of tables; of a piece of unknown length, the time since the start alone.

Shapes: B batch, T tokens, V ids of the block.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.tokenizers.base import Coords, State

TICKS_A_SECOND, TIMES = 16, 1024  # rows of the axis `time`; all times after 64 seconds share the last row
LENGTHS_AN_OCTAVE, LENGTHS = 8, 128  # rows of `total`: logarithmic, 16 octaves from 1/16 s to more than an hour
PARTS = 128  # rows of `elapsed`
LONGEST_SECONDS = 1e6  # of a request; some 12 days


def tokens_in(seconds: float, rate: float) -> int:
    """Convert a duration to a number of tokens.

    Args:
        seconds: duration, above 0, at most LONGEST_SECONDS.
        rate: tokens a second.

    Returns:
        Tokens, rounded up, at least 1. A millionth of a token is rounded down, as the error of `seconds * rate`.

    Raises:
        ValueError: seconds out of range.
    """
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"seconds must be above 0 and at most {LONGEST_SECONDS:,.0f}, got {seconds}")
    return max(1, math.ceil(seconds * rate - 1e-6))


class TimeAutomaton:
    """Automaton of tokens with a constant rate: timing coordinates and length; any token may follow any other.

    State: int64 [B] each: time, tokens so far; limit, tokens of the complete piece, or -1; room, tokens left, or -1.
    """

    def __init__(self, vocabulary: int, rate: float) -> None:
        """Make an automaton.

        Args:
            vocabulary: V, at least 1.
            rate: tokens a second, above 0.

        Raises:
            ValueError: a value out of range.
        """
        if not 0 < rate < math.inf or vocabulary < 1:
            raise ValueError(f"a rate above 0 and 1 token or more are needed, got {rate} and {vocabulary}")
        self.vocabulary, self.rate = vocabulary, rate
        self.axes = {"time": TIMES, "total": LENGTHS + 1, "elapsed": PARTS + 1}
        # A fraction of integers, since arrays and tensors would round a float32 division differently
        self._ticks = (Fraction(TICKS_A_SECOND) / Fraction(rate)).limit_denominator(1_000_000)
        steps = np.arange(1, LENGTHS) / LENGTHS_AN_OCTAVE
        # Least tokens of each row of `total`, from the second row on
        self._lengths = np.ceil(rate / TICKS_A_SECOND * 2**steps).astype(np.int64)

    def start(self, batch: int) -> State:
        """Return the state of `batch` items before the first token, on CPU, without constraints."""
        return {"time": torch.zeros(batch, dtype=torch.int64)} | {
            name: torch.full((batch,), -1) for name in ("limit", "room")
        }

    def constrain(
        self,
        state: State,
        *,
        tokens: int | None = None,
        seconds: float | None = None,
        length: int | None = None,
        **others: Any,
    ) -> State:
        """Add constraints to a state; None adds none.

        The piece has exactly `length` tokens or lasts `seconds`, whichever is shorter. Tokens of a prime count; a prime
        that is longer ends at once.

        Args:
            state: of B items, a dict as of `start`.
            tokens: how many more may come at most.
            seconds: exact duration of the piece in seconds.
            length: exact number of tokens of the piece.
            others: constraints of other media, which are ignored.

        Returns:
            State of the same form, whose masks are subsets of the old ones.

        Raises:
            ValueError: a value out of range.
        """
        state = dict(state)
        if length is not None and length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if tokens is not None and tokens < 0:
            raise ValueError(f"tokens must be at least 0, got {tokens}")
        if seconds is not None:
            state["limit"] = _lowered(state["limit"], tokens_in(seconds, self.rate))
        if length is not None:
            state["limit"] = _lowered(state["limit"], length)
        if tokens is not None:
            state["room"] = _lowered(state["room"], tokens)
        return state

    def step(self, state: State, ids_B: Tensor) -> State:
        """Advance each item by a token.

        Args:
            state: of B items, a dict as of `start`.
            ids_B: local ids int64 [B]; the number of the block's tokens stands for `eos`, which changes nothing.

        Returns:
            The next state, of the same form.
        """
        step_B = (ids_B < self.vocabulary).long()  # 0 for `eos`, else 1
        room = torch.where(state["room"] > 0, state["room"] - step_B, state["room"])
        return {**state, "time": state["time"] + step_B, "room": room}

    def allowed(self, state: State) -> Tensor:
        """Mask of the tokens that may come next: all until the piece has its length, then `eos` alone.

        Without a length `eos` may come at any time, but not first.

        Args:
            state: of B items, a dict as of `start`.

        Returns:
            bool [B, V + 1], True for allowed: the V tokens of the block, then `eos`.
        """
        limit, time = state["limit"], state["time"]
        ended = ((limit >= 0) & (time >= limit)) | (state["room"] == 0)
        eos = ended | ((limit < 0) & (time > 0))
        return torch.cat([~ended[:, None].expand(-1, self.vocabulary), eos[:, None]], dim=1)

    def coords(self, state: State) -> Coords:
        """Raw coordinates of the last token of each of B items of a state: int64 tensor [B] by name.

        time: tokens. The plan, 0 without a length: total, the row of the piece's length; elapsed, 1 .. 128, its part.
        """
        time, limit = state["time"], state["limit"]
        total = 1 + torch.bucketize(limit, torch.from_numpy(self._lengths).to(limit.device), right=True)
        return {"time": time, "total": total * (limit >= 0), "elapsed": _elapsed(time, limit)}

    def scan(self, ids_T: np.ndarray, plan: bool = True) -> Coords:
        """Compute `coords` after each token of a piece at once.

        Args:
            ids_T: local ids NumPy int64 [T] of the complete piece, whose length the plan states.
            plan: False sets the plan (`total` and `elapsed`) to 0.

        Returns:
            Raw coordinates, an int64 array [T] by name.
        """
        time = np.arange(1, len(ids_T) + 1)
        if not plan:
            return {"time": time, "total": np.zeros_like(time), "elapsed": np.zeros_like(time)}
        total = 1 + np.searchsorted(self._lengths, len(ids_T), side="right")
        return {
            "time": time,
            "total": np.full_like(time, total),
            "elapsed": _elapsed(time, np.full_like(time, len(time))),
        }

    def position(self, coords: Coords, origin: Coords) -> Coords:
        """Convert raw coordinates to rows of `axes`.

        Args:
            coords: raw coordinates by name, int64 arrays or tensors of one shape.
            origin: not used: `time` counts from the start of the piece in every window, as in Jukebox.

        Returns:
            Rows, int64 of that shape, by axis, clipped to the size of each table; a row of `time` is 1/16 second.
        """
        rows = {**coords, "time": coords["time"] * self._ticks.numerator // self._ticks.denominator}
        return {name: rows[name].clip(0, size - 1) for name, size in self.axes.items()}


def _lowered(limits: Tensor, bound: int) -> Tensor:
    """Lower limits to a bound; -1 means no limit so far."""
    return torch.where(limits < 0, bound, limits.clamp(max=bound))


def _elapsed(time: Any, limit: Any) -> Any:
    """Elapsed part, 1 .. 128, of arrays or tensors of tokens; 0 where the limit is negative."""
    return (1 + (time * PARTS // limit.clip(1)).clip(0, PARTS - 1)) * (limit >= 0)
