"""Text. The slot `text` holds byte pairs, bytes or numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_type_hints

from helicon.formats.files import write_text
from helicon.formats.read_report import ReadReport
from helicon.formats.text_documents import END_OF_TEXT, check_separator, mark, separate, unmarked
from helicon.formats.text_files import AUTO, check_encoding, read_text
from helicon.modalities.base import Modality, TokenizerSpec, parse_amount
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer, NumbersTokenizer

DOCUMENT_BYTES = 1 << 14  # of UTF-8 in a training example at most: a few contexts of 1024 byte pairs
MAX_BYTES = 128 << 20  # of a file, all of which is in memory while it is tokenized
VOCABULARY = 4096  # tokens; GPT-2's 50,257 would be most of the weights of a small model


@dataclass(frozen=True, kw_only=True)
class TextSource:
    r"""Options of how files of text are written.

    Args:
        encoding: of texts, captions and manifests that are not UTF-8 and have no byte order mark, such as cp1252;
            unless given, that of each file is estimated.
        separator: text between the documents of a file, beside <|endoftext|>, which always is; `\n` is a line end.
        captions: lines or whole, whether a text file beside another medium has a caption a line, of which each epoch
            draws one, or is one caption; unless given, what most files of the folder look like decides.
    """

    encoding: str = AUTO
    separator: str = END_OF_TEXT
    captions: Literal["auto", "lines", "whole"] = AUTO

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
        check_separator(self.separator)
        if self.captions not in (accepted := get_args(get_type_hints(TextSource)["captions"])):
            raise ValueError(f"captions {self.captions!r} is not one of {', '.join(accepted)}")


@dataclass(frozen=True, kw_only=True)
class TextFitting:
    """Options of learning a vocabulary of text.

    Args:
        vocabulary: tokens of a text vocabulary that is learned (bpe).
    """

    vocabulary: int = VOCABULARY


def read_file(path: Path, source: TextSource) -> tuple[str, ReadReport]:
    """Read a file of any encoding.

    Args:
        path: of a regular file.
        source: `TextSource`, its encoding and separator.

    Returns:
        The text, as `text_files.read_text` returns it, with END_OF_TEXT between documents; and the report.

    Raises:
        ValueError: no text in any encoding that can be estimated.
        OSError: the file cannot be read.
    """
    text, report = read_text(path, source.encoding)
    text, marks = mark(text, check_separator(source.separator))
    report.add("marks between documents", marks)
    return text, report


def write(media: str, path: Path) -> None:
    """Write a UTF-8 file, atomically and without converting line ends.

    Args:
        media: the text.
        path: of the file.
    """
    write_text(path, media)


def documents(media: str) -> list[str]:
    """Split a text into its documents, and these into texts of at most DOCUMENT_BYTES."""
    return [part for document in separate(media) for part in _parts(document)]


def _parts(document: str) -> list[str]:
    """Split a document at DOCUMENT_BYTES, after the last line end if there is one, else a character."""
    data, start, parts = document.encode(), 0, []
    while start < len(data):
        end = start + DOCUMENT_BYTES
        if end < len(data):
            line_end = data.rfind(b"\n", start, end) + 1
            while not line_end and data[end] & 0xC0 == 0x80:  # a continuation byte of UTF-8
                end -= 1
            end = line_end or end
        parts.append(data[start:end].decode())
        start = end
    return parts


def divide(media: str, share: float) -> tuple[str, str]:
    """Divide a text into its beginning and its end, after a mark between documents or a line end where one is near.

    Args:
        media: the text.
        share: of its UTF-8 bytes before the end, 0 to 1.

    Returns:
        (beginning, end). The end is longer than asked for by at most a quarter.
    """
    data = media.encode()
    at = round(share * len(data))
    near, end = max(0, at - (len(data) - at) // 4), END_OF_TEXT.encode()
    marked = data.rfind(end, max(0, near - len(end)), at + len(end) - 1)  # one that stands across is not cut
    at = marked + len(end) if marked >= 0 else data.rfind(b"\n", near, at) + 1 or at
    while at < len(data) and data[at] & 0xC0 == 0x80:  # a continuation byte of UTF-8
        at -= 1
    return data[:at].decode(), data[at:].decode()


def fit_bpe(texts: Iterable[str], vocabulary: int = VOCABULARY) -> BpeTokenizer:
    """Learn byte pairs (byte-level BPE, as GPT-2's).

    Args:
        texts: content of the training files.
        vocabulary: greatest number of tokens.

    Returns:
        The tokenizer.
    """
    return BpeTokenizer.train(texts, vocabulary)


def paired(media: str) -> str:
    """Normalize a caption, a text: each run of white space, line ends and marks included, becomes one space."""
    return " ".join(unmarked(media).split())


def survey(media: str) -> str:
    """Return a text that tokenizers are fitted to: the documents of a text without the marks between them."""
    return "\n".join(separate(media))


def keep(media: str, amount: str) -> str:
    """Cut text to its beginning.

    Args:
        media: the text.
        amount: share of the characters, such as `0.5`.

    Returns:
        Text of the beginning.

    Raises:
        ValueError: an invalid share.
    """
    return media[: round(parse_amount(amount, len(media)))]


TEXT = Modality(
    name="text",
    suffixes=(".txt", ".md"),
    read_file=read_file,
    write=write,
    separate=separate,
    documents=documents,
    divide=divide,
    paired=paired,
    captions=True,
    typed=str,
    keep=keep,
    survey=survey,
    max_bytes=MAX_BYTES,
    source_options=TextSource,
    fitting=TextFitting,
    media={"text": str},
    slots={
        "text": {
            "bpe": TokenizerSpec(make=fit_bpe, from_state=BpeTokenizer.from_state),
            "bytes": TokenizerSpec(make=BytesTokenizer, from_state=BytesTokenizer.from_state, needs_fit=False),
            "numbers": TokenizerSpec(make=NumbersTokenizer.fit, from_state=NumbersTokenizer.from_state),
        }
    },
)
