"""Text to bytes and byte pairs and back, whatever the script."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.formats.checked import LONGEST_NAME
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer, NumbersTokenizer

CORPUS = ["the cat sat on the mat, the cat sat on the hat\n"] * 40 + ["zwölf Boxkämpfer jagen Viktor\n"] * 10
bpe = BpeTokenizer.train(CORPUS, 290)
BOTH = [bpe, BytesTokenizer()]
AWKWARD = [
    "", " ", "  two  spaces ", "a red apple", "🎵👩🏽‍🎤 emoji", "שלום עולם, مرحبا", "nul\0inside",
    "tab\tand\r\nnewline\n", "é vs é",
    "\ufeffbom", "<|endoftext|>", "\x7f\x80",
]  # fmt: skip


@pytest.mark.parametrize("tokenizer", BOTH, ids=["bpe", "bytes"])
@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text())
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back(text):
    for tokenizer in BOTH:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(tokenizer.decode(ids)).tolist() == ids.tolist()


@pytest.mark.parametrize("tokenizer", BOTH, ids=["bpe", "bytes"])
def test_a_lone_surrogate_is_a_clear_error(tokenizer):
    with pytest.raises(ValueError, match=r"U\+D83D at character 3, half of a surrogate pair"):
        tokenizer.encode("abc\ud83d")


@given(st.lists(st.integers(0, 255), max_size=30))
@settings(max_examples=100, deadline=None)
def test_decode_takes_anything(ids):
    for tokenizer in BOTH:
        tokenizer.decode(np.array(ids, np.int64)).encode()


@pytest.mark.parametrize("tokenizer", BOTH, ids=["bpe", "bytes"])
def test_ids_outside_the_block_are_refused(tokenizer):
    for wrong in ([-1], [len(tokenizer.block)]):
        with pytest.raises(ValueError, match="ids must be"):
            tokenizer.decode(np.array(wrong))


def test_literal_bytes():
    assert BytesTokenizer().encode("Aé\n").tolist() == [65, 0xC3, 0xA9, 10]
    assert [BytesTokenizer().block.tokens[i] for i in (65, 0xC3, 10, 32)] == ["A", "0xC3", "0x0A", "0x20"]
    assert BytesTokenizer().decode(np.array([0xC3, 65])) == "�A"


def test_byte_pairs_are_learned_and_the_same_every_time():
    assert len(bpe.block) == 290
    assert len(bpe.encode("the cat")) < 4
    assert BpeTokenizer.train(iter(CORPUS), 290).block == bpe.block
    with pytest.raises(ValueError, match="at least 256"):
        BpeTokenizer.train(CORPUS, 255)


def test_a_corpus_of_little_gives_few_tokens():
    assert len(BpeTokenizer.train([], 300).block) == 256


@pytest.mark.parametrize("tokenizer", [bpe, BytesTokenizer("caption")], ids=["bpe", "bytes"])
def test_state_survives_json(tokenizer):
    again = type(tokenizer).from_state(json.loads(json.dumps(tokenizer.state())))
    assert again.block == tokenizer.block
    assert again.encode("the cat").tolist() == tokenizer.encode("the cat").tolist()


def test_numbers_are_tokens():
    numbers = NumbersTokenizer(13, without=[7])
    assert numbers.block.tokens == ("0", "1", "2", "3", "4", "5", "6", "8", "9", "10", "11", "12")
    assert numbers.encode("12 8\n 0").tolist() == [11, 7, 0]
    assert numbers.decode(np.array([11, 7, 0])) == "12 8 0"
    assert numbers.encode("").tolist() == []
    again = NumbersTokenizer.from_state(json.loads(json.dumps(numbers.state())))
    assert again.block == numbers.block
    for wrong in ("7", "13", "-1", "012", "a"):
        with pytest.raises(ValueError, match=f"'{wrong}' is no token; numbers from 0 to 12 but 7 are"):
            numbers.encode(f"3 {wrong}")
    with pytest.raises(ValueError, match=r"ids must be 0 .. 11"):
        numbers.decode(np.array([12]))


def test_numbers_of_texts():
    assert len(NumbersTokenizer.fit(["1 2", "30\n4"]).block) == 31
    for texts, message in (
        (["1 -2"], "'-2' is no number from 0 to 1048575"),
        (["9" * 5000], "'99999999999999999999' is no number"),
        (["1048576"], "numbers from 0 to 1048575 can be tokens, got 1048576"),
        ([" "], "numbers from 0 to 1048575 can be tokens, got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            NumbersTokenizer.fit(texts)


def test_a_learned_token_is_short_enough_to_be_read_again():
    """Of one odd file, whose words are rows of one sign."""
    bpe = BpeTokenizer.train([("=" * 3000 + " ") * 50, "an ode"], 300)
    assert max(map(len, bpe.block.tokens)) <= LONGEST_NAME
    again = BpeTokenizer.from_state(json.loads(json.dumps(bpe.state())))
    assert again.encode("=" * 999).tolist() == bpe.encode("=" * 999).tolist()
