"""Text files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from helicon.formats.files import write_text
from helicon.modalities.base import Modality, TokenizerKind
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer

DOCUMENT_BYTES = 1 << 14


def read(path: Path) -> str:
    """Text of a UTF-8 file, without a byte order mark; ValueError for other encodings."""
    try:
        return Path(path).read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None


def write(media: str, path: Path) -> None:
    """A UTF-8 file with its newlines as they are."""
    write_text(path, media)


def documents(media: str) -> Iterator[str]:
    """Stretches of at most 16 KiB that end with a line where one ends, or else with a character."""
    data, start = media.encode(), 0
    while start < len(data):
        end = start + DOCUMENT_BYTES
        if end < len(data):
            line_end = data.rfind(b"\n", start, end) + 1
            while not line_end and data[end] & 0xC0 == 0x80:  # the middle of a character
                end -= 1
            end = line_end or end
        yield data[start:end].decode()
        start = end


def fit_bpe(texts: Iterable[str], size: int = 8192, block: str = "text") -> BpeTokenizer:
    """Byte pairs of the texts given."""
    return BpeTokenizer.train(texts, size, block)


def fit_bytes(texts: Iterable[str], block: str = "text") -> BytesTokenizer:
    """Nothing to learn."""
    return BytesTokenizer(block)


TEXT = Modality(
    name="text",
    suffix=".txt",
    suffixes=frozenset({".md"}),
    read=read,
    write=write,
    documents=documents,
    slots={
        "text": {
            "bpe": TokenizerKind(fit_bpe, BpeTokenizer.from_state),
            "bytes": TokenizerKind(fit_bytes, BytesTokenizer.from_state),
        }
    },
)
