"""Text files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from helicon.formats.files import open_regular, write_text
from helicon.formats.score import ReadReport
from helicon.modalities.base import Modality, TokenizerSpec, amount_of
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer, NumbersTokenizer

DOCUMENT_BYTES = 1 << 14
MAX_BYTES = 128 << 20  # of a file, which is read whole
VOCABULARY = 4096  # tokens


@dataclass(frozen=True, kw_only=True)
class TextFitting:
    """How a vocabulary of text is learned.

    Args:
        vocabulary: tokens of a text vocabulary that is learned (bpe).
    """

    vocabulary: int = VOCABULARY


def read_file(path: Path) -> tuple[str, ReadReport]:
    """Text of a UTF-8 file, without a byte order mark; ValueError for other encodings."""
    try:
        with open_regular(path) as file:
            # No more than the size: what grows meanwhile, or has none as in /proc, need not end
            data = file.read(os.fstat(file.fileno()).st_size)
        return data.decode().removeprefix("\ufeff"), ReadReport()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None


def write(media: str, path: Path) -> None:
    """A UTF-8 file with its newlines as they are."""
    write_text(path, media)


def documents(media: str) -> list[str]:
    """Stretches of at most 16 KiB that end with a line where one ends, or else with a character."""
    data, start, parts = media.encode(), 0, []
    while start < len(data):
        end = start + DOCUMENT_BYTES
        if end < len(data):
            line_end = data.rfind(b"\n", start, end) + 1
            while not line_end and data[end] & 0xC0 == 0x80:  # the middle of a character
                end -= 1
            end = line_end or end
        parts.append(data[start:end].decode())
        start = end
    return parts


def fit_bpe(texts: Iterable[str], vocabulary: int = VOCABULARY) -> BpeTokenizer:
    """Byte pairs of the texts given."""
    return BpeTokenizer.train(texts, vocabulary)


def paired(media: str) -> str:
    """A caption is one line without spaces around it."""
    return " ".join(media.split())


def keep(media: str, amount: str) -> str:
    """The first share of the characters."""
    return media[: round(amount_of(amount, len(media)))]


TEXT = Modality(
    name="text",
    suffixes=(".txt", ".md"),
    read_file=read_file,
    write=write,
    documents=documents,
    paired=paired,
    typed=str,
    keep=keep,
    max_bytes=MAX_BYTES,
    fitting=TextFitting,
    slots={
        "text": {
            "bpe": TokenizerSpec(make=fit_bpe, from_state=BpeTokenizer.from_state),
            "bytes": TokenizerSpec(make=BytesTokenizer, from_state=BytesTokenizer.from_state, needs_fit=False),
            "numbers": TokenizerSpec(make=NumbersTokenizer.fit, from_state=NumbersTokenizer.from_state),
        }
    },
)
