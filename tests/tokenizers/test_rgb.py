"""Pictures to raw values and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helicon.tokenizers.rgb import RgbTokenizer

RED, LIME, NAVY, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 128], [255, 255, 255]
tokenizer = RgbTokenizer(2)


def test_a_picture_is_its_values_row_by_row():
    picture = np.array([[RED, LIME], [NAVY, WHITE]], np.uint8)
    assert tokenizer.encode(picture).tolist() == [255, 0, 0, 0, 255, 0, 0, 0, 128, 255, 255, 255]
    assert tokenizer.encode(picture).dtype == np.int64
    assert tokenizer.encode(picture[:1]).tolist() == [255, 0, 0, 0, 255, 0]


def test_every_id_comes_back():
    ids = np.arange(256).repeat(3)  # 128 rows of 2 pixels
    assert np.array_equal(RgbTokenizer(128).encode(RgbTokenizer(128).decode(ids)), ids)


@pytest.mark.parametrize(
    ("ids", "picture"),
    [
        ([], []),
        ([0], [[[0, 255, 255], WHITE]]),
        ([0, 0, 128, 255, 0, 0], [[NAVY, RED]]),
        ([0, 0, 128, 255, 0, 0, 0, 255, 0, 0], [[NAVY, RED], [LIME, [0, 255, 255]]]),
    ],
)
def test_what_is_missing_of_a_row_is_white(ids, picture):
    made = tokenizer.decode(np.array(ids, np.int64))
    assert made.tolist() == picture
    assert (made.shape[1:], made.dtype) == ((2, 3), np.uint8)


def test_ids_outside_the_block_are_refused():
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match=r"ids must be 0 \.\. 255"):
            tokenizer.decode(np.array([0, wrong]))


@pytest.mark.parametrize("shape", [(2, 3, 3), (3, 2, 3), (2, 1, 3)])
def test_pictures_of_another_size_are_refused(shape):
    message = rf"a picture of {shape[0]} rows of {shape[1]} pixels: 1 to 2 rows of 2 are accepted"
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("picture", [np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((0, 2, 3), np.uint8)])
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\] is accepted"):
        tokenizer.encode(picture)


def test_what_it_tells_others():
    assert (tokenizer.block.name, tokenizer.block.tokens[0], tokenizer.block.tokens[-1]) == ("image", "0", "255")
    assert (tokenizer.shape, tokenizer.read_options, tokenizer.automaton) == ((2, 2, 3), {"size": 2}, None)
    assert tokenizer.units(np.zeros(12)) == {"dimension": 12.0}
    assert tokenizer.describe() == {"values": 256, "size": 2}


def test_state_survives_json():
    state = json.loads(json.dumps(RgbTokenizer(5, "photo").state()))
    again = RgbTokenizer.from_state(state)
    assert (again.block.name, len(again.block), again.shape, again.state()) == ("photo", 256, (5, 5, 3), state)
