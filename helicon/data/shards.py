"""Tar shards (webdataset): files are found by their headers and read in place; no name is used as a path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import HeaderError, TarInfo
from typing import Any, BinaryIO, NamedTuple

from helicon.formats.files import open_regular
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.temporary import scratch_file

SUFFIX = ".tar"  # of a shard
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
COMPRESSED = "compressed shard: refused, its files cannot be read in place; store it as plain .tar"
MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
PICKLES = frozenset({".pkl", ".pickle", ".pyd", ".pth", ".pt"})  # reading a pickle can run code
BLOCK = 512  # bytes of a tar header, and alignment of files
MAX_NAME_BYTES = 1 << 20  # bytes of an extended header, which is read whole
COPY_BYTES = 1 << 20  # copied at a time
MAX_COPIED_BYTES = 1 << 30  # of a file: a sparse shard could claim more than the disk has

# Types of headers (POSIX.1-2001 and GNU's)
PLAIN, FOLDER = (b"0", b"\0", b"7"), b"5"
WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes, whatever size they give
LONG_NAME, LONG_LINK = b"L", b"K"  # GNU's: the data are the name, or link target, of the next header
EXTENDED, EXTENDED_FOR_ALL = (b"x", b"X"), b"g"  # POSIX's: the data are records for the next file, or all
RECORDS = ("path", "size")  # of extended headers, that are looked at


@dataclass(frozen=True, slots=True)
class Member:
    """Regular file in a shard: `size` bytes from byte `offset` on. Its name is never used as a path."""

    shard: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{printable(self.shard)}:{printable(self.name, MAX_QUOTED)}"

    @property
    def suffix(self) -> str:
        """Last dot of the name and what follows it, such as `.png`."""
        return PurePosixPath(self.name).suffix

    @property
    def key(self) -> str:
        """Sample name (webdataset): the name up to the first dot of its last part, `a/b` of `a/b.mask.png`."""
        folder, slash, base = self.name.rpartition("/")
        return folder + slash + base.partition(".")[0]

    @property
    def stamp(self) -> list[Any]:
        """List of suffix, offset, size, size of the shard (bytes) and its modification time (ns)."""
        shard = self.shard.stat()
        return [self.suffix, self.offset, self.size, shard.st_size, shard.st_mtime_ns]

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Provide the path of a temporary copy with the same suffix during the `with` block.

        Raises:
            OSError: the shard cannot be read, or the disk is full.
            ValueError: a file above MAX_COPIED_BYTES; a sparse one takes no space in its shard but would on the disk.
        """
        if self.size > MAX_COPIED_BYTES:
            raise ValueError(
                f"{self.size:,} bytes are more than the {MAX_COPIED_BYTES:,} that a file in a shard may have"
            )
        with scratch_file(self.suffix.lower()) as path:
            with path.open("wb") as copy, open_regular(self.shard) as shard:
                shard.seek(self.offset)
                left = self.size
                while left:
                    data = shard.read(min(left, COPY_BYTES))
                    if not data:
                        raise OSError(f"{self.shard}: shorter than when it was searched")
                    copy.write(data)
                    left -= len(data)
            yield path


class Header(NamedTuple):
    """Tar header: name and type as stored, and position and size of the data in bytes."""

    name: str
    kind: bytes
    offset: int
    size: int


def read_shard(shard: Path) -> tuple[list[Member], dict[str, str]]:
    """List the regular files of a shard.

    Pickles, links, devices and names that lead out of the shard are skipped, hidden files and folders ignored. Of a
    damaged shard, the files before the damage are listed.

    Args:
        shard: uncompressed tar file.

    Returns:
        (`Member`s in order, name of a skipped file -> reason).
    """
    members: list[Member] = []
    skipped: dict[str, str] = {}
    try:
        with open_regular(shard) as file:
            for header in _headers(file, shard.stat().st_size):
                path = PurePosixPath(header.name)
                member = Member(shard, str(path), header.offset, header.size)
                if header.kind == FOLDER or any(part.startswith(".") and part != ".." for part in path.parts):
                    continue
                reason = _refused(header, path)
                if reason:
                    skipped[str(member)] = reason
                else:
                    members.append(member)
    except (OSError, ValueError) as error:
        before = f"; the {len(members)} files before that are used" if members else ""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        skipped[printable(shard)] = f"{printable(reason, MAX_QUOTED)}{before}"
    return members, skipped


def _refused(header: Header, path: PurePosixPath) -> str:
    if path.suffix.lower() in PICKLES:
        return "pickle in a shard: refused"
    if header.kind not in PLAIN:
        return "not a plain file in a shard: refused"
    if path.is_absolute() or ".." in path.parts:
        return "name that leads out of its shard: refused"
    return ""


def _headers(file: BinaryIO, length: int) -> Iterator[Header]:
    """Yield the headers of a tar of `length` bytes; ValueError at the first that is damaged or cut off.

    Python's `tarfile` follows chains of headers by recursion and allocates what a header claims; this does neither.
    """
    place, extended = 0, {}
    while place < length or not length:
        file.seek(place)
        block = file.read(BLOCK)
        if len(block) == BLOCK and not any(block):
            return
        header = _parsed(block, place)
        offset, claimed = place + BLOCK, extended.get("size", str(header.size))
        readable = claimed.isdecimal() and len(claimed) < 20
        size = 0 if header.type in WITHOUT_DATA else int(claimed) if readable else -1
        if not 0 <= size <= length - offset:
            raise ValueError(f"cut off or damaged: the file at byte {place} is not whole")
        if header.type == LONG_NAME or header.type in EXTENDED:
            if size > MAX_NAME_BYTES:
                raise ValueError(f"damaged: a name of {size} bytes at byte {place}")
            data = file.read(size)
            long_name = {"path": data.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
            extended |= long_name if header.type == LONG_NAME else _records(data, place)
        elif header.type not in (LONG_LINK, EXTENDED_FOR_ALL):
            yield Header(extended.get("path", header.name), header.type, offset, size)
            extended = {}
        place = offset + -(-size // BLOCK) * BLOCK


def _parsed(block: bytes, place: int) -> TarInfo:
    try:
        return TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except HeaderError:
        if place:
            raise ValueError(f"cut off or damaged: no tar header at byte {place}") from None
        raise ValueError(COMPRESSED if block.startswith(MAGIC) else "not a tar file") from None


def _records(data: bytes, place: int) -> dict[str, str]:
    r"""Parse records `LENGTH KEY=VALUE\n` of an extended header (POSIX.1-2001, pax); ValueError for malformed ones.

    Only the keys in RECORDS are kept: there may be millions of others.
    """
    records, start, last = {}, 0, len(data.rstrip(b"\0"))
    while start < last:
        space = data.find(b" ", start, start + 20)
        digits = data[start : max(start, space)]
        end = start + int(digits) if digits.isdigit() else start
        if not start < space < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ValueError(f"damaged: an extended header at byte {place} that cannot be read")
        key, _, value = data[space + 1 : end - 1].decode("utf-8", "surrogateescape").partition("=")
        if key in RECORDS:
            records[key] = value
        start = end
    return records
