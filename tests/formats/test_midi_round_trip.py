"""Read, written and read again: a piece in musical time stays as it was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_midi_read import C_FOR_A_QUARTER, END, midi, track

from helicon.formats.general_midi import CONTROL, SUSTAIN
from helicon.formats.midi import read_midi, read_midi_bytes
from helicon.formats.midi_bytes import LYRIC, MARKER, MAX_TEXTS, NAME, TEXT
from helicon.formats.midi_write import write_midi
from helicon.formats.score import DRUMS, Score, Text, Track

CONDUCTOR = track(
    "00 FF 58 04 03 02 18 08 | 3/4",
    "00 FF 59 02 FD 01 | three flats, minor",
    "00 FF 51 03 07 A1 20 | 120 quarters a minute",
    "83 60 FF 51 03 09 27 C0 | after a quarter: 100",
    "87 40 FF 58 04 21 06 18 08 | after two more: 33/64",
    "00 FF 06 03 41 20 42 | marker: A B",
    "BC 40 FF 2F 00 | end, late",
)
SINGER = track(
    "00 FF 03 05 56 6F 69 78 E9 | name, in Latin-1",
    "00 C3 34 | choir on channel 4",
    "00 B3 07 64 | volume",
    "00 B3 40 7F | pedal down",
    "00 93 3C 40 | C on",
    "00 FF 05 02 6C 61 | lyric: la",
    "81 70 E3 00 50 | bend",
    "81 70 83 3C 40 | C off",
    "00 B3 40 00 | pedal up, after it",
    "00 B3 40 7F | and down again",
    "00 D3 20 | pressure",
    "83 60 93 3C 40 | C on",
    "00 83 3C 40 | C off at once: a note of no length",
    END,
)


def rows(score: Score) -> dict[str, object]:
    """All that a file should keep, by name."""
    messages, notes = score.messages, score.notes
    order = np.lexsort((messages.place, messages.tick, messages.track))
    said = (messages.track, messages.tick, messages.channel, messages.kind, messages.number, messages.value)
    sounds = ("onset_tick", "end_tick", "off_tick", "pitch", "velocity", "program", "track", "off_track", "channel")
    pedal = (messages.kind == CONTROL) & (messages.number == SUSTAIN)
    return {
        "ticks": score.ticks_per_quarter,
        "tempo map": score.tempos.tolist(),
        "metres": score.metres.tolist(),
        "keys": score.keys.tolist(),
        "tracks": len(score.tracks),
        "ends of tracks": [each.end_tick for each in score.tracks],
        "names": [each.name for each in score.tracks],
        "texts": sorted(score.texts, key=lambda text: (text.track, text.tick)),
        "pedal": [column[order[pedal[order]]].tolist() for column in said],
        "messages": [column[order].tolist() for column in said],
        "notes": sorted(zip(*(getattr(notes, name).tolist() for name in sounds))),
        "seconds": (score.onset_s.tolist(), score.end_s.tolist()),
        "bars": score.bars.tolist(),
    }


def again(score: Score, folder: Path, text: str = "") -> Score:
    """The score, written and read."""
    write_midi(score, folder / "again.mid", text=text)
    found, report = read_midi(folder / "again.mid")
    assert report.text == text
    return found


def test_all_that_a_file_says(tmp_path: Path) -> None:
    score, report = read_midi_bytes(midi(CONDUCTOR, SINGER))
    assert report.counts == {"notes of no length": 1}
    assert score.tempos.tolist() == [[0, 0, 500_000], [480, 0, 600_000]]
    assert score.metres.tolist() == [[0, 0, 3, 2, 24, 8], [1440, 0, 33, 6, 24, 8]]
    assert score.keys.tolist() == [[0, 0, -3, 1]]
    assert score.tracks == (Track("", 1440 + 7744), Track("Voixé", 960))
    assert score.texts == (Text(1440, 0, MARKER, "A B"), Text(0, 1, LYRIC, "la"))
    assert (score.notes.off_tick.tolist(), score.notes.end_tick.tolist()) == ([480, 960], [480, 960])
    assert (score.notes.track.tolist(), score.notes.channel.tolist(), score.bars.tolist()) == ([1, 1], [3, 3], [0, 0])
    assert len(score.messages.kind) == 7
    assert rows(again(score, tmp_path)) == rows(score)


def test_pedal_and_keys_keep_their_order_within_a_tick(tmp_path: Path) -> None:
    """Off before down is not held, down before off is."""
    for first, second, end_tick in (("80 3C 40", "B0 40 7F", 480), ("B0 40 7F", "80 3C 40", 960)):
        body = track("00 90 3C 40", f"83 60 {first}", f"00 {second}", "83 60 B0 40 00 | up", END)
        score, _ = read_midi_bytes(midi(body))
        assert score.notes.end_tick.tolist() == [end_tick]
        assert rows(again(score, tmp_path)) == rows(score)


def test_pedal_is_kept_where_it_is_not_played(tmp_path: Path) -> None:
    data = midi(track("00 B0 40 7F", C_FOR_A_QUARTER, "83 60 B0 40 00", END))
    dropped, extended = read_midi_bytes(data, "drop")[0], read_midi_bytes(data)[0]
    assert (dropped.notes.end_tick.tolist(), extended.notes.end_tick.tolist()) == ([480], [960])
    assert rows(again(dropped, tmp_path)) == rows(extended)


def test_parts_of_a_channel_and_drums_of_any_channel(tmp_path: Path) -> None:
    drums = track("00 F0 0A 41 10 42 12 40 1A 15 02 0F F7 | GS: channel 11 is drums", "00 9A 24 40", "60 8A 24 00", END)
    violin = track("00 C0 28", "00 90 3C 40", "8F 00 80 3C 00", END)
    piano = track("00 C0 00", "83 60 90 3C 40", "81 70 80 3C 00", END)
    score, report = read_midi_bytes(midi(drums, violin, piano))
    assert list(zip(score.onset_s.tolist(), score.program.tolist())) == [(0.0, 40), (0.0, 128), (0.5, 0)]
    assert report.counts == {}
    assert rows(again(score, tmp_path)) == rows(score)


def test_an_empty_name_is_no_name(tmp_path: Path) -> None:
    score, _ = read_midi_bytes(midi(track("00 FF 03 00 | no name", "00 FF 03 01 41 | A", C_FOR_A_QUARTER, END)))
    assert (score.tracks[0].name, score.texts) == ("A", (Text(0, 0, NAME, ""),))
    assert rows(again(score, tmp_path)) == rows(score)


def test_our_own_text_is_not_doubled(tmp_path: Path) -> None:
    score = again(Score.of([0], [1], [60], [64], [0]), tmp_path, "bach start")
    assert score.texts == ()
    assert again(score, tmp_path, "bach start").texts == ()


def test_an_excerpt_keeps_what_holds_at_its_start(tmp_path: Path) -> None:
    score, _ = read_midi_bytes(midi(CONDUCTOR, SINGER))
    part = score.between(0.6, 99.0)
    assert part.ticks_per_quarter == 2400
    assert (part.tempos[:, 0].tolist(), part.metres[:, 0].tolist()) == (
        [0, 0],
        [0, 4400],
    )  # from tick 560 on, five times finer
    assert part.onset_s == pytest.approx([0.5], abs=1e-3)
    assert part.program.tolist() == [52]
    assert rows(again(part, tmp_path))["seconds"] == (part.onset_s.tolist(), part.end_s.tolist())


@pytest.mark.parametrize(
    ("first", "programs"),
    [
        ("00 C0 28 | violin", [40, 0]),
        ("00 B0 00 7F | a bank of drums\n00 C0 00", [DRUMS, 0]),
        ("00 F0 0A 41 10 42 12 40 11 15 01 19 F7 | GS: channel 1 is drums", [DRUMS, 0]),
        ("00 B0 40 7F | pedal down", [0, 0]),
    ],
)
@pytest.mark.parametrize("between", [[], [track("60 FF 2F 00 | a pattern of silence")]])
def test_a_pattern_of_a_type_2_file_hears_nothing_of_others(
    first: str, programs: list[int], between: list[bytes], tmp_path: Path
) -> None:
    second = track(C_FOR_A_QUARTER, "83 60 FF 2F 00 | end, after a quarter of silence")
    score, report = read_midi_bytes(midi(track(first, C_FOR_A_QUARTER, END), *between, second, kind=2))
    assert report.counts == {"patterns of a type 2 file joined": 2 + len(between)}
    assert score.program.tolist() == programs
    assert (score.end_s - score.onset_s).tolist() == pytest.approx([0.5, 0.5])
    assert rows(again(score, tmp_path)) == rows(score)


def test_a_key_goes_up_in_the_track_where_it_did(tmp_path: Path) -> None:
    down, up = track("00 90 3C 40 | C on", END), track("83 60 80 3C 00 | C off", "83 60 FF 2F 00")
    for tracks, off_track in ((down, up), 1), ((up, down), 0):
        score, report = read_midi_bytes(midi(*tracks))
        assert (score.notes.off_track.tolist(), score.end_s.tolist(), report.counts) == ([off_track], [0.5], {})
        assert rows(again(score, tmp_path)) == rows(score)


def test_an_excerpt_where_one_track_of_a_channel_is_silent_keeps_the_program_of_the_other(tmp_path: Path) -> None:
    violin = track("00 C0 28", C_FOR_A_QUARTER, END)
    piano = track("00 C0 00", "87 40 90 3C 40 | C, after two quarters", "83 60 80 3C 40", END)
    part = read_midi_bytes(midi(violin, piano))[0].between(0.0, 0.6)
    assert part.program.tolist() == again(part, tmp_path).program.tolist() == [40]


@pytest.mark.parametrize(("metre", "kept"), [("00 02", 0), ("04 0B", 0), ("21 06", 1), ("01 00", 1), ("FF 0A", 1)])
def test_metres_that_cannot_be_are_ignored(metre: str, kept: int, tmp_path: Path) -> None:
    score, report = read_midi_bytes(midi(track(f"00 FF 58 04 {metre} 18 08", C_FOR_A_QUARTER, END)))
    assert (len(score.metres), report.counts) == (kept, {} if kept else {"bad time signatures": 1})
    assert rows(again(score, tmp_path)) == rows(score)


def test_a_hundred_thousand_tempos(tmp_path: Path) -> None:
    body = b"".join(b"\1\xff\x51\x03" + (300_000 + i).to_bytes(3) for i in range(100_000))
    head = b"MTrk" + (len(body) + 4).to_bytes(4)
    score, report = read_midi_bytes(midi(head + body + b"\0\xff\x2f\0", track(C_FOR_A_QUARTER, END)))
    assert (len(score.tempos), report.counts) == (100_000, {})
    assert score.end_s == pytest.approx([(500_000 + sum(300_000 + i for i in range(479))) / 480e6])
    assert rows(again(score, tmp_path)) == rows(score)


@pytest.mark.parametrize(("division", "reason"), [(0xFFFF, "1 frames a second"), (0, "division 0")])
def test_divisions_that_say_nothing_are_refused_in_one_line(division: int, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^[^\n]*{reason}[^\n]*$"):
        read_midi_bytes(midi(track(C_FOR_A_QUARTER, END), division=division))


def test_the_finest_and_smpte_time(tmp_path: Path) -> None:
    score, _ = read_midi_bytes(midi(track(C_FOR_A_QUARTER, END), division=0x7FFF))
    assert rows(again(score, tmp_path))["ticks"] == 0x7FFF
    score, report = read_midi_bytes(midi(track(C_FOR_A_QUARTER, END), division=0xE728))
    assert (report.counts, score.end_s.tolist()) == ({"files in SMPTE time, whose tempos mean nothing": 1}, [0.48])
    assert rows(again(score, tmp_path)) == rows(score)


def test_texts_are_bounded_and_may_say_anything(tmp_path: Path) -> None:
    many = b"MTrk" + (5 * MAX_TEXTS + 14).to_bytes(4) + b"\0\xff\x05\1a" * (MAX_TEXTS + 2) + END_BYTES
    score, report = read_midi_bytes(midi(many, track(C_FOR_A_QUARTER, END)))
    assert (len(score.texts), report.counts) == (MAX_TEXTS, {f"texts after the first {MAX_TEXTS:,} dropped": 2})
    escape, line = "00 FF 03 04 1B 5B 33 6D | a name that is an escape", "00 FF 01 02 0A 00 | a line and NUL"
    odd = track(escape, line, C_FOR_A_QUARTER, END)
    score, _ = read_midi_bytes(midi(odd))
    assert (score.tracks[0].name, score.texts) == ("\x1b[3m", (Text(0, 0, TEXT, "\n\0"),))
    assert rows(again(score, tmp_path)) == rows(score)


END_BYTES = b"\0\xff\x2f\0"


def differences(path: Path, folder: Path) -> list[str]:
    """Names of what a real file loses."""
    score, report = read_midi(path)
    before, after = rows(score), rows(again(score, folder, report.text))
    return [name for name in before if before[name] != after[name]]


def test_a_sample_of_real_files(shared_data: Path, tmp_path: Path) -> None:
    for path in sorted((shared_data / "midi").rglob("*.mid"))[::60]:
        assert differences(path, tmp_path) == [], path


@pytest.mark.slow
def test_all_real_files(shared_data: Path, tmp_path: Path) -> None:
    lost = Counter[str]()
    for path in sorted((shared_data / "midi").rglob("*.mid")):
        lost.update(differences(path, tmp_path))
    assert lost == {}
