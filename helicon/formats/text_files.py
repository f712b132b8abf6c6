"""Text files of any encoding: byte order marks, UTF-8, an encoding that is named, or one that is estimated.

All texts that Helicon reads come through here: documents, captions, lyrics, manifests. Line ends become LF.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from charset_normalizer import from_bytes

from helicon.formats.files import open_regular
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.read_report import ReadReport

AUTO = "auto"  # encoding that is found out for each file
REPLACEMENT = "\ufffd"  # stands for what is not in the encoding, as Unicode recommends (chapter 3.9)
BLOCK = 1 << 20  # bytes of a file that are looked at together
SURVEYED = 256 << 20  # bytes of a file that are looked at, more than any text that is read in full may have
HEAD = 1 << 12  # bytes by which UTF-16 without a mark is known
LEAST_PAIRS = 4  # of bytes, by which it is: `a`, NUL, `b` may be what they are
SAMPLE = 1 << 16  # bytes, of lines with other letters than ASCII's, by which an encoding is estimated
LEAST_SAMPLE = 1 << 11  # bytes: a shorter sample is repeated, as the estimate counts on frequencies
# Byte order mark -> its codec; UTF-32's first, since that of UTF-16 is the beginning of one
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
# Encodings that are estimated, in order of how common they are, which decides between equally likely ones
ESTIMATED = (
    "cp1252", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1250", "cp1253", "cp1254",
    "cp1255", "cp1256", "cp874", "cp1257", "cp1258", "mac_roman",
)  # fmt: skip
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as the error handler `surrogateescape` has them
OTHER_LINES = re.compile(rb"[^\r\n]*[\x80-\xff][^\r\n]*")  # lines with a byte that is not ASCII


class TextEncoding(NamedTuple):
    """Encoding of a file: its codec, and what a report says of such files, empty for UTF-8."""

    codec: str
    words: str = ""


def check_encoding(name: str) -> str:
    """Return the name of an encoding of text; ValueError for any that Python does not have, AUTO is accepted."""
    try:
        if name == AUTO or (isinstance("a".encode(name), bytes) and isinstance(b"".decode(name), str)):
            return name
    except (LookupError, ValueError):  # ValueError: a NUL, or codecs such as `undefined`
        pass
    shown = printable(name, MAX_QUOTED)
    raise ValueError(f"encoding {shown!r}: auto, or one that Python has, such as cp1252, gb18030 or utf-16-le")


def read_text(path: str | os.PathLike[str], encoding: str = AUTO) -> tuple[str, ReadReport]:
    """Read a text file.

    Args:
        path: of a regular file.
        encoding: of the text, unless a byte order mark or other letters in UTF-8 say otherwise; AUTO estimates it.

    Returns:
        The text without its byte order mark, with LF as line ends; and a report that counts files of other encodings
        than UTF-8, bytes that are replaced by U+FFFD, and line ends that are converted.

    Raises:
        ValueError: no text in any encoding that can be estimated.
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        # No more than the size: what grows meanwhile, or has none as in /proc, need not end
        return decode_text(file.read(os.fstat(file.fileno()).st_size), encoding)


def decode_text(data: bytes, encoding: str = AUTO) -> tuple[str, ReadReport]:
    """Decode the content of a text file.

    Args:
        data: content of the file.
        encoding: as in `read_text`.

    Returns:
        The text and its report, as `read_text` returns them.

    Raises:
        ValueError: no text in any encoding that can be estimated.
    """
    report = ReadReport()
    codec, words = detect(io.BytesIO(data), encoding)
    if words:
        report.add(f"files {words}")
    text = data.decode(codec, "replace")
    if REPLACEMENT in text:
        there = data.count(REPLACEMENT.encode()) if codec.startswith("utf-8") else 0  # in the file itself
        name = "UTF-8" if codec.startswith("utf-8") else codec
        report.add(f"characters that are not {name}, read as U+FFFD", text.count(REPLACEMENT) - there)
    if "\r" in text:
        report.add("line ends CR LF or CR, read as LF", text.count("\r"))
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, report


def open_text(path: str | os.PathLike[str], encoding: str = AUTO) -> tuple[io.TextIOWrapper, TextEncoding]:
    """Open a text file for reading by lines, whatever its size: lines end with LF, and bad bytes become U+FFFD.

    Args:
        path: of a regular file.
        encoding: as in `read_text`.

    Returns:
        The open file, and its `TextEncoding`.

    Raises:
        ValueError: no text in any encoding that can be estimated.
        OSError: the file cannot be read.
    """
    file = open_regular(path)
    try:
        detected = detect(file, encoding)
        file.seek(0)
        return io.TextIOWrapper(file, encoding=detected.codec, errors="replace"), detected
    except BaseException:
        file.close()
        raise


def detect(file: BinaryIO, encoding: str = AUTO) -> TextEncoding:
    """Find the encoding of a file.

    A byte order mark decides; then what is UTF-8 is UTF-8, also with bad bytes between its letters. An encoding that is
    named is that of all other files, also of those that have bytes of ASCII alone, as some encodings of Japanese do.

    Args:
        file: read from its beginning.
        encoding: of the text unless the file says otherwise; AUTO estimates it.

    Returns:
        A `TextEncoding`.

    Raises:
        ValueError: no text in any encoding that can be estimated.
    """
    head = file.read(HEAD)
    for mark, codec in MARKS.items():
        if head.startswith(mark):
            name = codec.upper()
            return TextEncoding(codec, "" if codec == "utf-8-sig" else f"in {name}")
    if encoding == AUTO and (wide := _utf16(head)):
        return TextEncoding(wide, "in UTF-16 without its mark")
    file.seek(0)
    letters, bad, nul, sample = _survey(file)
    if letters >= max(1, bad) or (encoding == AUTO and not bad):
        return TextEncoding("utf-8")
    if encoding != AUTO:
        return TextEncoding(encoding, f"in {encoding}")
    estimated = "" if nul else estimate(sample)
    if not estimated:
        raise ValueError("no text: neither UTF-8 nor another encoding that can be estimated; --data.encoding names one")
    return TextEncoding(estimated, f"estimated to be in {estimated}")


def _utf16(head: bytes) -> str:
    """Return the codec of UTF-16 without a mark, by the zeros in every second byte of Latin letters; else ''."""
    pairs = len(head) // 2
    low, high = head[: 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    if pairs >= LEAST_PAIRS and max(low, high) > 0.4 * pairs and min(low, high) < 0.05 * pairs:
        return "utf-16-le" if high > low else "utf-16-be"
    return ""


def _survey(file: BinaryIO) -> tuple[int, int, bool, bytes]:
    """Count the evidence for UTF-8 in a file.

    Args:
        file: read to its end, or up to SURVEYED bytes.

    Returns:
        Bytes that UTF-8 needs beyond one for each character; bytes that are not UTF-8; whether there is a zero; and
        lines with other bytes than ASCII's, if there are bad ones.
    """
    letters, bad, nul, lines, taken = 0, 0, False, [], 0
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for _ in range(SURVEYED // BLOCK):
        if not (block := file.read(BLOCK)):
            break
        text = decoder.decode(block)
        letters += len(block) - len(text)
        nul = nul or b"\0" in block
        if block.isascii():
            continue
        bad += len(NOT_UTF8.findall(text))
        for line in _other_lines(block, SAMPLE - taken):
            lines.append(line)
            taken += len(line)
    cut = len(decoder.decode(b"", final=True))  # the beginning of a letter
    return letters - cut, bad + cut, nul, b"\n".join(lines)


def _other_lines(block: bytes, most: int) -> Iterator[bytes]:
    """Yield lines that are not ASCII, up to some bytes; the last is cut at a space."""
    for match in OTHER_LINES.finditer(block):
        if most <= 0:
            return
        line = match[0] if len(match[0]) <= most else match[0][:most].rpartition(b" ")[0] or match[0][:most]
        most -= len(match[0])
        yield line


def estimate(sample: bytes) -> str:
    """Estimate the encoding of a text that is not UTF-8.

    Args:
        sample: of its bytes.

    Returns:
        One of ESTIMATED; empty if the sample is text in none of them.
    """
    if not sample:
        return ""
    repeated = (sample + b"\n") * -(-LEAST_SAMPLE // len(sample)) if len(sample) < LEAST_SAMPLE else sample
    ranked = []
    for match in from_bytes(repeated, cp_isolation=list(ESTIMATED)):
        codecs_of_text = [ESTIMATED.index(name) for name in match.could_be_from_charset if name in ESTIMATED]
        if codecs_of_text:  # rounded, as smaller differences say little of short texts
            ranked.append((round(match.chaos, 1), -round(match.coherence, 1), min(codecs_of_text)))
    return ESTIMATED[min(ranked)[2]] if ranked else ""
