"""The zip archive of a checkpoint as PyTorch writes it: entries uncompressed, none twice, none beyond the file.

Read by hand and strictly, so that no other reader can take the same bytes for another archive.
"""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO, NamedTuple

LONGEST_DIRECTORY, LONGEST_PICKLE = 32_000_000, 64_000_000  # bytes: of the list of entries, and of `data.pkl`
NAME = re.compile(r"[^/\0]+/(?:data\.pkl|data/[0-9]+|byteorder|version|\.format_version|\.storage_alignment|\.data/.+)")
_END, _LOCATOR, _END_64 = (struct.Struct(form) for form in ("<4s4H2IH", "<4sIQI", "<4sQ2H2I4Q"))
_ENTRY, _LOCAL = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")
_LARGE = 0xFFFFFFFF  # for what stands in the extra field


class ZipEntry(NamedTuple):
    """Where an entry's header begins, and the bytes that it has."""

    start: int
    size: int


def read_archive(file: BinaryIO) -> tuple[bytes, dict[str, int]]:
    """`data.pkl`, and the size of each of the storages by its key; ValueError for any other archive."""
    size = os.fstat(file.fileno()).st_size
    entries = _entries(file, size)
    _check_places(file, entries)
    roots = {name.partition("/")[0] for name in entries}
    parts = {name.partition("/")[2]: entry for name, entry in entries.items()}
    if len(roots) != 1 or "data.pkl" not in parts:
        raise ValueError("no data.pkl in it, or more than one")
    storages = {name[5:]: entry.size for name, entry in parts.items() if name.startswith("data/")}
    start, length = parts["data.pkl"]
    if length > LONGEST_PICKLE:
        raise ValueError(f"its data.pkl has {length:,} bytes, {LONGEST_PICKLE:,} are accepted")
    header = _LOCAL.unpack(_read(file, start, _LOCAL.size))
    return _read(file, start + _LOCAL.size + header[-2] + header[-1], length), storages


def _entries(file: BinaryIO, size: int) -> dict[str, ZipEntry]:
    """Name -> entry of the directory at the end of an archive."""
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
    if start + length != at or length > LONGEST_DIRECTORY:
        raise ValueError("its directory is damaged, or too long")
    directory, place, entries, total = _read(file, start, length), 0, {}, 0
    while place < length:
        name, entry, place = _entry(directory, place)
        if name.lower() in entries or not NAME.fullmatch(name):
            raise ValueError("an entry in it is there twice, or is none of a checkpoint")
        entries[name.lower()], total = entry, total + entry.size
        if entry.start + _LOCAL.size + entry.size > start:
            raise ValueError("an entry in it is larger than the file")
    if len(entries) != count or total > start:
        raise ValueError("its entries are not as many or as large as it says")
    return entries


def _check_places(file: BinaryIO, entries: dict[str, ZipEntry]) -> None:
    """ValueError unless each entry begins with a header of its name, the first of them where the file does.

    PyTorch takes a file that begins with anything else for one of its old format: a pickle that nobody has looked at.
    """
    if min((entry.start for entry in entries.values()), default=-1) != 0:
        raise ValueError("no zip archive from its first byte on")
    for name, entry in entries.items():
        sign, *_, length, _ = _LOCAL.unpack(_read(file, entry.start, _LOCAL.size))
        if sign != b"PK\3\4" or _read(file, entry.start + _LOCAL.size, length).lower() != name.encode("utf-8"):
            raise ValueError("an entry in it is not where its directory says")


def _entry(directory: bytes, place: int) -> tuple[str, ZipEntry, int]:
    """Name, entry, and where the next one begins."""
    values = _ENTRY.unpack_from(directory, place)
    sign, method, (packed, size, length, more, comment), start = values[0], values[4], values[8:13], values[-1]
    if sign != b"PK\1\2" or method != 0:
        raise ValueError("its entries are compressed, or its directory is damaged")
    place += _ENTRY.size
    name = directory[place : place + length].decode("utf-8")
    extra = directory[place + length : place + length + more]
    wide = [value for value in (size, packed, start) if value == _LARGE]
    if wide:
        found = iter(struct.unpack_from(f"<{len(wide)}Q", extra, _extra_64(extra)))
        size, packed, start = (next(found) if value == _LARGE else value for value in (size, packed, start))
    if packed != size:
        raise ValueError("its entries are compressed")
    return name, ZipEntry(start, size), place + length + more + comment


def _extra_64(extra: bytes) -> int:
    """Where the large numbers of an entry begin in its extra field."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            return place + 4
        place += 4 + length
    raise ValueError("its directory is damaged")


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    """So many bytes from there; ValueError where there are fewer."""
    if start < 0:
        raise ValueError("too short")
    file.seek(start)
    content = file.read(length)
    if len(content) != length:
        raise ValueError("cut off")
    return content
