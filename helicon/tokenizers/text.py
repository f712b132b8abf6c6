"""Tokenizers of text: lossless bytes and byte-level BPE, for any script; and numbers, which are token ids already."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from helicon.formats.checked import LONGEST_NAME, fields, integer, integers, text
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.base import Tokenizer, check_ids
from helicon.tokenizers.bpe_json import load_bpe

BYTES = 256  # values of a byte
MAX_NUMBERS = 1 << 20  # tokens of a `NumbersTokenizer`: a bound for states from elsewhere
LONGEST_WORD = 1 << 14  # characters: BPE training takes time and memory that grow with the longest word
_WORD = re.compile(r"\S+")  # a run without white space


def _utf8(text: str) -> bytes:
    """Encode a text as UTF-8; ValueError for half of a surrogate pair, which has no encoding."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        character = f"U+{ord(text[error.start]):04X} at character {error.start}"
        raise ValueError(f"text holds {character}, half of a surrogate pair, which UTF-8 cannot hold") from None


def _parts(text: str) -> list[str]:
    """Return the text as it is, or cut into parts of LONGEST_WORD where a word is longer, for BPE training."""
    if all(len(word[0]) < LONGEST_WORD for word in _WORD.finditer(text)):
        return [text]
    return [text[start : start + LONGEST_WORD] for start in range(0, len(text), LONGEST_WORD)]


def _units(text: str) -> dict[str, float]:
    return {"byte": float(len(text.encode())), "character": float(len(text))}


class BytesTokenizer(Tokenizer[str]):
    """Tokenizer with one token for each byte of UTF-8, named by its printable character (`A`), or else `0x0A`."""

    def __init__(self, block: str = "text") -> None:
        self.block = TokenBlock(block, tuple(chr(b) if 0x21 <= b <= 0x7E else f"0x{b:02X}" for b in range(BYTES)))

    def encode(self, media: str) -> np.ndarray:
        """Encode a text to ids NumPy int64 [T], one for each byte of UTF-8.

        ValueError for text that UTF-8 cannot encode.
        """
        return np.frombuffer(_utf8(media), np.uint8).astype(np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Decode any ids NumPy int64 [T] to a text.

        Invalid UTF-8 becomes U+FFFD. ValueError for ids outside the block.
        """
        return check_ids(ids, BYTES).astype(np.uint8).tobytes().decode(errors="replace")

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units in which a loss on local ids NumPy int64 [T] is reported: {"byte": ..., "character": ...}."""
        return _units(self.decode(ids))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        return cls(text("block", fields("state", state, ("block",))["block"]))


class BpeTokenizer(Tokenizer[str]):
    """Tokenizer of byte-level byte pair encoding, as GPT-2's: lossless, with frequent strings as single tokens.

    Token names are the library's: each byte as one visible character, `Ġ` for a space.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, block: str = "text") -> None:
        self._tokenizer = tokenizer
        names = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        self.block = TokenBlock(block, tuple(name for name, _ in names))

    @staticmethod
    def train(texts: Iterable[str], size: int, block: str = "text") -> BpeTokenizer:
        """Train merges on texts.

        Args:
            texts: training data.
            size: greatest number of tokens, the 256 bytes included.
            block: name of the token block.

        Returns:
            Tokenizer.

        Raises:
            ValueError: a size below 256, or text that UTF-8 cannot encode.
        """
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
        """Encode a text to local ids NumPy int64 [T]; ValueError for text that UTF-8 cannot encode."""
        _utf8(media)
        return np.array(self._tokenizer.encode(media).ids, np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Decode any ids NumPy int64 [T] to a text.

        Invalid UTF-8 becomes U+FFFD. ValueError for ids outside the block.
        """
        return self._tokenizer.decode(check_ids(ids, len(self.block)).tolist(), skip_special_tokens=False)

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units in which a loss on local ids NumPy int64 [T] is reported: {"byte": ..., "character": ...}."""
        return _units(self.decode(ids))

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict that `from_state` restores.

        `block` is its name, `bpe` the JSON of the `tokenizers` library, parsed.
        """
        return {"block": self.block.name, "bpe": json.loads(self._tokenizer.to_str())}

    @staticmethod
    def from_state(state: dict[str, Any]) -> BpeTokenizer:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        state = fields("state", state, ("block", "bpe"))  # type: ignore[assignment]
        return BpeTokenizer(load_bpe(state["bpe"]), text("block", state["block"]))


class NumbersTokenizer(Tokenizer[str]):
    """Tokenizer of texts of token numbers, `12 7 9`: for a model whose text tokenizer is not available."""

    def __init__(self, size: int, without: Iterable[int] = (), block: str = "text") -> None:
        """Make a tokenizer of a range of numbers.

        Args:
            size: numbers are 0 .. size-1; at most 1,048,576 are accepted, ValueError for others.
            without: numbers that are no tokens.
            block: name of the token block.
        """
        if not 1 <= size <= MAX_NUMBERS:
            raise ValueError(f"numbers from 0 to {MAX_NUMBERS - 1} can be tokens, got {size - 1}")
        self.size, self.without = size, sorted(set(without))
        left_out = set(self.without)
        self.block = TokenBlock(block, tuple(str(number) for number in range(size) if number not in left_out))

    @staticmethod
    def fit(texts: Iterable[str], block: str = "text") -> NumbersTokenizer:
        """Fit to the largest number in some texts.

        Args:
            texts: several texts of numbers, separated by spaces.
            block: name of the token block.

        Returns:
            Tokenizer of all numbers up to the largest.

        Raises:
            ValueError: a word is no number, or there is none.
        """
        largest = -1
        for word in (match[0] for numbers in texts for match in _WORD.finditer(numbers)):
            if not (word.isascii() and word.isdecimal()) or len(word) > len(str(MAX_NUMBERS)):
                raise ValueError(f"{word[:20]!r} is no number from 0 to {MAX_NUMBERS - 1}")
            largest = max(largest, int(word))
        return NumbersTokenizer(largest + 1, block=block)

    def encode(self, media: str) -> np.ndarray:
        """Encode a text of numbers, separated by spaces, to local ids NumPy int64 [T].

        ValueError for any other word.
        """
        words, index = media.split(), self.block.index
        for word in words:
            if word not in index:
                but = f" but {', '.join(map(str, self.without))}" if self.without else ""
                raise ValueError(f"{word[:20]!r} is no token; numbers from 0 to {self.size - 1}{but} are")
        return np.array([index[word] for word in words], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Decode ids NumPy int64 [T] to a text of numbers, separated by spaces.

        ValueError for ids outside the block.
        """
        return " ".join(self.block.tokens[i] for i in check_ids(ids, len(self.block)))

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict that `from_state` restores: `block`, its name, `size` and `without`."""
        return {"block": self.block.name, "size": self.size, "without": self.without}

    @staticmethod
    def from_state(state: dict[str, Any]) -> NumbersTokenizer:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        state = fields("state", state, ("block", "size", "without"))  # type: ignore[assignment]
        without = integers("without", state["without"], MAX_NUMBERS, 0, MAX_NUMBERS)
        return NumbersTokenizer(integer("size", state["size"], 1, MAX_NUMBERS), without, text("block", state["block"]))
