"""Parts: what programs, pedals and keys of a MIDI channel belong to when several tracks share it.

A channel is shared by the tracks that play there or set its program. One that does both is a part of its own. What it
plays hears its own programs and pedals and those of tracks that are no parts, its own before theirs of the same tick;
where it has none yet, all of the channel's, as all other tracks do.

Shapes: E messages in order of time, N places among them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from helicon.formats.general_midi import (
    ALL_CHANNELS,
    BANK,
    CHANNELS,
    CONTROL,
    DRUM_CHANNEL,
    NOTE_ON,
    PART_MODE,
    PROGRAM_CHANGE,
)
from helicon.formats.score import DRUMS, Messages, ReadReport

XG_EFFECTS, XG_DRUMS, GM2_DRUMS, GM2_MELODY = 126, 127, 120, 121  # banks
DRUM_BANKS = (XG_EFFECTS, XG_DRUMS, GM2_DRUMS)


class Parts:
    """Lookups among messages, of which each belongs to a channel, and to a part where tracks share it.

    part: [E], below `parts`; the channel itself, below `channels`, where no track has it for its own. shared: whether
    there is such a track.
    """

    def __init__(self, messages: Messages, own: np.ndarray) -> None:
        """Parts of messages in order of time. own: from `own_tracks`."""
        self.messages, self.channel, self.part = messages, messages.channel, messages.channel
        self.channels = int(self.channel.max(initial=0)) + 1
        self.shared = len(own) > 0
        if self.shared:
            code = _code(messages, slice(None))
            found = np.minimum(np.searchsorted(own, code), len(own) - 1)
            self.part = np.where(own[found] == code, self.channels + found, self.channel)
        self.parts = self.channels + len(own)

    def last(self, which: np.ndarray, at: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Place of the last of some messages before each place, as heard by the part of a message; -1 for none.

        Args:
            which: places of the messages that are looked for, ascending.
            at: [N] places before which they are.
            of: [N] places of the messages whose parts hear them.
        """
        return self._heard(_last, which, at, of)

    def next(self, which: np.ndarray, at: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Place of the first after each place, as `last`; E for none."""
        return self._heard(_next, which, at, of)

    def _heard(self, find: Callable[..., np.ndarray], which: np.ndarray, at: np.ndarray, of: np.ndarray) -> np.ndarray:
        span, channel = len(self.channel) + 1, self.channel[of]
        if not self.shared:
            return find(self.channel[which], which, channel, at, span)
        part, of_which = self.part[of], self.part[which]
        is_own = of_which >= self.channels
        own, common = which[is_own], which[~is_own]
        found = find(of_which[is_own], own, part, at, span)
        if len(common):
            shared = find(self.channel[common], common, channel, at, span)
            if find is _last:
                tick = np.append(self.messages.tick, -1)  # -1 finds the last: no tick
                found = np.where(tick[shared] > tick[found], shared, found)
            else:
                found = np.minimum(found, shared)
        has_own = np.zeros(self.parts, bool)
        has_own[of_which[is_own]] = True
        rest = np.flatnonzero(~has_own[part] | (found < 0) | (found == span - 1))
        found[rest] = find(self.channel[which], which, channel[rest], at[rest], span)
        return found

    def programs(self, on: np.ndarray, report: ReadReport) -> np.ndarray:
        """[N]: program of each note at the places `on` where keys go down, or DRUMS."""
        messages = self.messages
        changes = np.flatnonzero(messages.kind == PROGRAM_CHANGE)
        last = self.last(changes, on, on)
        program = np.where(last >= 0, messages.number[last], 0)
        if self.shared:
            other = (self.part[last] >= self.channels) & (self.part[last] != self.part[on]) & (last >= 0)
            report.add("notes with a program of another track of their channel", int(np.count_nonzero(other)))
        return np.where(self._are_drums(changes, last, on), DRUMS, program)

    def _are_drums(self, changes: np.ndarray, last: np.ndarray, on: np.ndarray) -> np.ndarray:
        """bool [N]: by a system message of GS or XG, or the bank of the program, or else the channel."""
        messages = self.messages
        drums = self.channel[on] % CHANNELS == DRUM_CHANNEL
        banks, modes = np.flatnonzero(messages.kind == CONTROL), np.flatnonzero(messages.kind == PART_MODE)
        banks = banks[messages.number[banks] == BANK]
        if len(banks) and len(changes) and messages.value[banks].max() >= GM2_DRUMS:
            chosen = self.last(banks, changes, changes)
            bank = np.full(len(messages.kind) + 1, -1)  # of each program change; -1 for none, and for no program
            bank[changes] = np.where(chosen >= 0, messages.value[chosen].astype(np.int64), -1)
            drums = np.isin(bank[last], DRUM_BANKS) | (drums & (bank[last] != GM2_MELODY))
        if len(modes):
            mode = self.last(modes, on, on)
            drums = np.where(mode >= 0, messages.number[mode] > 0, drums)
        return drums


def own_tracks(messages: Messages) -> np.ndarray:
    """Codes, ascending, of track and channel where the track is a part; quick for messages in the order of the file."""
    changes = np.flatnonzero(messages.kind == PROGRAM_CHANGE)
    if not len(changes) or not messages.track.any():
        return np.zeros(0, np.int64)
    code = _code(messages, np.flatnonzero((messages.kind == NOTE_ON) & (messages.value > 0)))
    plays = np.unique(np.concatenate([code[:1], code[1:][code[1:] != code[:-1]]]))
    sets = np.unique(_code(messages, changes))
    own = np.intersect1d(plays, sets, assume_unique=True)
    users = np.bincount(np.union1d(plays, sets) % ALL_CHANNELS)
    return own[users[own % ALL_CHANNELS] > 1]


def _code(messages: Messages, which: np.ndarray | slice) -> np.ndarray:
    return messages.track[which] * ALL_CHANNELS + messages.channel[which]


def _last(group: np.ndarray, which: np.ndarray, wanted: np.ndarray, at: np.ndarray, span: int) -> np.ndarray:
    """Place of the last before each place of those of the same group; -1 for none. span: above all places."""
    code, base = np.sort(group * span + which), wanted * span
    return np.maximum(np.concatenate([[-1], code])[np.searchsorted(code, base + at)] - base, -1)


def _next(group: np.ndarray, which: np.ndarray, wanted: np.ndarray, at: np.ndarray, span: int) -> np.ndarray:
    """Place of the first after each place of those of the same group; `span - 1` for none."""
    code, base = np.sort(group * span + which), wanted * span
    after_all = np.iinfo(np.int64).max
    return np.minimum(np.concatenate([code, [after_all]])[np.searchsorted(code, base + at)] - base, span - 1)
