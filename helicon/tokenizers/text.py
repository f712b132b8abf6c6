"""Text to bytes or to byte pairs, exactly and back, whatever the script; and numbers, which are tokens already."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from helicon.formats.checked import LONGEST_NAME, fields, text, whole, wholes
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.base import Tokenizer, check_ids
from helicon.tokenizers.bpe_json import load_bpe

BYTES = 256
MOST_NUMBERS = 1 << 20
LONGEST_WORD = 1 << 14  # characters, of which merges are learned at a time
_WORD = re.compile(r"\S+")


def _utf8(text: str) -> bytes:
    """UTF-8 of a text; ValueError for half of a surrogate pair, which has none."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        what = f"U+{ord(text[error.start]):04X} at character {error.start}"
        raise ValueError(f"text holds {what}, half of a surrogate pair, which UTF-8 cannot hold") from None


def _parts(text: str) -> list[str]:
    """A text whole, or cut where it has a stretch without a space that is longer than any word: merges are learned in
    words, in time and memory that grow with the longest.
    """
    if all(len(word[0]) < LONGEST_WORD for word in _WORD.finditer(text)):
        return [text]
    return [text[start : start + LONGEST_WORD] for start in range(0, len(text), LONGEST_WORD)]


def _units(text: str) -> dict[str, float]:
    return {"byte": float(len(text.encode())), "character": float(len(text))}


class BytesTokenizer(Tokenizer[str]):
    """A token for each byte of UTF-8, named by its character where that can be seen (`A`), or else `0x0A`."""

    def __init__(self, block: str = "text") -> None:
        self.block = TokenBlock(block, tuple(chr(b) if 0x21 <= b <= 0x7E else f"0x{b:02X}" for b in range(BYTES)))

    def encode(self, media: str) -> np.ndarray:
        """int64 [bytes]; ValueError for text that UTF-8 cannot hold."""
        return np.frombuffer(_utf8(media), np.uint8).astype(np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Text of any bytes; what is not UTF-8 becomes U+FFFD. ValueError for ids outside the block."""
        return check_ids(ids, BYTES).astype(np.uint8).tobytes().decode(errors="replace")

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Amounts that a loss is told by."""
        return _units(self.decode(ids))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of `state`."""
        return cls(text("block", fields("state", state, ("block",))["block"]))


class BpeTokenizer(Tokenizer[str]):
    """Byte-level byte pair encoding (GPT-2): any text has ids, and frequent stretches are one token.

    Token names are the library's: each byte as one visible character, `Ġ` for a space.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, block: str = "text") -> None:
        self._tokenizer = tokenizer
        names = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        self.block = TokenBlock(block, tuple(name for name, _ in names))

    @staticmethod
    def train(texts: Iterable[str], size: int, block: str = "text") -> BpeTokenizer:
        """Learns at most `size` tokens, the 256 bytes among them. ValueError for a smaller size, or lone surrogates."""
        if size < BYTES:
            raise ValueError(f"size must be at least {BYTES}, the number of bytes, got {size}")
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
        tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=alphabet, max_token_length=LONGEST_NAME, show_progress=False
        )
        tokenizer.train_from_iterator((part for text in texts if _utf8(text) for part in _parts(text)), trainer)
        return BpeTokenizer(tokenizer, block)

    def encode(self, media: str) -> np.ndarray:
        """int64 [T]; ValueError for text that UTF-8 cannot hold."""
        _utf8(media)
        return np.array(self._tokenizer.encode(media).ids, np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Text of any ids; bytes that are not UTF-8 become U+FFFD. ValueError for ids outside the block."""
        return self._tokenizer.decode(check_ids(ids, len(self.block)).tolist(), skip_special_tokens=False)

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Amounts that a loss is told by."""
        return _units(self.decode(ids))

    def state(self) -> dict[str, Any]:
        """JSON-able: the library's own form."""
        return {"block": self.block.name, "bpe": json.loads(self._tokenizer.to_str())}

    @staticmethod
    def from_state(state: dict[str, Any]) -> BpeTokenizer:
        """Inverse of `state`."""
        state = fields("state", state, ("block", "bpe"))  # type: ignore[assignment]
        return BpeTokenizer(load_bpe(state["bpe"]), text("block", state["block"]))


class NumbersTokenizer(Tokenizer[str]):
    """Tokens that are named by their numbers, `12 7 9`: for a model whose own tokenizer is not at hand."""

    def __init__(self, size: int, without: Iterable[int] = (), block: str = "text") -> None:
        """Numbers 0 .. size-1, but for some that are no tokens; ValueError for more than 1,048,576 of them."""
        if not 1 <= size <= MOST_NUMBERS:
            raise ValueError(f"numbers from 0 to {MOST_NUMBERS - 1} can be tokens, got {size - 1}")
        self.size, self.without = size, sorted(set(without))
        left_out = set(self.without)
        self.block = TokenBlock(block, tuple(str(number) for number in range(size) if number not in left_out))

    @staticmethod
    def fit(texts: Iterable[str], block: str = "text") -> NumbersTokenizer:
        """All numbers up to the largest in the texts; ValueError for what is no number, or without any."""
        largest = -1
        for word in (match[0] for each in texts for match in _WORD.finditer(each)):
            if not (word.isascii() and word.isdecimal()) or len(word) > len(str(MOST_NUMBERS)):
                raise ValueError(f"{word[:20]!r} is no number from 0 to {MOST_NUMBERS - 1}")
            largest = max(largest, int(word))
        return NumbersTokenizer(largest + 1, block=block)

    def encode(self, media: str) -> np.ndarray:
        """int64 [T]; ValueError for a word that is none of the numbers."""
        words, index = media.split(), self.block.index
        for word in words:
            if word not in index:
                but = f" but {', '.join(map(str, self.without))}" if self.without else ""
                raise ValueError(f"{word[:20]!r} is no token; numbers from 0 to {self.size - 1}{but} are")
        return np.array([index[word] for word in words], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Numbers with spaces between. ValueError for ids outside the block."""
        return " ".join(self.block.tokens[i] for i in check_ids(ids, len(self.block)))

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {"block": self.block.name, "size": self.size, "without": self.without}

    @staticmethod
    def from_state(state: dict[str, Any]) -> NumbersTokenizer:
        """Inverse of `state`."""
        state = fields("state", state, ("block", "size", "without"))  # type: ignore[assignment]
        without = wholes("without", state["without"], MOST_NUMBERS, 0, MOST_NUMBERS)
        return NumbersTokenizer(whole("size", state["size"], 1, MOST_NUMBERS), without, text("block", state["block"]))
