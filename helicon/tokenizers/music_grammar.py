"""The grammar of music events: no hanging notes, one canonical order, and pieces of exactly the length asked for.

Within one tick (between two waits) ranks rise, so the events of a tick are bounded; a note-off needs a sounding note;
only a wait of 128 may be followed by a wait; the end comes only in silence. With a limit in seconds the piece lasts
exactly that long, and with a limit in tokens every note is closed before they run out, whatever the weights.

Shapes: B batch, T tokens, V ids of the block, I instruments, K = I * 128 keys. Last columns beyond I and K, always
False, stand for "no instrument" and "no key" and save a mask.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.formats.nearest import unknown
from helicon.tokenizers.base import Coords, State
from helicon.tokenizers.instruments import LONGEST_WAIT, PITCHES, UNITS_PER_SECOND, InstrumentTable

LONGEST_GAP = 60 * UNITS_PER_SECOND  # units between two events
COARSE = 16  # units of a row of the axis `time`; `tick` counts the units within
PARTS = 128
COUNTDOWN_UNITS = UNITS_PER_SECOND // 4
_FAR = 1 << 40


@dataclass(frozen=True, kw_only=True)
class _Lookup:
    """What a token does, by id [V + 1], `eos` last; and `key_rank` [K + 1] by key."""

    key: Tensor
    sustains: Tensor  # bool: the key sounds afterwards
    rank: Tensor  # -1 for waits and eos
    wait: Tensor  # units, 0 for all else
    on_instrument: Tensor  # I where not a note-on
    off_key: Tensor  # K where not a note-off
    off_rank: Tensor  # -1 where not a note-off
    drum_on: Tensor  # bool
    eos: Tensor  # bool
    key_rank: Tensor

    @staticmethod
    def of(table: InstrumentTable) -> _Lookup:
        """From a table, on CPU."""
        count = len(table.instruments)
        event, drum = table.wait == 0, table.instrument == table.drums
        on, off = event & (table.volume > 0), event & (table.volume == 0)
        key = np.where(event, table.instrument * PITCHES + table.pitch, count * PITCHES)
        key_rank = np.full(count * PITCHES + 1, -1)
        key_rank[key[off]] = table.rank[off]

        def with_eos(values: np.ndarray, of_stop: int | bool) -> Tensor:
            return torch.from_numpy(np.append(values, of_stop))

        return _Lookup(
            key=with_eos(key, count * PITCHES),
            sustains=with_eos(on & ~drum, False),
            rank=with_eos(table.rank, -1),
            wait=with_eos(table.wait, 0),
            on_instrument=with_eos(np.where(on, table.instrument, count), count),
            off_key=with_eos(np.where(off, key, count * PITCHES), count * PITCHES),
            off_rank=with_eos(np.where(off, table.rank, -1), -1),
            drum_on=with_eos(on & drum, False),
            eos=with_eos(np.zeros_like(on), True),
            key_rank=torch.from_numpy(key_rank),
        )

    def to(self, device: torch.device) -> _Lookup:
        """The same on another device."""
        return _Lookup(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class MusicAutomaton:
    """Grammar and coordinates of the events of a table.

    State: sounding bool [B, K + 1]; instruments bool [B, I + 1], those whose notes may begin; begun bool [B], an event
    has come; and int64 [B] each: time, units; gap, units since the last event; rank of the last event of the tick, or
    -1; chord, events in the tick; limit, units that the piece must last, or -1; room, tokens left, or -1.
    """

    rate = None  # a token lasts no time, or as long as it says

    def __init__(self, table: InstrumentTable) -> None:
        self.table = table
        self.axes = {"time": 1024, "tick": COARSE, "chord": 32, "part": PARTS + 1, "countdown": PARTS + 1}
        self._lookups = {torch.device("cpu"): _Lookup.of(table)}

    def start(self, batch: int) -> State:
        """State before the first token, on CPU, with nothing asked for."""
        count = len(self.table.instruments)
        state = {name: torch.zeros(batch, dtype=torch.int64) for name in ("time", "gap", "chord")}
        state |= {name: torch.full((batch,), -1) for name in ("rank", "limit", "room")}
        state["begun"] = torch.zeros(batch, dtype=torch.bool)
        state["sounding"] = torch.zeros(batch, count * PITCHES + 1, dtype=torch.bool)
        state["instruments"] = torch.arange(count + 1).lt(count).repeat(batch, 1)
        return state

    def constrain(
        self,
        state: State,
        *,
        seconds: float | None = None,
        tokens: int | None = None,
        instruments: Collection[str] | None = None,
    ) -> State:
        """State whose pieces last `seconds` from their start, end within `tokens` more and play only `instruments`.

        Notes of other instruments that sound already may end. Instruments are names or groups of the table. None leaves
        things as they are. A piece needs 3 tokens. ValueError for no time, or no instrument.
        """
        state = dict(state)
        if seconds is not None:
            if not seconds * UNITS_PER_SECOND >= 1:
                raise ValueError(f"seconds must be at least {1 / UNITS_PER_SECOND}, got {seconds}")
            state["limit"] = torch.full_like(state["limit"], round(seconds * UNITS_PER_SECOND))
        if tokens is not None:
            if tokens < 0:
                raise ValueError(f"tokens must be at least 0, got {tokens}")
            state["room"] = torch.full_like(state["room"], tokens)
        if instruments is not None:
            rows = state["instruments"]
            state["instruments"] = self._mask(instruments).to(rows.device).repeat(len(rows), 1)
        return state

    def step(self, state: State, ids_B: Tensor) -> State:
        """State after one more token a row; `eos` changes nothing."""
        of = self._lookup(ids_B.device)
        wait, rank, keys = of.wait[ids_B], of.rank[ids_B], of.key[ids_B]
        is_wait, is_event = wait > 0, rank >= 0
        return {
            **state,
            "sounding": state["sounding"].scatter(1, keys[:, None], of.sustains[ids_B][:, None]),
            "time": state["time"] + wait,
            "gap": torch.where(is_event, 0, state["gap"] + wait),
            "rank": torch.where(is_wait, -1, torch.maximum(state["rank"], rank)),
            "chord": torch.where(is_wait, 0, state["chord"] + is_event.long()),
            "begun": state["begun"] | is_event,
            "room": torch.where((is_wait | is_event) & (state["room"] > 0), state["room"] - 1, state["room"]),
        }

    def allowed(self, state: State) -> Tensor:
        """bool [B, V + 1]: which tokens may come next, `eos` last. At least one is always allowed."""
        held = state["sounding"].sum(1)
        # An open note costs its note-off, and one wait if it began in this tick; any token may open one more.
        short = (state["room"] >= 0) & (state["room"] < held + 3)
        late = (state["limit"] >= 0) & (state["time"] >= state["limit"])
        ends, allowed = late | short, self._free(state, held)
        if bool(ends.any()):
            allowed = torch.where(ends[:, None], self._closing(state, held), allowed)
        allowed[:, -1] |= ~allowed.any(1)
        return allowed

    def _free(self, state: State, held: Tensor) -> Tensor:
        """Tokens that may come while there is time and room."""
        of = self._lookup(held.device)
        sounds, drums = held > 0, state["instruments"][:, self.table.drums]
        left = torch.where(state["limit"] < 0, _FAR, state["limit"] - state["time"])
        # The limit is reached by something that happens there: a note that ends, or a drum. So in the last unit before
        # it the last note must go on, and a silence without drums may not be waited out.
        hold = (left == 1) & (held == 1) & ~drums
        ons = state["instruments"].index_select(1, of.on_instrument)
        offs = state["sounding"].index_select(1, of.off_key) & ~hold[:, None]
        events = (ons | offs) & (of.rank > state["rank"][:, None])

        longest = torch.minimum(left - (~sounds & ~drums).long(), LONGEST_GAP - state["gap"])
        may_wait = (state["gap"] % LONGEST_WAIT == 0) & (sounds | (state["room"] < 0) | (state["room"] > 3))
        waits = (of.wait > 0) & (of.wait <= torch.where(may_wait, longest, 0)[:, None])

        may_stop = (state["limit"] < 0) & ~sounds & (state["gap"] == 0) & state["begun"]
        return events | waits | (of.eos & may_stop[:, None])

    def _closing(self, state: State, held: Tensor) -> Tensor:
        """The one way to end: note-offs in order of rank, `wait:1` where that order asks for a new tick, `eos`."""
        of = self._lookup(held.device)
        sounds, drums = held > 0, state["instruments"][:, self.table.drums]
        due = state["sounding"] & (of.key_rank > state["rank"][:, None])
        lowest = torch.where(due, of.key_rank, _FAR).amin(1)
        waits = sounds & (lowest == _FAR)
        hits = ~sounds & (state["gap"] > 0) & drums
        stops = ~sounds & ~hits
        return (
            (of.off_rank == lowest[:, None])
            | ((of.wait == 1) & waits[:, None])
            | (of.drum_on & hits[:, None])
            | (of.eos & stops[:, None])
        )

    def coords(self, state: State) -> Coords:
        """Raw coordinates [B] after the token consumed last.

        time: units. chord: place among the events of the tick, from 1; 0 after a wait. The plan, 0 without a limit:
        part, 1 .. 128, of the piece; countdown to its end, quarter seconds from 1.
        """
        return {"time": state["time"], "chord": state["chord"], **_plan(state["time"], state["limit"])}

    def scan(self, ids_T: np.ndarray, plan: bool = True) -> Coords:
        """`coords` after each token of a piece, int64 [T]; the plan is for the length of this piece."""
        wait = self.table.wait[ids_T]
        time, events = np.cumsum(wait), np.cumsum(wait == 0)
        chord = events - np.maximum.accumulate(np.where(wait > 0, events, 0))
        limit = np.full_like(time, time[-1] if plan and len(time) else -1)
        return {"time": time, "chord": chord, **_plan(time, limit)}

    def position(self, coords: Coords, origin: Coords) -> Coords:
        """Rows of `axes`: time in 160 ms and the units within, both since `origin`; all else as it is, clipped."""
        time = (coords["time"] - origin["time"]).clip(0)
        rows = {"time": time // COARSE, "tick": time % COARSE}
        rows |= {name: coords[name] for name in ("chord", "part", "countdown")}
        return {name: row.clip(0, self.axes[name] - 1) for name, row in rows.items()}

    def _lookup(self, device: torch.device) -> _Lookup:
        if device not in self._lookups:
            self._lookups[device] = self._lookups[torch.device("cpu")].to(device)
        return self._lookups[device]

    def _mask(self, names: Collection[str]) -> Tensor:
        """bool [I + 1]."""
        rows = self.table.instruments
        known = {row.name for row in rows} | set(self.table.groups)
        for name in names:
            if name not in known:
                raise ValueError(unknown("instrument", name, sorted(known)))
        mask = [row.name in names or row.group in names for row in rows]
        if not any(mask):
            raise ValueError("at least one instrument is needed")
        return torch.tensor([*mask, False])


def _plan(time: Any, limit: Any) -> dict[str, Any]:
    """part and countdown of arrays or tensors of units; 0 where the limit is negative."""
    known = limit >= 0
    part = 1 + (time * PARTS // limit.clip(1)).clip(0, PARTS - 1)
    countdown = 1 + ((limit - time) // COUNTDOWN_UNITS).clip(0, PARTS - 1)
    return {"part": part * known, "countdown": countdown * known}
