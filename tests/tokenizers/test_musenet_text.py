"""Pieces as text and as the numbers of the deployed MuseNet, with its published sample."""

from __future__ import annotations

import numpy as np
import pytest
from music_worlds import SAMPLE, score_of

from helicon.tokenizers.musenet import (
    deployed_words,
    events,
    musenet_text,
    numbers_to_text,
    parse_musenet,
    parse_score,
    text_to_numbers,
)
from helicon.tokenizers.style import Style


def test_the_published_sample_is_the_same_after_numbers():
    assert numbers_to_text(text_to_numbers(SAMPLE)) == SAMPLE


def test_the_published_sample_as_a_score_ends_its_last_note_and_is_otherwise_the_same():
    assert musenet_text(parse_score(SAMPLE)) == SAMPLE + " piano:v0:B5"


def test_literal_numbers():
    got = text_to_numbers("bach piano_strings start tempo90 piano:v72:C4 wait:12 end").tolist()
    assert got == [4226, 4101, 4096, 4850, 956, 3979, 4097]


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (4096, "start"), (4097, "end"), (4098, "end-of-sample"), (4099, "piano"), (4100, "strings"),
        (4225, "piano_strings_bass_guitar_harp_winds_drums"), (4226, "bach"), (4835, "label609"), (4836, "tempo20"),
    ],
)  # fmt: skip
def test_words_of_numbers(number, word):
    assert deployed_words()[number] == word


def test_a_header_is_read_back():
    style, ids = parse_musenet(SAMPLE)
    assert style == Style("bach", ("piano", "violin", "cello"), 90.0)
    assert events().to_words(ids) == SAMPLE.split()[4:]


def test_any_label_is_written_and_read_but_has_no_number():
    text = musenet_text(score_of((0, 1, 60, 72, 0), label="My Songs"))
    assert text == "my-songs piano start tempo120 piano:v72:C4 wait:100 piano:v0:C4"
    assert parse_score(text).label == "my-songs"
    assert numbers_to_text(text_to_numbers(text)) == text.removeprefix("my-songs ")
    named_piano = score_of((0, 1, 60, 72, 0), label="piano")
    assert parse_score(musenet_text(named_piano)).label == "piano"


def test_a_piece_of_nothing():
    assert musenet_text(score_of()) == "start tempo120"
    assert len(parse_score("start tempo120")) == len(parse_score("")) == 0


def test_errors_name_the_word():
    with pytest.raises(ValueError, match=r"'piano:v72:H1'"):
        parse_musenet("bach start piano:v72:H1")
    with pytest.raises(ValueError, match=r"'wait:129'; nearest"):
        text_to_numbers("wait:129")
    with pytest.raises(ValueError, match="ids must be"):
        numbers_to_text(np.array([10**6]))
