"""What all tokenizers have in common, and how several media go through any of them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from helicon.formats.read_report import ReadReport
from helicon.modalities import registry
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers import abilities
from helicon.tokenizers.abilities import CountsLosses, Words
from helicon.tokenizers.base import Tokenizer, rate_of
from helicon.tokenizers.codec import CodecTokenizer, decode_all, encode_all, tokenizer_weights
from helicon.tokenizers.lyrics import LyricsTokenizer
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.pcm import PcmTokenizer

MAX_MEMBERS = 8


def public(kind: type) -> set[str]:
    return {name for name in {*vars(kind), *inspect.get_annotations(kind)} if not name.startswith("_")}


class Digits(Tokenizer[str]):
    """The least that a tokenizer is."""

    block = TokenBlock("digits", tuple("0123456789"))

    def encode(self, media: str) -> np.ndarray:
        return np.array([int(digit) for digit in media], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        return "".join(map(str, ids))


class Counting(Digits, CountsLosses):
    """Leaves out what is no digit, and counts it."""

    def encode_with_report(self, media: str) -> tuple[np.ndarray, ReadReport]:
        report = ReadReport()
        report.add("others", sum(not each.isdecimal() for each in media))
        return super().encode("".join(filter(str.isdecimal, media))), report


class Together(CodecTokenizer[str]):
    """Letters by their number, several texts at once, whose lengths are kept."""

    def __init__(self) -> None:
        super().__init__(None, 12, {"fingerprint": "0", "config": {"width": 1}}, {}, "letters")
        self.taken: list[list[int]] = []

    def encode_many(self, media: Any) -> list[np.ndarray]:
        self.taken.append(list(map(len, media)))
        return [np.frombuffer(each.encode(), np.uint8).astype(np.int64) - ord("a") for each in media]

    def decode_many(self, ids: Any) -> list[str]:
        self.taken.append(list(map(len, ids)))
        return ["".join(chr(ord("a") + i) for i in each) for each in ids]

    def at_level(self, level: int, block: str) -> Together:
        return self


def test_the_base_class_stays_small():
    assert public(Tokenizer) == {
        "automaton", "block", "decode", "describe", "encode", "read_options", "state", "units"
    }  # fmt: skip
    assert len(public(Tokenizer)) <= MAX_MEMBERS


def test_an_ability_is_a_few_members_with_a_text():
    kinds = [
        kind for _, kind in inspect.getmembers(abilities, inspect.isclass) if kind.__module__ == abilities.__name__
    ]
    assert len(kinds) == 6
    assert all(1 <= len(public(kind)) <= 3 and kind.__doc__ for kind in kinds)


def test_all_that_is_left_out_has_a_default():
    tokenizer = Digits()
    assert (tokenizer.automaton, dict(tokenizer.read_options), rate_of(tokenizer)) == (None, {}, None)
    assert (tokenizer.units(np.arange(3)), tokenizer.describe(), tokenizer_weights(tokenizer)) == ({}, {}, {})
    assert tokenizer.state() == {"block": "digits"}
    with pytest.raises(TypeError):
        tokenizer.read_options["size"] = 8  # type: ignore[index]
    with pytest.raises(TypeError, match="abstract"):
        Tokenizer()  # type: ignore[abstract]


def test_an_ability_is_kept_in_full_or_not_declared():
    class Half(Digits, Words):
        def parse(self, text: str) -> str:
            return text

    with pytest.raises(TypeError, match="drop"):
        Half()  # type: ignore[abstract]


def test_tokenizers_of_a_constant_rate_say_so():
    assert rate_of(PcmTokenizer(8000, 2)) == 16000
    assert rate_of(MidiTokenizer(registry.spec("music", "musenet").fit([]).table)) is None  # type: ignore[attr-defined]
    assert rate_of(LyricsTokenizer()) is rate_of(None) is None


def encoded(tokenizer: Tokenizer, *texts: str) -> list[Any]:
    return [(ids.tolist(), lost) for ids, lost in encode_all(tokenizer, texts)]


def test_media_go_one_by_one_or_together():
    assert encoded(Digits(), "12", "") == [([1, 2], {}), ([], {})]
    assert decode_all(Digits(), [np.array([3, 0]), np.array([7])]) == ["30", "7"]
    assert encoded(Counting(), "1a2", "3") == [([1, 2], {"others": 1}), ([3], {})]
    codec = Together()
    assert encoded(codec, "ab", "c") == [([0, 1], {}), ([2], {})]
    assert decode_all(codec, [np.array([0]), np.array([1, 1])]) == ["a", "bb"]
    assert codec.taken == [[2, 1], [1, 2]]
    assert (codec.encode("ba").tolist(), codec.decode(np.array([2]))) == ([1, 0], "c")
    assert codec.block.tokens[:2] == ("v00", "v01")
    assert codec.describe() == {"codec": "0", "width": 1}
