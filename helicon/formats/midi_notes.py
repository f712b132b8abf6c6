"""Notes of MIDI messages: key down and up paired, programs and pedals applied.

Shapes: E messages, N notes, T tracks.
"""

from __future__ import annotations

import numpy as np

from helicon.formats.general_midi import BANK, CONTROL, NOTE_OFF, NOTE_ON, PART_MODE, PROGRAM_CHANGE, RESET, SUSTAIN
from helicon.formats.midi_parts import Parts, own_tracks
from helicon.formats.read_report import ReadReport
from helicon.formats.score import DRUMS, Messages, Notes, narrow

PEDAL_DOWN = 64  # the value from which on the pedal is down
PITCHES = 128  # of MIDI
# Quarters that a note sounds whose key never goes up, at most, and that anything sounds after the last message: four
# bars. An end of track may be an hour later; players that do not count on it drop such notes
LONGEST_HANGING = 16
_NEVER = np.iinfo(np.int64).max  # tick of what never comes
_RANK = np.full(16, 2, np.uint8)  # at one tick, by kind
_RANK[[PART_MODE, PROGRAM_CHANGE]] = 0, 1
# True for messages that affect notes: by kind, and by number of a control
_MATTERS = np.isin(np.arange(16), [NOTE_OFF, NOTE_ON, PROGRAM_CHANGE, PART_MODE])
_CONTROL_MATTERS = np.isin(np.arange(128), [SUSTAIN, RESET, BANK])


def play(messages: Messages, ends: np.ndarray, extend: bool, report: ReadReport, ticks_per_quarter: int) -> Notes:
    """Pair the key messages of a file into notes.

    Key up ends the oldest note of its part and pitch. With `extend` a pedal that is down holds that note until the
    pedal goes up or the pitch is struck again with the same program. A note that nothing ends lasts to the end of the
    track where its key went down, but at most LONGEST_HANGING quarters; one that a pedal holds, at most that long after
    the last message.

    Args:
        messages: channel `Messages` in the order of the file.
        ends: NumPy int64 [T], last tick of each of the T tracks.
        extend: True if pedals hold notes.
        report: `ReadReport` that counts repairs and ambiguities.
        ticks_per_quarter: ticks of a quarter note.

    Returns:
        The `Notes`, sorted by onset, program and pitch.
    """
    track_parts, longest = own_tracks(messages), LONGEST_HANGING * ticks_per_quarter
    ends = np.minimum(ends, messages.tick.max(initial=0) + longest)
    messages = in_time(messages)
    parts, never = Parts(messages, track_parts), len(messages.tick)
    on, off = _pairs(messages, parts, report)
    program = parts.programs(on, report)
    end = _held(messages, parts, on, off, program) if extend else off

    onset_tick, pitch = messages.tick[on], messages.number[on].astype(np.int64)
    order = np.argsort((onset_tick * (DRUMS + 1) + program) * PITCHES + pitch, kind="stable")
    on, off, end = on[order], off[order], end[order]
    tick, place = (np.concatenate([x, [_NEVER]]) for x in (messages.tick, messages.place))
    track, off_tick, end_tick = messages.track[on], tick[off], tick[end]
    off_track = np.append(messages.track, -1)[off]
    hangs, rings = np.flatnonzero(off == never), np.flatnonzero(end == never)
    report.add("hanging notes", len(hangs))
    off_tick[hangs] = np.minimum(ends[track[hangs]], onset_tick[order][hangs] + longest)
    off_track[hangs] = track[hangs]
    end_tick[rings] = np.maximum(ends[track[rings]], off_tick[rings])
    end_tick[hangs] = off_tick[hangs]
    return Notes(
        onset_tick=onset_tick[order],
        off_tick=off_tick,
        end_tick=end_tick,
        pitch=pitch[order].astype(np.int16),
        velocity=messages.value[on].astype(np.int16),
        program=program[order].astype(np.int16),
        track=track,
        off_track=off_track,
        channel=messages.channel[on],
        on_place=messages.place[on],
        off_place=place[off],
    )


def in_time(messages: Messages) -> Messages:
    """Return those of `Messages` that affect notes, by time; at one tick system messages, then banks, then programs."""
    matters, rank = _MATTERS[messages.kind], _RANK[messages.kind]
    controls = np.flatnonzero(messages.kind == CONTROL)
    number = messages.number[controls]
    matters[controls] = _CONTROL_MATTERS[number]
    rank[controls[number == BANK]] = 0
    order = np.argsort(messages.tick * 3 + rank, kind="stable")
    return messages.take(order if matters.all() else order[matters[order]])


def _pairs(messages: Messages, parts: Parts, report: ReadReport) -> tuple[np.ndarray, np.ndarray]:
    """Return indices [N] of the messages where keys go down and up, E for never; those of a key in order of time.

    Where tracks share a channel, a key up without a note in its own part may end an open note of another part.
    """
    at = np.flatnonzero(messages.kind <= NOTE_ON)
    on, off, stray = _first_in_first_out(messages, at, parts.part)
    if parts.shared and len(stray):
        hangs = off == len(messages.tick)
        rest = np.sort(np.concatenate([on[hangs], stray]))
        late_on, late_off, stray = _first_in_first_out(messages, rest, parts.channel)
        on, off = np.concatenate([on[~hangs], late_on]), np.concatenate([off[~hangs], late_off])
        ended = int(np.count_nonzero(late_off < len(messages.tick)))
        report.add("notes ended by another track of their channel", ended)
    if parts.shared:
        order = np.argsort(on)
        on, off = on[order], off[order]
    report.add("note offs without a note", len(stray))
    return on, off


def _first_in_first_out(
    messages: Messages, at: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair keys down with keys up, first in, first out: indices of downs, of ups (E for none), of stray ups."""
    key = part[at] * PITCHES + messages.number[at]
    order = np.argsort(narrow(key), kind="stable")
    at, key = at[order], key[order]
    is_on = (messages.kind[at] == NOTE_ON) & (messages.value[at] > 0)
    new = np.ones(len(at), bool)
    new[1:] = key[1:] != key[:-1]
    begins, group = np.flatnonzero(new), np.cumsum(new) - 1  # of each key

    # Ons less offs of a key, and the lowest that was so far: an off of a silent key makes a new low
    change = np.where(is_on, 1, -1)
    balance = np.cumsum(change)
    balance -= (balance - change)[begins][group]
    offset = group * (len(at) + 1)  # makes the lows of one key all below those of the one before
    low = np.minimum.accumulate(np.minimum(balance, 0) - offset) + offset
    sounding = np.zeros(len(at), np.int64)
    sounding[1:] = (balance - low)[:-1]
    sounding[begins] = 0
    used = is_on | (sounding > 0)
    stray = at[~used]
    if len(stray):
        at, group, is_on = at[used], group[used], is_on[used]

    # The n-th off of a key belongs to its n-th on
    ons, offs = np.flatnonzero(is_on), np.flatnonzero(~is_on)
    more = np.bincount(group[ons], minlength=len(begins)) - np.bincount(group[offs], minlength=len(begins))
    skipped = np.cumsum(more) - more  # ons of lower keys that have no off
    off = np.full(len(ons), len(messages.tick))
    off[np.arange(len(offs)) + skipped[group[offs]]] = at[offs]
    return at[ons], off, stray


def _held(messages: Messages, parts: Parts, on: np.ndarray, off: np.ndarray, program: np.ndarray) -> np.ndarray:
    """Return indices [N] of the messages that end notes under a pedal, E for none."""
    never = len(messages.tick)
    pedal = np.flatnonzero((messages.kind == CONTROL) & (messages.number != BANK))
    # the other control, the reset of all controllers, lifts it
    down = (messages.number[pedal] == SUSTAIN) & (messages.value[pedal] >= PEDAL_DOWN)
    if not down.any():
        return off
    is_down = np.zeros(never + 1, bool)
    is_down[pedal[down]] = True

    strike = (parts.channel[on] * PITCHES + messages.number[on]) * (DRUMS + 1) + program
    order = np.argsort(strike, kind="stable")
    same = strike[order[1:]] == strike[order[:-1]]
    again = np.full(len(on), never)
    again[order[:-1][same]] = on[order[1:][same]]
    # a note struck again before its own key up is not held
    held = (off < again) & is_down[parts.last(pedal, off, on)]
    return np.where(held, np.minimum(again, parts.next(pedal[~down], off, on)), off)
