"""Parts: the scope of programs, pedals and keys when several tracks share a MIDI channel.

A channel is shared by the tracks that play there or set its program. A track that does both is a part of its own: its
notes take its own programs and pedals and those of tracks that are no parts, its own before theirs at the same tick;
where it has none yet, all of the channel's, as the notes of all other tracks do.

Shapes: E messages in order of time, N indices of messages.
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
from helicon.formats.read_report import ReadReport
from helicon.formats.score import DRUMS, Messages

XG_EFFECTS, XG_DRUMS, GM2_DRUMS, GM2_MELODY = 126, 127, 120, 121  # banks, of Yamaha's XG and of General MIDI 2
DRUM_BANKS = (XG_EFFECTS, XG_DRUMS, GM2_DRUMS)  # banks whose programs are drum kits


class Parts:
    """Lookups of the last or next message within a part, or within a channel that no part has for itself.

    Attributes:
        messages: the E `Messages` in order of time.
        channel: int [E], channel of each message.
        part: int [E], part of each message, below `parts`; the channel itself, below `channels`, where it has no part.
        shared: True if some track is a part of its own.
    """

    def __init__(self, messages: Messages, own_codes: np.ndarray) -> None:
        """Assign messages to parts.

        Args:
            messages: messages in order of time.
            own_codes: codes of tracks that are parts, from `own_tracks`.
        """
        self.messages, self.channel, self.part = messages, messages.channel, messages.channel
        self.channels = int(self.channel.max(initial=0)) + 1
        self.shared = len(own_codes) > 0
        if self.shared:
            code = _code(messages, slice(None))
            row = np.minimum(np.searchsorted(own_codes, code), len(own_codes) - 1)
            self.part = np.where(own_codes[row] == code, self.channels + row, self.channel)
        self.parts = self.channels + len(own_codes)

    def last(self, which: np.ndarray, at: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Find the last message before each index, among some messages and within a part.

        Args:
            which: int, indices of the messages to search, ascending.
            at: NumPy int [N], N indices before which to search.
            of: NumPy int [N], indices of messages; the search is within their parts.

        Returns:
            NumPy int [N], indices of messages; -1 for none.
        """
        return self._heard(_last, which, at, of)

    def next(self, which: np.ndarray, at: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Find the first message after each index, among some messages and within a part.

        Args:
            which: int, indices of the messages to search, ascending.
            at: NumPy int [N], N indices after which to search.
            of: NumPy int [N], indices of messages; the search is within their parts.

        Returns:
            NumPy int [N], indices of messages; E, their number, for none.
        """
        return self._heard(_next, which, at, of)

    def _heard(self, find: Callable[..., np.ndarray], which: np.ndarray, at: np.ndarray, of: np.ndarray) -> np.ndarray:
        span, channel = len(self.channel) + 1, self.channel[of]
        if not self.shared:
            return find(self.channel[which], which, channel, at, span)
        part, of_which = self.part[of], self.part[which]
        is_own = of_which >= self.channels
        own_which, common = which[is_own], which[~is_own]
        result = find(of_which[is_own], own_which, part, at, span)
        if len(common):
            shared = find(self.channel[common], common, channel, at, span)
            if find is _last:
                tick = np.append(self.messages.tick, -1)  # -1 finds the last: no tick
                result = np.where(tick[shared] > tick[result], shared, result)
            else:
                result = np.minimum(result, shared)
        has_own = np.zeros(self.parts, bool)
        has_own[of_which[is_own]] = True
        rest = np.flatnonzero(~has_own[part] | (result < 0) | (result == span - 1))
        result[rest] = find(self.channel[which], which, channel[rest], at[rest], span)
        return result

    def programs(self, on: np.ndarray, report: ReadReport) -> np.ndarray:
        """Look up the program of each note.

        Args:
            on: NumPy int [N], indices of the N messages where keys go down.
            report: `ReadReport` that counts notes that take the program of another track.

        Returns:
            NumPy int [N], General MIDI programs, 0-127, or DRUMS.
        """
        messages = self.messages
        changes = np.flatnonzero(messages.kind == PROGRAM_CHANGE)
        last = self.last(changes, on, on)
        program = np.where(last >= 0, messages.number[last], 0)
        if self.shared:
            other = (self.part[last] >= self.channels) & (self.part[last] != self.part[on]) & (last >= 0)
            report.add("notes with a program of another track of their channel", int(np.count_nonzero(other)))
        return np.where(self._are_drums(changes, last, on), DRUMS, program)

    def _are_drums(self, changes: np.ndarray, last: np.ndarray, on: np.ndarray) -> np.ndarray:
        """Return bool [N]: drums by a GS or XG system message, or the program's bank, or else the channel."""
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
    """Find the tracks that are parts; fastest for messages in file order.

    Args:
        messages: channel `Messages`.

    Returns:
        Codes of such tracks on a channel, int64, ascending: track * ALL_CHANNELS + channel.
    """
    changes = np.flatnonzero(messages.kind == PROGRAM_CHANGE)
    if not len(changes) or not messages.track.any():
        return np.zeros(0, np.int64)
    code = _code(messages, np.flatnonzero((messages.kind == NOTE_ON) & (messages.value > 0)))
    plays = np.unique(np.concatenate([code[:1], code[1:][code[1:] != code[:-1]]]))
    sets = np.unique(_code(messages, changes))
    codes = np.intersect1d(plays, sets, assume_unique=True)
    users = np.bincount(np.union1d(plays, sets) % ALL_CHANNELS)
    return codes[users[codes % ALL_CHANNELS] > 1]


def _code(messages: Messages, which: np.ndarray | slice) -> np.ndarray:
    return messages.track[which] * ALL_CHANNELS + messages.channel[which]


def _last(group: np.ndarray, which: np.ndarray, wanted: np.ndarray, at: np.ndarray, span: int) -> np.ndarray:
    """Return the index of the group's last message before each index, -1 for none; `span` exceeds all indices."""
    code, base = np.sort(group * span + which), wanted * span
    return np.maximum(np.concatenate([[-1], code])[np.searchsorted(code, base + at)] - base, -1)


def _next(group: np.ndarray, which: np.ndarray, wanted: np.ndarray, at: np.ndarray, span: int) -> np.ndarray:
    """Return the index of the group's first message after each index, `span - 1` for none."""
    code, base = np.sort(group * span + which), wanted * span
    after_all = np.iinfo(np.int64).max
    return np.minimum(np.concatenate([code, [after_all]])[np.searchsorted(code, base + at)] - base, span - 1)
