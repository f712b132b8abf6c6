"""Header words: what a score's are, what a person may type, and what becomes of awkward labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from music_worlds import TABLES, score_of

from helicon.formats.score import DRUMS
from helicon.tokenizers.augment import Augmentation
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.style import ANY, Style, StyleTokenizer, all_sets, found_sets
from helicon.tokenizers.survey import MusicSurvey

musenet = StyleTokenizer(MUSENET, ["bach", "chopin"], all_sets(MUSENET))
trio = score_of((0, 1, 60, 80, 0), (0, 1, 60, 80, 42), (0, 1, 36, 80, DRUMS), tempo_bpm=91.0, label="Chopin")


def words(style, tokenizer=musenet) -> list[str]:
    return tokenizer.to_words(tokenizer.encode(style))


def test_words_of_a_score():
    assert words(trio) == ["chopin", "piano_strings_drums", "tempo90"]
    assert words(score_of(label="nobody")) == ["any-label", "any-instruments", "tempo120"]
    assert words(Style()) == list(ANY)


def test_sets_are_in_order_of_their_mask():
    sets = all_sets(MUSENET)
    assert len(sets) == len(set(sets)) == 127
    assert sets[:5] == ("piano", "strings", "piano_strings", "bass", "piano_bass")
    assert sets[126] == "piano_strings_bass_guitar_harp_winds_drums"


def test_canonical_ids_come_back():
    rng = np.random.default_rng(0)
    for _ in range(200):
        kinds = [rng.choice(np.flatnonzero(musenet._kind == kind)) for kind in range(3)]
        assert musenet.encode(musenet.decode(np.array(kinds))).tolist() == kinds


def test_decode_takes_ids_in_any_order_and_number():
    ids = musenet.encode(trio)
    assert musenet.decode(ids[::-1]) == musenet.decode(ids)
    assert musenet.decode(np.array([], np.int64)) == Style()
    with pytest.raises(ValueError, match="ids must be"):
        musenet.decode(np.array([len(musenet.block)]))


def test_parse_takes_words_in_any_order_and_keeps_the_tempo():
    style = musenet.parse("tempo93 piano_strings Chopin")
    assert style == Style("chopin", ("piano", "violin", "cello"), 93.0)
    assert words(style) == ["chopin", "piano_strings", "tempo95"]
    assert musenet.parse("") == musenet.parse("any-label any-tempo") == Style()
    assert musenet.parse("strings_piano").instruments == style.instruments
    assert words(musenet.parse("violin_piano")) == ["any-label", "piano_strings", "any-tempo"]
    assert musenet.constraints(musenet.parse("violin")) == {"instruments": ("violin",)}
    assert musenet.constraints(Style()) == {}
    assert words(musenet.parse("tempo999")) == ["any-label", "any-instruments", "tempo300"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chopn", "'chopn'; nearest: chopin"),
        ("piano_strngs", "nearest: piano_strings"),
        ("bach chopin", "one label"),
        ("tempo90 tempo95", "one tempo"),
        ("tempo0", "unknown style word 'tempo0'"),
    ],
)
def test_parse_says_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        musenet.parse(text)


def test_sets_of_a_folder_and_one_that_was_not_in_it():
    table = TABLES["families"]
    pieces = [
        score_of((0, 1, 60, 80, 0), label="Ann B"),
        trio,
        score_of((0, 1, 60, 80, 3), (0, 1, 60, 80, 5), label="ann b"),
    ]
    survey = MusicSurvey.merged(map(MusicSurvey.of, pieces))
    style = StyleTokenizer.fit(table, survey)
    assert found_sets(table, survey) == style.sets == ("piano", "piano_strings_drums")
    assert style.labels == ("ann-b", "chopin")
    asked = style.parse("pipe_drums ann-b")
    assert asked.instruments == ("pipe", "drums")
    assert words(asked, style) == ["ann-b", "any-instruments", "any-tempo"]


def test_labels_that_mean_something_else_get_a_suffix():
    labels = ["piano", "tempo90", "any-label", "start", "strings_piano", "x-label", "piano-label", "bach"]
    style = StyleTokenizer(MUSENET, labels, all_sets(MUSENET))
    for label in labels:
        ids = style.encode(Style(label))
        assert style.decode(ids).label == label
        assert style.parse(style.label_word(label)).label == label
    assert style.block.tokens[:2] == ("piano-label", "tempo90-label")
    assert style.parse("piano").label is None


def test_drop_opens_words():
    ids, rng = musenet.encode(trio), np.random.default_rng(0)
    assert musenet.to_words(musenet.drop(ids, rng, 1.0)) == list(ANY)
    assert musenet.drop(ids, rng, 0.0).tolist() == ids.tolist()
    drops = np.array([musenet.drop(ids, rng, 0.5) != ids for _ in range(400)])
    assert np.all(np.abs(drops.mean(0) - 0.5) < 0.1)


def test_augment_moves_the_tempo_word():
    ids = musenet.encode(trio)
    assert musenet.to_words(musenet.augment(ids, Augmentation(3, 1, 1.1)))[2] == "tempo100"
    opened = musenet.encode(Style())
    assert musenet.augment(opened, Augmentation(tempo=1.1)).tolist() == opened.tolist()


def test_grow_adds_labels_by_name():
    grown = musenet.grow(["bach", "My Songs", "my-songs"])
    assert grown.labels == ("bach", "chopin", "my-songs")
    assert set(grown.block.tokens) - set(musenet.block.tokens) == {"my-songs"}


def test_state_survives_json():
    again = StyleTokenizer.from_state(json.loads(json.dumps(musenet.state())))
    assert again.block == musenet.block
    assert again.parse("violin") == musenet.parse("violin")


def test_a_style_is_applied_to_a_score():
    score = Style("bach", (), 60.0).applied_to(trio)
    assert (score.label, score.tempo_bpm) == ("bach", 60.0)
    assert score.onset_s == pytest.approx(trio.onset_s, abs=1e-3)
    assert Style().applied_to(trio).notes is trio.notes
