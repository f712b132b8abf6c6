"""Grammar of music events: no hanging notes, one canonical order, and pieces of exactly the requested length.

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
COARSE = 16  # units (160 ms) in a row of the axis `time`; the axis `tick` counts the units within
PARTS = 128  # rows of the axes `part` and `countdown`
COUNTDOWN_UNITS = UNITS_PER_SECOND // 4  # units (250 ms) in a row of the axis `countdown`
_FAR = 1 << 40  # units, or a rank, beyond any


@dataclass(frozen=True, kw_only=True)
class _Lookup:
    """Effects of a token, by id [V + 1], `eos` last; and `key_rank` by key, [K + 1]."""

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
        """Make the lookup of a table, on CPU."""
        count = len(table.instruments)
        event, drum = table.wait == 0, table.instrument == table.drums
        on, off = event & (table.volume > 0), event & (table.volume == 0)
        key = np.where(event, table.instrument * PITCHES + table.pitch, count * PITCHES)
        key_rank = np.full(count * PITCHES + 1, -1)
        key_rank[key[off]] = table.rank[off]

        def with_eos(values: np.ndarray, eos_value: int | bool) -> Tensor:
            return torch.from_numpy(np.append(values, eos_value))

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
        """Copy the lookup to another device."""
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
        """Return the state of `batch` items before the first token, on CPU, without constraints."""
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
        """Add constraints to a state; None adds none.

        Args:
            state: of B items, a dict as of `start`.
            seconds: exact duration of the piece in seconds, from its start.
            tokens: how many more may come at most; a piece needs 3.
            instruments: names or groups of the table that may play; sounding notes of others may still end.

        Returns:
            State of the same form, whose masks are subsets of the old ones.

        Raises:
            ValueError: a duration below a unit, a negative number of tokens, or an unknown or no instrument.
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
        """Advance each item by a token.

        Args:
            state: of B items, a dict as of `start`.
            ids_B: local ids int64 [B]; the number of the block's tokens stands for `eos`, which changes nothing.

        Returns:
            The next state, of the same form.
        """
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
        """Mask of the tokens that may come next: bool [B, V + 1], True for allowed; at least one always is.

        The columns are the V tokens of the block, then `eos`.

        Args:
            state: of B items, a dict as of `start`.
        """
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
        """Mask of the tokens that may come while neither time nor tokens run out."""
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
        """Mask that leads to the end: note-offs by rank, `wait:1` where their order needs a new tick, then `eos`."""
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
        """Raw coordinates of the last token of each of B items of a state: int64 tensor [B] by name.

        time: units of 10 ms. chord: number of the event within its tick, from 1; 0 after a wait. The plan, 0 without a
        limit: part, 1 .. 128, of the piece; countdown to its end, quarter seconds from 1.
        """
        return {"time": state["time"], "chord": state["chord"], **_plan(state["time"], state["limit"])}

    def scan(self, ids_T: np.ndarray, plan: bool = True) -> Coords:
        """Compute `coords` after each token of a piece at once.

        Args:
            ids_T: local ids NumPy int64 [T] of the complete piece, whose length the plan states.
            plan: False sets the plan (`part` and `countdown`) to 0.

        Returns:
            Raw coordinates, an int64 array [T] by name.
        """
        wait = self.table.wait[ids_T]
        time, events = np.cumsum(wait), np.cumsum(wait == 0)
        chord = events - np.maximum.accumulate(np.where(wait > 0, events, 0))
        limit = np.full_like(time, time[-1] if plan and len(time) else -1)
        return {"time": time, "chord": chord, **_plan(time, limit)}

    def position(self, coords: Coords, origin: Coords) -> Coords:
        """Convert raw coordinates to rows of `axes`.

        Args:
            coords: raw coordinates by name, int64 arrays or tensors of one shape.
            origin: raw coordinates by name just before the window, from which `time` and `tick` count.

        Returns:
            Rows, int64 of the shape of `coords`, by axis; clipped to the size of each table.
        """
        time = (coords["time"] - origin["time"]).clip(0)
        rows = {"time": time // COARSE, "tick": time % COARSE}
        rows |= {name: coords[name] for name in ("chord", "part", "countdown")}
        return {name: row.clip(0, self.axes[name] - 1) for name, row in rows.items()}

    def _lookup(self, device: torch.device) -> _Lookup:
        if device not in self._lookups:
            self._lookups[device] = self._lookups[torch.device("cpu")].to(device)
        return self._lookups[device]

    def _mask(self, names: Collection[str]) -> Tensor:
        """Mask of the instruments with these names or groups, bool [I + 1]; ValueError for unknown names or none."""
        rows = self.table.instruments
        accepted = {row.name for row in rows} | set(self.table.groups)
        for name in names:
            if name not in accepted:
                raise ValueError(unknown("instrument", name, sorted(accepted)))
        mask = [row.name in names or row.group in names for row in rows]
        if not any(mask):
            raise ValueError("at least one instrument is needed")
        return torch.tensor([*mask, False])


def _plan(time: Any, limit: Any) -> dict[str, Any]:
    """Part and countdown of arrays or tensors of units; 0 where the limit is negative."""
    limited = limit >= 0
    part = 1 + (time * PARTS // limit.clip(1)).clip(0, PARTS - 1)
    countdown = 1 + ((limit - time) // COUNTDOWN_UNITS).clip(0, PARTS - 1)
    return {"part": part * limited, "countdown": countdown * limited}
