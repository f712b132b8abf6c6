"""Events of a scanned MIDI file as arrays.

Shapes: E events, T tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from helicon.formats.general_midi import CHANNELS, DRUM_CHANNEL, NOTE_OFF
from helicon.formats.midi_bytes import DATA_BYTES, META, NUMBER_BYTES, PORT, SYSEX, MidiScan
from helicon.formats.midi_metas import Metas, varints
from helicon.formats.midi_patterns import resets
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Messages, Text

UNKNOWN_VELOCITY = 64  # of a key-up, from keyboards that do not measure it
# By status byte: True for channel messages, and for those of two data bytes
_OF_CHANNEL = np.isin(np.arange(256) & 0xF0, list(DATA_BYTES))
_HAS_VALUE = np.isin(np.arange(256) & 0xF0, [status for status, size in DATA_BYTES.items() if size == 2])


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events of a file, in its order.

    Attributes:
        messages: channel `Messages`.
        ends: int64 [T], last tick of each of the T tracks.
        tempos: rows as of `Score`.
        metres: rows as of `Score`.
        keys: rows as of `Score`.
        texts: `Text`s: titles, lyrics, markers and other texts.
    """

    messages: Messages
    ends: np.ndarray
    tempos: np.ndarray
    metres: np.ndarray
    keys: np.ndarray
    texts: list[Text]

    def in_turn(self, first_tempo_us: int) -> Events:
        """Return the `Events` with the tracks one after another, each of which begins with a tempo and `resets`.

        Args:
            first_tempo_us: this tempo, in microseconds a quarter.
        """
        start = np.cumsum(self.ends) - self.ends
        later = self._with_ticks(lambda tick, track: tick + start[track])
        messages = Messages.joined([resets(later.messages, start), later.messages])
        messages = messages.take(np.lexsort((messages.place, messages.track)))
        begins = np.column_stack([start, np.arange(len(start)), np.full(len(start), first_tempo_us)])
        tempos = np.concatenate([begins, later.tempos])
        return replace(later, messages=messages, tempos=tempos[np.lexsort((tempos[:, 1], tempos[:, 0]))])

    def in_frames(self, tempo_us: int) -> Events:
        """Return the `Events` at one tempo, with ticks doubled, as SMPTE time needs.

        Args:
            tempo_us: this tempo, in microseconds a quarter.
        """
        twice = self._with_ticks(lambda tick, _: 2 * tick)
        return replace(twice, tempos=np.array([[0, 0, tempo_us]], np.int64))

    def _with_ticks(self, moved: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Events:
        """Return the events with ticks mapped by `moved(ticks, tracks)`."""
        tables = {"tempos": self.tempos, "metres": self.metres, "keys": self.keys}
        rows = {
            name: np.column_stack([moved(table[:, 0], table[:, 1]), table[:, 1:]]) for name, table in tables.items()
        }
        at = np.array([(text.tick, text.track) for text in self.texts], np.int64).reshape(-1, 2)
        return replace(
            self,
            messages=replace(self.messages, tick=moved(self.messages.tick, self.messages.track)),
            ends=moved(self.ends, np.arange(len(self.ends))),
            texts=[text._replace(tick=tick) for text, tick in zip(self.texts, moved(*at.T).tolist())],
            **rows,
        )


def read_events(scan: MidiScan, report: ReadReport) -> Events:
    """Decode all events of a scan.

    Args:
        scan: `MidiScan` with the offsets of the events.
        report: `ReadReport` that counts dropped events and data bytes above 127, which are read as 127.

    Returns:
        The `Events`, in the order of the file.
    """
    data = scan.data
    delta, at = varints(data, scan.events)
    n_long = np.count_nonzero(at - scan.events > NUMBER_BYTES)
    report.add(f"times of more than {NUMBER_BYTES} bytes (the last 28 bits read)", int(n_long))
    first = np.searchsorted(scan.events, [*scan.tracks, len(data)])  # event of each track, and of the file's end
    elapsed = np.concatenate([[0], np.cumsum(delta)])
    track = np.repeat(np.arange(len(scan.tracks)), np.diff(first))
    tick = elapsed[1:] - elapsed[first[track]]

    status, at = _statuses(data, at)
    place = np.flatnonzero(status == META)
    length, content = varints(data, at[place] + 1)
    metas = Metas(
        data=data,
        place=place,
        kind=data[at[place]],
        content=content,
        length=length,
        tick=tick[place],
        track=track[place],
    )
    metas.count_unread(report)
    port = _ports(first[:-1], metas, len(at))
    return Events(
        messages=_messages(data, status, at, port, (tick, track), report),
        ends=elapsed[first[1:]] - elapsed[first[:-1]],
        tempos=metas.tempos(report),
        metres=metas.metres(report),
        keys=metas.keys(report),
        texts=metas.texts(report),
    )


def _messages(
    data: np.ndarray,
    status: np.ndarray,
    at: np.ndarray,
    port: np.ndarray,
    when: tuple[np.ndarray, np.ndarray],
    report: ReadReport,
) -> Messages:
    """Decode channel messages in the order of the file; `when` holds tick and track of each event."""
    kept = _OF_CHANNEL[status]
    channel, number = status % CHANNELS, data[at]
    systems = np.flatnonzero(status == SYSEX)
    if len(systems):
        which, part, is_drums = _part_modes(data, at[systems])
        modes = systems[which]
        kept[modes], channel[modes], number[modes] = True, part, is_drums
    report.add("system messages dropped", int(np.count_nonzero(~kept & (status != META))))
    kept = np.flatnonzero(kept)
    tick, track = when
    status, at, number = status[kept], at[kept], number[kept]
    value = np.where(_HAS_VALUE[status], data[at + 1], 0)
    if max(number.max(initial=0), value.max(initial=0)) > 127:
        report.add("data bytes clipped", sum(int(np.count_nonzero(x > 127)) for x in (number, value)))
        number, value = np.minimum(number, 127), np.minimum(value, 127)
    kind = status >> 4
    says_nothing = (value == 0) | (value == UNKNOWN_VELOCITY)
    report.add("key-up velocities dropped", int(np.count_nonzero((kind == NOTE_OFF) & ~says_nothing)))
    return Messages(
        tick=tick[kept],
        track=track[kept],
        channel=port[kept] * CHANNELS + channel[kept],
        kind=kind,
        number=number,
        value=value,
        place=kept,
    )


def _part_modes(data: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Select GS and XG messages that switch a channel to drums or melody: indices, channels, True for drums.

    `at` holds the offsets of the messages' lengths. GS: 41 device 42 12 40 1b 15 mode, of block b. XG: 43 1n 4C 08 part
    07 mode. Mode 0 is melody.
    """
    length, content = varints(data, at)
    byte = data[content[:, None] + np.arange(8)]
    gs = (byte[:, [0, 2, 3, 4, 6]] == (0x41, 0x42, 0x12, 0x40, 0x15)).all(1) & (byte[:, 5] >> 4 == 1) & (length >= 8)
    xg = (byte[:, [0, 2, 3, 5]] == (0x43, 0x4C, 0x08, 0x07)).all(1) & (byte[:, 4] < CHANNELS) & (length >= 7)
    block = byte[:, 5] % CHANNELS
    of_block = np.where(block == 0, DRUM_CHANNEL, np.where(block <= DRUM_CHANNEL, block - 1, block))
    part = np.where(gs, of_block, byte[:, 4])
    which = np.flatnonzero(gs | xg)
    return which, part[which], np.where(gs, byte[:, 7], byte[:, 6])[which] > 0


def _statuses(data: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return status bytes of events, whose deltas end at these offsets, and the offsets after the status bytes.

    An event without a status byte takes the running status: that of the last channel event before it.
    """
    status = data[at]
    has_status = status >= 0x80
    of_channel = np.where(has_status & (status < SYSEX), np.arange(len(at)), 0)
    return np.where(has_status, status, status[np.maximum.accumulate(of_channel)]), at + has_status


def _ports(tracks: np.ndarray, metas: Metas, count: int) -> np.ndarray:
    """Return the port of each event, [count]: 0 from the start of a track (indices `tracks`), then as metas select."""
    which, numbers = metas.numbers(PORT, 1)
    if not len(which):
        return np.zeros(count, np.int64)
    begins = np.concatenate([tracks, metas.place[which]])
    order = np.argsort(begins, kind="stable")
    lengths = np.diff(begins[order], append=count)
    return np.repeat(np.concatenate([np.zeros_like(tracks), numbers[:, 0]])[order], lengths)
