"""Strict reader of a checkpoint's zip archive: entries uncompressed, none twice, none beyond the end of the file.

The format is PKWARE's APPNOTE.TXT with ZIP64, as `torch.save` writes it. It is parsed by hand, so that PyTorch cannot
take the same bytes for another archive than the one that was checked.
"""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO, NamedTuple

MAX_DIRECTORY_BYTES = 32_000_000  # of the list of entries, some 100 bytes a tensor; read into memory whole
MAX_PICKLE_BYTES = 64_000_000  # of `data.pkl`, which is read into memory whole
# Entries that torch.save writes
ENTRY_NAME = re.compile(
    r"[^/\0]+/(?:data\.pkl|data/[0-9]+|byteorder|version|\.format_version|\.storage_alignment|\.data/.+)"
)
# Records of APPNOTE.TXT: end of central directory, its ZIP64 locator and record, central and local file header
_END, _LOCATOR, _END_64 = (struct.Struct(form) for form in ("<4s4H2IH", "<4sIQI", "<4sQ2H2I4Q"))
_ENTRY, _LOCAL = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")
_ZIP64_MARK = 0xFFFFFFFF  # in a 4-byte field whose value stands in the extra field


class ZipEntry(NamedTuple):
    """Entry of the archive: byte offset of its local header, and size of its data in bytes."""

    start: int
    size: int


def read_archive(file: BinaryIO) -> tuple[bytes, dict[str, int]]:
    """Return (bytes of `data.pkl`, key of a tensor storage -> its size in bytes) of an open checkpoint file.

    Raises:
        ValueError: the file is no archive that torch.save writes.
    """
    size = os.fstat(file.fileno()).st_size
    entries = _read_directory(file, size)
    _check_local_headers(file, entries)
    roots = {name.partition("/")[0] for name in entries}
    parts = {name.partition("/")[2]: entry for name, entry in entries.items()}
    if len(roots) != 1 or "data.pkl" not in parts:
        raise ValueError("no data.pkl in it, or more than one")
    storages = {name[5:]: entry.size for name, entry in parts.items() if name.startswith("data/")}
    start, length = parts["data.pkl"]
    if length > MAX_PICKLE_BYTES:
        raise ValueError(f"its data.pkl has {length:,} bytes, {MAX_PICKLE_BYTES:,} are accepted")
    header = _LOCAL.unpack(_read(file, start, _LOCAL.size))
    return _read(file, start + _LOCAL.size + header[-2] + header[-1], length), storages


def _read_directory(file: BinaryIO, size: int) -> dict[str, ZipEntry]:
    """Return the entries of the central directory by name; `size` is that of the file in bytes."""
    at = size - _END.size
    sign, *_, count, length, start, comment = _END.unpack(_read(file, at, _END.size))
    if sign != b"PK\5\6" or comment:
        raise ValueError("no zip archive that ends with its directory")
    locator = _read(file, max(0, at - _LOCATOR.size), _LOCATOR.size)
    if locator.startswith(b"PK\6\7"):
        at = _LOCATOR.unpack(locator)[2]
        sign, *_, count, length, start = _END_64.unpack(_read(file, at, _END_64.size))
        if sign != b"PK\6\6":
            raise ValueError("its directory is damaged")
    if start + length != at or length > MAX_DIRECTORY_BYTES:
        raise ValueError("its directory is damaged, or too long")
    directory, place, entries, total = _read(file, start, length), 0, {}, 0
    while place < length:
        name, entry, place = _parse_entry(directory, place)
        if name.lower() in entries or not ENTRY_NAME.fullmatch(name):
            raise ValueError("an entry in it is there twice, or is none of a checkpoint")
        entries[name.lower()], total = entry, total + entry.size
        if entry.start + _LOCAL.size + entry.size > start:
            raise ValueError("an entry in it is larger than the file")
    if len(entries) != count or total > start:
        raise ValueError("its entries are not as many or as large as it says")
    return entries


def _check_local_headers(file: BinaryIO, entries: dict[str, ZipEntry]) -> None:
    """Validate that each entry begins with a local header of its name, the first one at byte 0; else ValueError.

    PyTorch takes a file that begins with anything else for its old format: a bare pickle, which was not checked.
    """
    if min((entry.start for entry in entries.values()), default=-1) != 0:
        raise ValueError("no zip archive from its first byte on")
    for name, entry in entries.items():
        sign, *_, length, _ = _LOCAL.unpack(_read(file, entry.start, _LOCAL.size))
        if sign != b"PK\3\4" or _read(file, entry.start + _LOCAL.size, length).lower() != name.encode("utf-8"):
            raise ValueError("an entry in it is not where its directory says")


def _parse_entry(directory: bytes, place: int) -> tuple[str, ZipEntry, int]:
    """Parse the directory record at byte `place`; return name, entry, and the place of the next record."""
    values = _ENTRY.unpack_from(directory, place)
    sign, method, (packed, size, length, more, comment), start = values[0], values[4], values[8:13], values[-1]
    if sign != b"PK\1\2" or method != 0:
        raise ValueError("its entries are compressed, or its directory is damaged")
    place += _ENTRY.size
    name = directory[place : place + length].decode("utf-8")
    extra = directory[place + length : place + length + more]
    wide = [value for value in (size, packed, start) if value == _ZIP64_MARK]
    if wide:
        numbers = iter(struct.unpack_from(f"<{len(wide)}Q", extra, _zip64_offset(extra)))
        size, packed, start = (next(numbers) if value == _ZIP64_MARK else value for value in (size, packed, start))
    if packed != size:
        raise ValueError("its entries are compressed")
    return name, ZipEntry(start, size), place + length + more + comment


def _zip64_offset(extra: bytes) -> int:
    """Return the byte offset of the ZIP64 numbers in an extra field."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            return place + 4
        place += 4 + length
    raise ValueError("its directory is damaged")


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    """Read `length` bytes from byte `start` on; ValueError where there are fewer."""
    if start < 0:
        raise ValueError("too short")
    file.seek(start)
    content = file.read(length)
    if len(content) != length:
        raise ValueError("cut off")
    return content
