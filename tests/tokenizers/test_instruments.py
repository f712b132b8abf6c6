"""The tables: literal ids of the deployed MuseNet, and General MIDI families as they are found."""

from __future__ import annotations

import json

import pytest
from music_worlds import score_of

from helicon.formats.score import DRUMS
from helicon.tokenizers.instruments import MUSENET, VOLUMES, Instrument, InstrumentTable, general_midi, pitch_name
from helicon.tokenizers.survey import MusicSurvey


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (0, "piano:v0:C-1"),
        (128, "piano:v24:C-1"),
        (7 * 128 + 60, "piano:v72:C4"),
        (1791, "piano:v120:G9"),
        (1792, "violin:v80:C-1"),
        (1792 + 128, "violin:v0:C-1"),
        (2048, "cello:v80:C-1"),
        (2304, "bass:v80:C-1"),
        (2560, "guitar:v80:C-1"),
        (2816, "flute:v80:C-1"),
        (3072, "clarinet:v80:C-1"),
        (3328, "trumpet:v80:C-1"),
        (3584, "harp:v80:C-1"),
        (3839, "harp:v0:G9"),
        (3840, "drums:v80:C-1"),
        (3967, "drums:v80:G9"),
        (3968, "wait:1"),
        (4095, "wait:128"),
    ],
)
def test_literal_ids_of_the_deployed_table(number, word):
    assert MUSENET.tokens[number] == word


def test_the_deployed_table_has_4096_events():
    assert len(MUSENET.tokens) == len(set(MUSENET.tokens)) == 4096


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (0, "piano"), (7, "piano"), (16, "piano"), (24, "guitar"), (31, "guitar"), (32, "bass"), (39, "bass"),
        (40, "violin"), (41, "violin"), (42, "cello"), (43, "cello"), (44, "violin"), (46, "harp"), (47, "piano"),
        (51, "violin"), (52, "piano"), (56, "trumpet"), (63, "trumpet"), (64, "clarinet"), (72, "flute"), (79, "flute"),
        (80, "piano"), (127, "piano"), (DRUMS, "drums"),
    ],
)  # fmt: skip
def test_programs_of_the_deployed_table(program, name):
    assert MUSENET.instruments[MUSENET.by_program[program]].name == name


def test_octave_labels_turn_over_at_a():
    assert [pitch_name(p) for p in (56, 57, 59, 60, 61, 68, 69, 71, 72)] == [
        "G#3", "A4", "B4", "C4", "C#4", "G#4", "A5", "B5", "C5",
    ]  # fmt: skip
    assert len({pitch_name(pitch) for pitch in range(128)}) == 128


def test_families_take_the_volumes_found_and_a_margin():
    survey = MusicSurvey.merged(
        [
            MusicSurvey.of(score_of((0, 1, 60, 50, 1), (0, 1, 62, 70, 1), (0, 1, 64, 60, 0))),
            MusicSurvey.of(score_of((0, 1, 60, 127, 73), (0, 1, 36, 1, DRUMS))),
        ]
    )
    table = general_midi(survey)
    assert [row.name for row in table.instruments] == ["piano", "pipe", "drums"]
    assert table.instruments[0].levels == (0, 40, 48, 56, 64, 72, 80)
    assert table.instruments[0].programs[0] == 1
    assert table.instruments[1].levels == (0, 112, 120)
    assert table.instruments[2].levels == (24, 32)
    assert general_midi(survey, margin=0).instruments[0].volumes == (48, 56, 64, 72)
    assert table.by_program[40] == 0  # no strings: the piano takes them
    assert not table.has_program[40]


def test_a_table_without_piano_or_drums_substitutes_what_it_can():
    table = general_midi(MusicSurvey.of(score_of((0, 1, 60, 80, 48))))
    assert table.by_program[0] == 0
    assert table.by_program[DRUMS] == -1


def test_state_survives_json():
    assert InstrumentTable.from_state(json.loads(json.dumps(MUSENET.state()))) == MUSENET


def test_rows_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="note-offs"):
        Instrument("piano", (0,), VOLUMES, "piano")
    with pytest.raises(ValueError, match="may not contain"):
        Instrument("grand_piano", (0,), (0, 80), "piano")
    with pytest.raises(ValueError, match="no notes"):
        general_midi(MusicSurvey())
