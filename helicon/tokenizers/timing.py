"""Where in a piece a token stands when tokens come at a constant rate: Jukebox's timing signal, and exact lengths.

The signal is the total length, the time since the start and the part that has elapsed (arXiv:2005.00341, section 4.1),
here in rows of tables; of a piece whose length is not known only the time since the start.

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

TICKS_A_SECOND, TIMES = 16, 1024  # rows of the axis `time`: what comes later than 64 seconds has the last one
LENGTHS_AN_OCTAVE, LENGTHS = 8, 128  # rows of `total`: from less than 1/16 s on, 16 octaves up to more than an hour
PARTS = 128
LONGEST_SECONDS = 1e6


def tokens_in(seconds: float, rate: float) -> int:
    """Tokens of `rate` a second that last `seconds`: rounded up, at least 1; ValueError for no time, or too much.

    A millionth of a token is what floats may add to `seconds * rate`, and asks for no further one.
    """
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"seconds must be above 0 and at most {LONGEST_SECONDS:,.0f}, got {seconds}")
    return max(1, math.ceil(seconds * rate - 1e-6))


class TimeAutomaton:
    """Coordinates and length of a slot whose tokens come at a constant rate; any token may follow any other.

    State: int64 [B] each: time, tokens so far; limit, tokens of the whole piece, or -1; room, tokens left, or -1.
    """

    def __init__(self, vocabulary: int, rate: float) -> None:
        """rate: tokens a second. ValueError unless that is above 0, and the vocabulary has a token."""
        if not 0 < rate < math.inf or vocabulary < 1:
            raise ValueError(f"a rate above 0 and 1 token or more are needed, got {rate} and {vocabulary}")
        self.vocabulary, self.rate = vocabulary, rate
        self.axes = {"time": TIMES, "total": LENGTHS + 1, "elapsed": PARTS + 1}
        # In whole numbers, so that arrays and tensors, which divide as float32, agree
        self._ticks = (Fraction(TICKS_A_SECOND) / Fraction(rate)).limit_denominator(1_000_000)
        steps = np.arange(1, LENGTHS) / LENGTHS_AN_OCTAVE
        self._lengths = np.ceil(rate / TICKS_A_SECOND * 2**steps).astype(np.int64)  # from which each row of `total` is

    def start(self, batch: int) -> State:
        """State before the first token, on CPU, with nothing asked for."""
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
        """State whose pieces have exactly `length` tokens or last `seconds`, whichever is less; at most `tokens` more.

        All tokens since the start count, those of a prime too: one that is longer is ended at once. Other wishes change
        nothing. ValueError for no time or length.
        """
        state = dict(state)
        if length is not None and length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if tokens is not None and tokens < 0:
            raise ValueError(f"tokens must be at least 0, got {tokens}")
        if seconds is not None:
            state["limit"] = _less(state["limit"], tokens_in(seconds, self.rate))
        if length is not None:
            state["limit"] = _less(state["limit"], length)
        if tokens is not None:
            state["room"] = _less(state["room"], tokens)
        return state

    def step(self, state: State, ids_B: Tensor) -> State:
        """State after one more token a row; `eos` changes nothing."""
        one = (ids_B < self.vocabulary).long()
        room = torch.where(state["room"] > 0, state["room"] - one, state["room"])
        return {**state, "time": state["time"] + one, "room": room}

    def allowed(self, state: State) -> Tensor:
        """bool [B, V + 1]: all tokens until the piece is as long as asked for, then `eos` alone.

        Without a length `eos` may come at any time, but not first.
        """
        limit, time = state["limit"], state["time"]
        ended = ((limit >= 0) & (time >= limit)) | (state["room"] == 0)
        eos = ended | ((limit < 0) & (time > 0))
        return torch.cat([~ended[:, None].expand(-1, self.vocabulary), eos[:, None]], dim=1)

    def coords(self, state: State) -> Coords:
        """Raw coordinates [B] after the token consumed last.

        time: tokens. The plan, 0 without a length: total, the row of the whole length; elapsed, 1 .. 128, of the piece.
        """
        time, limit = state["time"], state["limit"]
        total = 1 + torch.bucketize(limit, torch.from_numpy(self._lengths).to(limit.device), right=True)
        return {"time": time, "total": total * (limit >= 0), "elapsed": _elapsed(time, limit)}

    def scan(self, ids_T: np.ndarray, plan: bool = True) -> Coords:
        """`coords` after each token of a piece, int64 [T]; the plan is for the length of this piece."""
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
        """Rows of `axes`: time in sixteenths of a second since the start of the piece; the plan as it is."""
        rows = {**coords, "time": coords["time"] * self._ticks.numerator // self._ticks.denominator}
        return {name: rows[name].clip(0, size - 1) for name, size in self.axes.items()}


def _less(known: Tensor, asked: int) -> Tensor:
    """What is asked for, unless less is known already; -1 is not known."""
    return torch.where(known < 0, asked, known.clamp(max=asked))


def _elapsed(time: Any, limit: Any) -> Any:
    """1 .. 128 of arrays or tensors of tokens; 0 where the limit is negative."""
    return (1 + (time * PARTS // limit.clip(1)).clip(0, PARTS - 1)) * (limit >= 0)
