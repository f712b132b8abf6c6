"""Reading MIDI: each case is a small file in hex, with what a musician would read there beside it.

In all of them a quarter has 480 ticks (83 60 = 480, 81 70 = 240, 87 40 = 960) and lasts half a second unless a tempo
says otherwise; 3C is middle C, 40 a velocity of 64.
"""

import gzip
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import mido
import numpy as np
import pytest

from helicon.formats.midi import read_midi, read_midi_bytes
from helicon.formats.midi_bytes import MAX_BYTES, MidiError
from helicon.formats.read_report import ReadReport
from helicon.formats.score import DRUMS, Score

END = "00 FF 2F 00 | end of track"
C_FOR_A_QUARTER = "00 90 3C 40 | C on\n83 60 80 3C 40 | C off"


def events(*lines: str) -> bytes:
    """Bytes of hex lines; what follows a | is for people."""
    return b"".join(bytes.fromhex(line.split("|")[0]) for text in lines for line in text.splitlines())


def track(*lines: str, length: int | None = None) -> bytes:
    """A track chunk; length: what the chunk claims, the truth by default."""
    body = events(*lines)
    return b"MTrk" + struct.pack(">L", len(body) if length is None else length) + body


def midi(*tracks: bytes, kind: int = 1, ntrks: int | None = None, division: int = 480) -> bytes:
    """A file; ntrks: the number of tracks it claims, the truth by default."""
    return b"MThd" + struct.pack(">LHHH", 6, kind, len(tracks) if ntrks is None else ntrks, division) + b"".join(tracks)


def notes(score: Score) -> list[tuple[float, float, int, int, int]]:
    """(onset_s, end_s, pitch, velocity, program) of each note, times rounded to a microsecond."""
    columns = (np.round(score.onset_s, 6), np.round(score.end_s, 6), score.pitch, score.velocity, score.program)
    return list(zip(*(column.tolist() for column in columns)))


def read(*tracks: bytes, pedal: str = "extend", **header: int) -> tuple[list[tuple], ReadReport]:
    score, report = read_midi_bytes(midi(*tracks, **header), pedal)  # type: ignore[arg-type]
    return notes(score), report


C = (0.0, 0.5, 60, 64, 0)
E = (0.0, 0.5, 64, 64, 0)


def test_one_note() -> None:
    score, report = read_midi_bytes(midi(track(C_FOR_A_QUARTER, END)))
    assert notes(score) == [C]
    assert (score.tempo_bpm, score.label, report.counts, report.text) == (120.0, None, {}, "")


def test_running_status_and_velocity_0_is_note_off() -> None:
    assert read(track("00 90 3C 40 | C on", "83 60 3C 00 | C again with velocity 0", END))[0] == [C]


def test_type_0_with_two_tracks_is_merged() -> None:
    two = (track(C_FOR_A_QUARTER, END), track("00 90 40 40 | E on", "83 60 80 40 40 | E off", END))
    assert read(*two, kind=0)[0] == [C, E]


def test_type_2_is_concatenated() -> None:
    fast = track("00 FF 51 03 03 D0 90 | tempo: 250,000 us a quarter", C_FOR_A_QUARTER, "83 60 FF 2F 00 | end")
    found, report = read(fast, track(C_FOR_A_QUARTER, END), kind=2)
    assert found == [(0.0, 0.25, 60, 64, 0), (0.5, 1.0, 60, 64, 0)]  # the second has no tempo of its own: 120
    assert report.counts == {"patterns of a type 2 file joined": 2}


def test_type_2_tempo_is_the_mean_over_the_patterns() -> None:
    fast = track("00 FF 51 03 03 D0 90 | tempo: 240 quarters a minute", C_FOR_A_QUARTER, END)
    assert read_midi_bytes(midi(fast, track(C_FOR_A_QUARTER, END), kind=2))[0].tempo_bpm == pytest.approx(160.0)


def test_unknown_type_is_read_as_type_1() -> None:
    found, report = read(track(C_FOR_A_QUARTER, END), kind=3)
    assert (found, report.counts) == ([C], {"unknown file types read as type 1": 1})


@pytest.mark.parametrize(("frames", "fps"), [(24, 24), (25, 25), (29, 30000 / 1001), (30, 30)])
def test_smpte_division_counts_frames(frames: int, fps: float) -> None:
    tempo = "00 FF 51 03 03 D0 90 | a tempo, which means nothing here"
    score, _ = read_midi_bytes(midi(track(tempo, C_FOR_A_QUARTER, END), division=(256 - frames) << 8 | 40))
    assert score.end_s == pytest.approx([480 / (fps * 40)])
    assert score.tempo_bpm == pytest.approx(120.0 * (1000 / 1001 if frames == 29 else 1))


@pytest.mark.parametrize("division", [0, 0xE800, 0x8001])
def test_impossible_division_is_refused(division: int) -> None:
    with pytest.raises(MidiError, match="division"):
        read(track(C_FOR_A_QUARTER, END), division=division)


def test_overlapping_with_two_offs_is_first_in_first_out() -> None:
    body = "00 90 3C 40 | C on\n83 60 90 3C 50 | C on, louder\n83 60 80 3C 00 | off\n83 60 80 3C 00 | off"
    assert read(track(body, END))[0] == [(0.0, 1.0, 60, 64, 0), (0.5, 1.5, 60, 80, 0)]


def test_overlapping_with_one_off_closes_the_rest_at_the_end_of_track() -> None:
    body = "00 90 3C 40 | C on\n83 60 90 3C 50 | C on, louder\n83 60 80 3C 00 | off\n83 60 FF 2F 00 | end"
    found, report = read(track(body))
    assert found == [(0.0, 1.0, 60, 64, 0), (0.5, 1.5, 60, 80, 0)]
    assert report.counts == {"hanging notes": 1}


def test_hanging_note_is_closed_at_the_end_of_its_track() -> None:
    long_track = track("87 40 FF 2F 00 | end after two quarters")
    found, report = read(track("00 90 3C 40 | C on, never off", "83 60 FF 2F 00 | end after one"), long_track)
    assert (found, report.counts) == ([C], {"hanging notes": 1})


def test_off_without_a_note_is_counted() -> None:
    assert read(track(C_FOR_A_QUARTER, "00 80 3C 00", END))[1].counts == {"note offs without a note": 1}


def test_zero_length_gets_10_ms() -> None:
    found, report = read(track("00 90 3C 40 | C on", "00 80 3C 40 | C off at once", END))
    assert (found, report.counts) == ([(0.0, 0.01, 60, 64, 0)], {"notes of no length": 1})


def test_off_in_a_later_track_ends_the_older_note_at_the_same_tick() -> None:
    new = track("83 60 90 3C 50 | C on", "83 60 80 3C 00 | C off", END)
    old = track(C_FOR_A_QUARTER, END)
    assert read(new, old)[0] == read(old, new)[0] == [C, (0.5, 1.0, 60, 80, 0)]


def test_tempos_of_all_tracks_make_one_map() -> None:
    body = "00 90 3C 40 | C on\n87 40 80 3C 40 | C off after two quarters"
    tempo = track("83 60 FF 51 03 0F 42 40 | after a quarter: 1,000,000 us a quarter", END)
    score, _ = read_midi_bytes(midi(track(body, END), tempo))
    assert score.end_s == pytest.approx([0.5 + 1.0])
    assert score.tempo_bpm == pytest.approx(80.0)  # two quarters in 1.5 s


def test_last_tempo_at_a_tick_holds() -> None:
    tempos = "00 FF 51 03 0F 42 40 | 1,000,000 us\n00 FF 51 03 03 D0 90 | 250,000 us"
    assert read(track(tempos, C_FOR_A_QUARTER, END))[0] == [(0.0, 0.25, 60, 64, 0)]


def test_tempo_0_is_ignored() -> None:
    found, report = read(track("00 FF 51 03 00 00 00 | tempo 0", C_FOR_A_QUARTER, END))
    assert (found, report.counts) == ([C], {"tempos of 0 ignored": 1})


def test_program_on_another_track_counts_from_its_tick_on() -> None:
    body = "00 90 3C 40 | C on\n83 60 80 3C 40 | off\n00 90 3C 40 | C on\n83 60 80 3C 40 | off"
    programs = track("00 C0 28 | violin\n83 60 C0 49 | after a quarter: flute", END)
    truth = [(0.0, 0.5, 60, 64, 40), (0.5, 1.0, 60, 64, 73)]
    assert read(track(body, END), programs)[0] == read(programs, track(body, END))[0] == truth


def test_program_is_that_of_the_onset() -> None:
    body = "00 C0 28 | violin\n00 90 3C 40 | C on\n81 70 C0 49 | flute, while C sounds\n81 70 80 3C 40 | C off"
    assert read(track(body, END))[0] == [(0.0, 0.5, 60, 64, 40)]


def test_ports_have_channels_of_their_own() -> None:
    first = track("00 C0 28 | violin on channel 1", C_FOR_A_QUARTER, END)
    second = track("00 FF 21 01 01 | port 1", "00 C0 49 | flute on channel 1", C_FOR_A_QUARTER, END)
    assert read(first, second)[0] == [(0.0, 0.5, 60, 64, 40), (0.0, 0.5, 60, 64, 73)]


def test_channel_10_is_drums_whatever_its_program() -> None:
    drum = "00 C9 28 | violin?\n00 99 24 40 | bass drum\n83 60 89 24 40 | off"
    assert read(track(drum, END))[0] == [(0.0, 0.5, 36, 64, DRUMS)]


def test_tracks_on_one_channel_keep_their_programs_and_keys() -> None:
    violin = track("00 C0 28 | violin", "00 90 3C 40 | C on", "8F 00 80 3C 40 | C off after four quarters", END)
    piano = track("00 C0 00 | piano", "83 60 90 3C 40 | C on after one", "83 60 80 3C 40 | C off", END)
    found, report = read(violin, piano)
    assert (found, report.counts) == ([(0.0, 2.0, 60, 64, 40), (0.5, 1.0, 60, 64, 0)], {})


def test_22_instruments_on_15_channels() -> None:
    channels = [*range(9), *range(10, 16), *range(7)]
    bodies = [
        f"00 C{channel:X} {5 * i:02X}\n00 9{channel:X} 3C 40\n83 60 8{channel:X} 3C 40"
        for i, channel in enumerate(channels)
    ]
    found, report = read(*(track(body, END) for body in bodies))
    assert ([note[4] for note in found], report.counts) == ([5 * i for i in range(22)], {})


def test_what_a_track_does_not_say_another_says_for_it() -> None:
    silent = track("00 90 3C 40 | C on, no program", "83 60 80 3C 40 | off", END)
    violin = track("00 C0 28 | violin", "00 90 40 40 | E on, never off here", "87 40 FF 2F 00 | end, late")
    off = track("83 60 80 40 40 | E off", END)
    found, report = read(violin, silent, off)
    assert found == [(0.0, 0.5, 60, 64, 40), (0.0, 0.5, 64, 64, 40)]
    assert report.counts == {
        "notes with a program of another track of their channel": 1,
        "notes ended by another track of their channel": 1,
    }


@pytest.mark.parametrize("silent_first", [True, False])
@pytest.mark.parametrize(
    ("own", "elsewhere", "programs"),
    [
        ("00 C0 28 | violin", "00 C0 00 | piano, at once", [40, 40]),
        ("00 C0 28 | violin", "60 C0 00 | piano, later", [40, 0]),
        ("", "00 C0 28 | violin, which the playing track does not set", [40, 40]),
        ("00 B0 00 00\n00 C0 28 | violin of bank 0", "00 B0 00 7F\n00 C0 00 | drums of bank 127", [40, 40]),
    ],
)
def test_a_track_that_plays_nothing_sets_programs_but_not_at_once_with_the_one_that_plays(
    own: str, elsewhere: str, programs: list[int], silent_first: bool
) -> None:
    twice = "00 90 3C 40 | C\n83 60 80 3C 40\n00 90 3C 40 | C again\n83 60 80 3C 40"
    tracks = [track(own, twice, END), track(elsewhere, END)]
    found, report = read(*(reversed(tracks) if silent_first else tracks))
    assert ([note[4] for note in found], report.counts) == (programs, {})


@pytest.mark.parametrize(("pedal_of_piano", "end_s"), [("", 1.0), ("00 B0 40 00 | its own pedal, up", 0.5)])
def test_a_pedal_is_the_channels_unless_the_track_has_its_own(pedal_of_piano: str, end_s: float) -> None:
    violin = track("00 C0 28", "00 B0 40 7F | down", "00 90 40 40", "83 60 80 40 40", "83 60 B0 40 00 | up", END)
    piano = track("00 C0 00", pedal_of_piano, C_FOR_A_QUARTER, END)
    assert read(violin, piano)[0] == [(0.0, end_s, 60, 64, 0), (0.0, 1.0, 64, 64, 40)]


@pytest.mark.parametrize(
    ("opening", "channel", "program"),
    [
        ("00 BA 00 7F | bank 127: XG's drums\n00 CA 00", 0xA, DRUMS),
        ("00 BA 00 7E | bank 126: XG's effects\n00 CA 00", 0xA, DRUMS),
        ("00 BA 00 78 | bank 120: GM2's drums\n00 CA 00", 0xA, DRUMS),
        ("00 CA 00\n00 BA 00 78 | whichever comes first in a tick", 0xA, DRUMS),
        ("00 BA 00 7F | a bank without a program changes nothing", 0xA, 0),
        ("00 BA 00 08 | bank 8: a variation\n00 CA 05", 0xA, 5),
        ("00 B9 00 79 | bank 121: GM2's melody on channel 10\n00 C9 28", 0x9, 40),
        ("00 B9 00 00 | bank 0\n00 C9 28", 0x9, DRUMS),
        ("00 F0 0A 41 10 42 12 40 1A 15 02 0F F7 | GS: block A, channel 11, is drums", 0xA, DRUMS),
        ("00 F0 0A 41 10 42 12 40 1A 15 02 0F F7 | GS: channel 11, not 12", 0xB, 0),
        ("00 F0 0A 41 10 42 12 40 11 15 01 19 F7 | GS: block 1, channel 1", 0x0, DRUMS),
        ("00 F0 0A 41 10 42 12 40 10 15 00 1B F7 | GS: block 0, channel 10, is a melody\n00 C9 28", 0x9, 40),
        ("00 F0 08 43 10 4C 08 0A 07 02 F7 | XG: part 11 is drums", 0xA, DRUMS),
        ("00 F0 08 43 10 4C 08 09 07 00 F7 | XG: part 10 is a melody\n00 C9 28", 0x9, 40),
        ("00 F0 08 43 10 4C 08 0A 08 02 F7 | XG: something else", 0xA, 0),
    ],
)
def test_drums_by_bank_and_system_message(opening: str, channel: int, program: int) -> None:
    found, report = read(track(opening, f"00 9{channel:X} 24 40", f"83 60 8{channel:X} 24 40", END))
    assert found == [(0.0, 0.5, 36, 64, program)]
    assert report.counts == ({"system messages dropped": 1} if "something else" in opening else {})


PEDALLED = "00 B0 40 7F | pedal down\n00 90 3C 40 | C on\n83 60 80 3C 40 | C off after a quarter"


@pytest.mark.parametrize(
    ("after", "end_s"),
    [
        ("83 60 B0 40 00 | pedal up\n83 60 FF 2F 00", 1.0),
        ("83 60 B0 79 00 | all controllers reset\n83 60 FF 2F 00", 1.0),
        ("83 60 B0 40 40 | still down at 64\n83 60 FF 2F 00", 1.5),
        ("83 60 B0 40 3F | up at 63\n83 60 FF 2F 00", 1.0),
        ("83 60 B1 40 00 | another channel's pedal\n83 60 FF 2F 00", 1.5),
        ("87 40 FF 2F 00 | end of track", 1.5),
    ],
)
def test_pedal_extends(after: str, end_s: float) -> None:
    found, report = read(track(PEDALLED, after))
    assert (found, report.counts) == ([(0.0, end_s, 60, 64, 0)], {})
    assert read(track(PEDALLED, after), pedal="drop")[0] == [C]


def test_pedal_holds_until_the_pitch_is_struck_again() -> None:
    again = "83 60 90 3C 50 | C on again\n83 60 80 3C 00 | off\n83 60 B0 40 00 | pedal up"
    assert read(track(PEDALLED, again, END))[0] == [(0.0, 1.0, 60, 64, 0), (1.0, 2.0, 60, 80, 0)]


def test_another_program_does_not_end_what_the_pedal_holds() -> None:
    again = "83 60 C0 28 | violin\n00 90 3C 50 | C on\n83 60 80 3C 00 | off\n83 60 B0 40 00 | pedal up"
    assert read(track(PEDALLED, again, END))[0] == [(0.0, 2.0, 60, 64, 0), (1.0, 2.0, 60, 80, 40)]


def test_off_after_the_next_strike_does_not_ring_on() -> None:
    body = "00 B0 40 7F | pedal down\n00 90 3C 40\n83 60 90 3C 50 | struck again\n00 80 3C 00 | the first one's off"
    after = "83 60 80 3C 00 | off\n83 60 B0 40 00 | pedal up"
    assert read(track(body, after, END))[0] == [C, (0.5, 1.5, 60, 80, 0)]


def test_pedal_option_is_checked() -> None:
    with pytest.raises(ValueError, match="'extend' or 'drop'"):
        read(track(END), pedal="hold")


GOOD = midi(track(C_FOR_A_QUARTER, END))
XMF = b"XFIH" + struct.pack(">L", 3) + b"abc"  # Yamaha's


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (b"RIFF" + struct.pack("<L", len(GOOD) + 12) + b"RMIDdata" + struct.pack("<L", len(GOOD)) + GOOD, 1),
        (b"mail header\r\n\r\n" + GOOD, 1),
        (GOOD[:14] + XMF + GOOD[14:], 1),
        (GOOD + XMF, 1),
        (GOOD + b"\0\0\0", 0),
        (GOOD[:14] + b"XFIH\xff\xff\xff\xff" + GOOD[14:], 1),
    ],
    ids=["RIFF", "junk", "alien chunk", "alien chunk at the end", "padding", "alien chunk of 4 GiB"],
)
def test_what_is_not_midi_is_skipped(data: bytes, counts: int) -> None:
    score, report = read_midi_bytes(data)
    assert notes(score) == [C]
    assert len(report.counts) == counts


@pytest.mark.parametrize("name", ["a.mid.gz", "a.midi.gz", "a.mid", "a.smf"])
def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(GOOD))
    score, report = read_midi(tmp_path / name)
    assert (notes(score), report.counts) == ([C], {})


def test_gzip_that_is_cut_off_or_broken_or_a_bomb(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.mid.gz", gzip.compress(GOOD + bytes(range(256)) * 9)
    path.write_bytes(whole[:-20])
    score, report = read_midi(path)
    assert notes(score) == [C]
    assert report.counts["gzip files cut off (read up to there)"] == 1
    path.write_bytes(whole[:2] + b"?" + whole[3:])
    with pytest.raises(MidiError, match=r"a broken gzip file: .*unknown compression method"):
        read_midi(path)
    path.write_bytes(gzip.compress(GOOD + bytes(40 * MAX_BYTES), 9))
    tracemalloc.start()
    with pytest.raises(MidiError, match="more than"):
        read_midi(path)
    assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 5, 7, 1000, 0xFFFFFFFF])
def test_header_length_is_not_believed(size: int) -> None:
    assert notes(read_midi_bytes(GOOD[:4] + struct.pack(">L", size) + GOOD[8:])[0]) == [C]


@pytest.mark.parametrize("ntrks", [0, 2, 32768, 65535])
def test_wrong_number_of_tracks(ntrks: int) -> None:
    found, report = read(track(C_FOR_A_QUARTER, END), ntrks=ntrks)
    assert (found, report.counts) == ([C], {"wrong numbers of tracks": 1})


@pytest.mark.parametrize("length", [0, 4, 200, 0xFFFFFFFF])
def test_wrong_track_length(length: int) -> None:
    second = track("00 90 40 40 | E on", "83 60 80 40 40 | E off", END)
    found, report = read(track(C_FOR_A_QUARTER, END, length=length), second)
    assert (found, report.counts) == ([C, E], {"wrong track lengths": 1})


def test_length_of_one_track_that_holds_all_others() -> None:
    second = track("00 90 40 40 | E on", "83 60 80 40 40 | E off", END)
    first = track(C_FOR_A_QUARTER, END)
    assert read(track(C_FOR_A_QUARTER, END, length=len(first) - 8 + len(second)), second)[0] == [C, E]


@pytest.mark.parametrize("cut", [4, 5, 7, 8])
def test_truncated_track_keeps_what_is_there(cut: int) -> None:
    found, report = read(track(C_FOR_A_QUARTER, END)[:-cut])  # without its end, or from C's off on
    assert [note[:1] + note[2:] for note in found] == [(0.0, 60, 64, 0)]
    assert sum(report.counts[fault] for fault in report.counts if fault.startswith("tracks")) == 1


def test_one_bad_track_does_not_cost_the_others() -> None:
    bad = track("00 90 40 40 | E on", "83 60 80 40 40 | E off", "00 F4 | no such status", C_FOR_A_QUARTER, END)
    found, report = read(bad, track(C_FOR_A_QUARTER, END))
    assert (found, report.counts) == ([C, E], {"tracks broken off at an undefined status": 1})


def test_data_before_any_status() -> None:
    assert read(track("00 3C 40", END), track(C_FOR_A_QUARTER, END))[0] == [C]


def test_nothing_sounds_after_the_end_of_track() -> None:
    found, report = read(track(C_FOR_A_QUARTER, END, "00 90 40 40 | E on", "83 60 80 40 40 | E off"))
    assert (found, report.counts) == ([C], {"tracks that go on after their end": 1})


def test_data_bytes_are_clipped() -> None:
    found, report = read(track("00 90 3C FF | C on with velocity 255", "83 60 80 3C 40 | C off", END))
    assert (found, report.counts) == ([(0.0, 0.5, 60, 127, 0)], {"data bytes clipped": 1})


def test_bad_key_signature_is_ignored() -> None:
    found, report = read(track("00 FF 59 02 40 09 | 64 sharps, mode 9", C_FOR_A_QUARTER, END))
    assert (found, report.counts) == ([C], {"bad key signatures": 1})


def test_events_without_sound_keep_their_time() -> None:
    body = "81 70 F0 03 41 10 F7 | sysex\n00 E0 00 40 | bend\n81 70 FF 06 02 F3 41 | a marker"
    assert read(track(body, C_FOR_A_QUARTER, END))[0] == [(0.5, 1.0, 60, 64, 0)]


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ("00 FF 54 05 60 00 00 00 00 | begins at 0:00", "SMPTE offsets"),
        ("00 FF 7F 03 01 02 03", "sequencers' own events"),
        ("00 FF 00 02 00 03 | number of a sequence", "other meta events"),
        ("00 FF 20 01 02 | texts that follow are of channel 3", "other meta events"),
        ("00 F0 05 7E 7F 09 01 F7 | General MIDI on", "system messages"),
        ("00 F7 01 01 | a piece of one", "system messages"),
        ("00 F6 | tune", "system messages"),
        ("00 90 3E 40 | D on\n00 80 3E 63 | and off, fast", "key-up velocities"),
    ],
)
def test_what_a_score_has_no_place_for_is_counted(event: str, name: str) -> None:
    counts = read(track(event, C_FOR_A_QUARTER, event, END))[1].counts
    assert {what: n for what, n in counts.items() if what != "notes of no length"} == {f"{name} dropped": 2}


def test_bad_meta_events_are_ignored() -> None:
    body = "00 FF 51 01 05 | a short tempo\n00 FF 21 00 | a port without number\n00 FF 58 01 04 | half a metre"
    assert read(track(body, C_FOR_A_QUARTER, END))[0] == [C]


def test_huge_delta() -> None:
    found, _ = read(track("FF FF FF 7F 90 3C 40 | C on after 268,435,455 ticks", "83 60 80 3C 40 | C off", END))
    assert found == [(pytest.approx(279620.265625), pytest.approx(279620.765625), 60, 64, 0)]


@pytest.mark.parametrize("delta", ["80 80 80 83 60 | padded", "81 80 80 80 80 80 80 83 60 | 2^56 + 480, as of Ardour"])
def test_number_of_more_than_four_bytes_is_its_last_28_bits(delta: str) -> None:
    found, report = read(track(C_FOR_A_QUARTER, delta.replace("|", "90 40 40 | E on,"), "83 60 80 40 40 | E off", END))
    assert found == [C, (1.0, 1.5, 64, 64, 0)]
    assert report.counts == {"times of more than 4 bytes (the last 28 bits read)": 1}


def test_length_of_more_than_four_bytes() -> None:
    found, report = read(track("00 FF 01 80 80 80 80 02 68 69 | a text", C_FOR_A_QUARTER, END))
    assert (found, report.counts) == ([C], {})


def test_number_of_eleven_bytes_ends_the_track() -> None:
    found, report = read(track(C_FOR_A_QUARTER, "80 " * 10 + "00 90 3C 40", END))
    assert (found, report.counts) == ([C], {"tracks broken off at a number of more than 10 bytes": 1})


AN_HOUR_LATER = "81 D2 E9 00 FF 2F 00 | end of track after 3,454,080 ticks"


def test_hanging_note_before_a_late_end_of_track_is_no_drone() -> None:
    found, report = read(track("00 90 3C 40 | C on, never off", AN_HOUR_LATER))
    assert (found, report.counts) == ([(0.0, 8.0, 60, 64, 0)], {"hanging notes": 1})  # 16 quarters


def test_hanging_note_ends_though_the_piece_goes_on() -> None:
    second = track("D6 00 90 40 40 | E on after 23 quarters", "83 60 80 40 40 | E off", END)
    found, report = read(track("00 90 3C 40 | C on, never off", "D6 00 FF 2F 00 | end after 23"), second)
    assert (found, report.counts) == ([(0.0, 8.0, 60, 64, 0), (11.466667, 11.966667, 64, 64, 0)], {"hanging notes": 1})


def test_pedal_that_is_never_lifted_holds_no_drone() -> None:
    found, report = read(track("00 B0 40 7F | pedal down", C_FOR_A_QUARTER, AN_HOUR_LATER))
    assert (found, report.counts) == ([(0.0, 8.5, 60, 64, 0)], {})  # 16 quarters after the last message


@pytest.mark.parametrize("text", ["café".encode("latin1"), b"\xff\xfe", b"helicon: \xff"], ids=repr)
def test_foreign_text_never_fails(text: bytes) -> None:
    event = b"\0\xff\x01" + bytes([len(text)]) + text
    data = midi(track(event.hex(), C_FOR_A_QUARTER, END))
    assert read_midi_bytes(data)[1].text == ("ÿ" if text.startswith(b"helicon") else "")


def test_piece_without_notes() -> None:
    score, _ = read_midi_bytes(midi(track("00 FF 51 03 0F 42 40 | 60 quarters a minute", END)))
    assert (len(score), score.tempo_bpm) == (0, 60.0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n", "not a MIDI file"),
        (b"MThd\0\0\0\6\0\1", "ends inside its header"),
        (midi(), "no track"),
        (bytes(MAX_BYTES + 1), "more than"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(data)
    with pytest.raises(MidiError, match=reason) as error:
        read_midi(tmp_path / "a.mid")
    assert "\n" not in str(error.value)


def real_files(folder: Path) -> list[Path]:
    files = sorted((folder / "midi").rglob("*.mid"))
    assert len(files) == 1173
    return files


def agrees_with_symusic(path: Path) -> None:
    """Onsets and pitches are those that symusic reads. It drops hanging notes, so files with those are left out.

    Its seconds are sums of 32-bit floats and drift, by 5 ms in ten minutes: hence the relative tolerance.
    """
    symusic = pytest.importorskip("symusic")
    score, report = read_midi(path)
    assert len(score), path
    if "hanging notes" in report.counts:
        return
    theirs = [(n.start, n.pitch) for t in symusic.Score(str(path), ttype="second").tracks for n in t.notes]
    ours = sorted(zip(score.onset_s, score.pitch))
    theirs.sort()
    assert len(ours) == len(theirs), path
    np.testing.assert_allclose([t for t, _ in ours], [t for t, _ in theirs], rtol=2e-5, atol=1e-3, err_msg=str(path))
    assert sorted(p for _, p in ours) == sorted(p for _, p in theirs), path


def test_sample_of_real_files(shared_data: Path) -> None:
    for path in real_files(shared_data)[::30]:
        agrees_with_symusic(path)


def test_times_are_those_of_midos_clock(shared_data: Path) -> None:
    for path in real_files(shared_data)[10::150]:
        now_s, onset_s = 0.0, []
        for message in mido.MidiFile(path):
            now_s += message.time
            if message.type == "note_on" and message.velocity:
                onset_s.append(now_s)
        np.testing.assert_allclose(read_midi(path)[0].onset_s, onset_s, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_all_real_files(shared_data: Path) -> None:
    for path in real_files(shared_data):
        agrees_with_symusic(path)


def test_pedal_of_a_real_piece_lengthens_but_never_moves_notes(shared_data: Path) -> None:
    path = real_files(shared_data)[0]
    extended, dropped = read_midi(path)[0], read_midi(path, pedal="drop")[0]
    np.testing.assert_array_equal(extended.onset_s, dropped.onset_s)
    assert extended.seconds >= dropped.seconds
    assert np.sum(extended.end_s - extended.onset_s) > np.sum(dropped.end_s - dropped.onset_s)
    assert len(dropped) == sum(m.type == "note_on" and m.velocity > 0 for m in mido.MidiFile(path).merged_track)


@pytest.mark.parametrize(
    "data",
    [
        b"MThd\xff\xff\xff\xff\0\1\0\1\1\xe0MTrk\xff\xff\xff\xff",
        b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\x08\0\xff\x01\xff\xff\xff\x7fA",
        b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\x08\0\xf0\xff\xff\xff\x7fAB",
        b"MThd\0\0\0\6\0\1\xff\xff\1\xe0" + b"MTrk\0\0\0\0" * 5_000,
        b"MThd\0\0\0\6\0\1\xff\xff\1\xe0" + b"MTrk\xff\xff\xff\xff" * 5_000,
        b"MThd\0\0\0\6\0\1\0\1\1\xe0" + b"xxxx\0\0\0\0" * 5_000,
    ],
    ids=["header", "text", "sysex", "empty tracks", "endless tracks", "alien chunks"],
)
def test_declared_sizes_take_no_memory(data: bytes) -> None:
    tracemalloc.start()
    with suppress(MidiError):
        read_midi_bytes(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 100e6
