"""Scores to events and back: the published sample, the canonical order, and what is merged, cut and counted."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from music_worlds import SAMPLE, TABLES, random_score, score_of, scores

from helicon.formats.score import DRUMS, Score
from helicon.tokenizers.augment import Augmentation, MusicRanges
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.midi import MidiTokenizer

TOKENIZERS = {name: MidiTokenizer(table) for name, table in TABLES.items()}
musenet = TOKENIZERS["musenet"]
tokenizer_names = st.sampled_from(sorted(TOKENIZERS))


def words(*notes) -> str:
    return " ".join(musenet.to_words(musenet.encode(score_of(*notes))))


def test_one_note():
    assert words((0, 0.5, 60, 70, 0)) == "piano:v72:C4 wait:50 piano:v0:C4"


def test_order_within_a_tick():
    got = words(
        (0, 1, 67, 80, 0), (0, 1, 67, 80, 40), (0, 1, 67, 80, 42), (0, 1, 60, 80, 46),
        (0, 1, 90, 1, DRUMS), (0, 1, 36, 1, DRUMS),
    )  # fmt: skip
    assert got.split()[:6] == [
        "drums:v80:C2", "drums:v80:F#6", "harp:v80:C4", "cello:v80:G4", "violin:v80:G4", "piano:v80:G4",
    ]  # fmt: skip


def test_ons_and_offs_are_mixed_by_pitch():
    got = words((0, 0.1, 62, 80, 0), (0.1, 0.2, 60, 80, 0), (0.1, 0.2, 64, 80, 0))
    assert "wait:10 piano:v80:C4 piano:v0:D4 piano:v80:E4 wait:10" in got


def test_a_note_that_meets_the_next_of_its_key_emits_no_off():
    assert words((0, 0.1, 60, 80, 0), (0.1, 0.2, 60, 80, 0)) == "piano:v80:C4 wait:10 piano:v80:C4 wait:10 piano:v0:C4"


def test_long_waits_are_128_and_a_rest():
    assert words((1.28, 1.28 + 2.56, 60, 80, 0)) == "wait:128 piano:v80:C4 wait:128 wait:128 piano:v0:C4"
    assert words((1.30, 1.31, 60, 80, 0)) == "wait:128 wait:2 piano:v80:C4 wait:1 piano:v0:C4"


def test_losses_are_counted():
    families = TOKENIZERS["families"]
    score = score_of(
        (0, 1, 60, 30, 0), (0, 2, 60, 50, 0), (1, 3, 60, 50, 0), (200, 201, 60, 50, 19), (0, 1, 36, 50, DRUMS)
    )  # fmt: skip
    ids, report = families.encode_with_report(score)
    assert report.counts == {
        "duplicate notes merged": 1,
        "overlapping notes shortened": 1,
        "notes given to a substitute instrument": 1,
        "pauses longer than a minute cut": 1,
    }
    assert families.decode(ids).seconds == pytest.approx(3 + 60 + 1)


def test_drums_without_drums_are_dropped():
    from helicon.tokenizers.instruments import general_midi
    from helicon.tokenizers.survey import MusicSurvey

    table = general_midi(MusicSurvey.of(score_of((0, 1, 60, 80, 0))))
    ids, report = MidiTokenizer(table).encode_with_report(score_of((0, 1, 36, 80, DRUMS)))
    assert len(ids) == 0
    assert report.counts == {"notes without an instrument dropped": 1}


def test_nothing_is_nothing():
    assert len(musenet.encode(score_of())) == 0
    assert len(musenet.decode(np.array([], np.int64))) == 0


@given(tokenizer_names, scores)
@settings(max_examples=150, deadline=None)
def test_encode_of_decode_is_the_same(name, score):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(score)
    assert np.array_equal(tokenizer.encode(tokenizer.decode(ids)), ids)


@given(st.lists(st.one_of(st.integers(0, 4095), st.integers(3968, 4095), st.integers(60, 64)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_decode_takes_anything(ids):
    score = musenet.decode(np.array(ids, np.int64))
    assert np.all(score.end_s - score.onset_s > 0.009)
    once = musenet.encode(score)
    assert np.array_equal(musenet.encode(musenet.decode(once)), once)


@pytest.mark.parametrize("ids", [[4096], [-1], [0, 5000]])
def test_ids_outside_the_block_are_refused(ids):
    with pytest.raises(ValueError, match=r"0 \.\. 4095"):
        musenet.decode(np.array(ids))


def test_sampled_nonsense_is_repaired():
    ids = musenet.from_words(["piano:v0:C4", "piano:v80:E4", "piano:v80:E4", "wait:5", "piano:v80:G4"])
    score = musenet.decode(ids)
    # The off of a silent note is ignored, the doubled note-on lasts one unit, the last note too.
    assert score.pitch.tolist() == [64, 64, 67]
    assert score.end_s == pytest.approx([0.01, 0.05, 0.06])
    assert score.onset_s == pytest.approx([0, 0, 0.05])


def test_words_round_trip_and_name_what_is_wrong():
    events = SAMPLE.split()[4:]
    assert musenet.to_words(musenet.from_words(events)) == events
    with pytest.raises(ValueError, match=r"'piano:v73:G1'.*piano:v72:G1"):
        musenet.from_words(["piano:v73:G1"])


def test_state_survives_json():
    again = MidiTokenizer.from_state(json.loads(json.dumps(TOKENIZERS["families"].state())))
    assert again.block == TOKENIZERS["families"].block


def slowly_changed(score: Score, change: Augmentation, name: str) -> Score:
    """A score changed note by note, as a person would."""
    table = TABLES[name]
    melodic = [int(pitch) for pitch, program in zip(score.pitch, score.program) if program != DRUMS]
    shift = change.transpose
    while melodic and not (min(melodic) + shift >= 0 and max(melodic) + shift <= 127):
        shift -= int(np.sign(shift))
    rows = []
    times = (np.rint(times_s * 100) / 100 / change.tempo for times_s in (score.onset_s, score.end_s))
    for onset, end, pitch, velocity, program in zip(
        *(np.floor(times_s * 100 + 0.5) / 100 for times_s in times), score.pitch, score.velocity, score.program
    ):
        volumes = table.instruments[table.by_program[program]].volumes
        volume = volumes[max(0, min(len(volumes) - 1, volumes.index(velocity) + change.volume))]
        moved = pitch if program == DRUMS else pitch + shift
        rows.append((onset, end, moved, volume, program))
    return score_of(*rows)


@given(
    tokenizer_names,
    scores,
    st.builds(Augmentation, st.integers(-130, 130), st.integers(-3, 3), st.sampled_from([1.0, 1.0, 0.9, 1.07, 1.1])),
)
@settings(max_examples=150, deadline=None)
def test_augment_equals_encoding_the_changed_piece(name, score, change):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(score)
    changed = slowly_changed(tokenizer.decode(ids), change, name)
    assert np.array_equal(tokenizer.augment(ids, change), tokenizer.encode(changed))


def test_augment_leaves_its_input_alone_and_is_quick():
    ids = musenet.encode(random_score(np.random.default_rng(0), 400))
    before = ids.copy()
    times = []
    for _ in range(20):
        start = time.process_time()
        musenet.augment(ids, Augmentation(3, 1, 1.05))
        times.append(time.process_time() - start)
    assert np.array_equal(ids, before)
    assert len(ids) > 900
    assert min(times) < 0.01  # about a millisecond; the rest is room for a busy machine


def test_changes_are_drawn_within_their_ranges():
    rng = np.random.default_rng(1)
    changes = [MusicRanges().draw(rng) for _ in range(300)]
    assert {change.transpose for change in changes} == set(range(-5, 7))
    assert {change.volume for change in changes} == {-1, 0, 1}
    assert all(0.9 <= change.tempo <= 1.1 for change in changes)
    assert MusicRanges((0, 0), (0, 0), (1, 1)).draw(rng) == Augmentation()


def test_order_of_ranks_is_that_of_the_table():
    assert MUSENET.rank[MUSENET.tokens.index("violin:v80:G4")] < MUSENET.rank[MUSENET.tokens.index("piano:v72:G4")]
    assert MUSENET.rank[MUSENET.tokens.index("drums:v80:G9")] < MUSENET.rank[MUSENET.tokens.index("harp:v80:C-1")]
