"""Shards and tables of strangers that are small and take long, or much memory: each is read or refused at once."""

from __future__ import annotations

import tarfile
from pathlib import Path

from harness import attempt, posix

from helicon.data.files import scan
from helicon.data.shards import read_shard
from helicon.modalities import registry

pytestmark = posix


def extended(records: bytes, rest: bytes = bytes(1024)) -> bytes:
    """A tar of one extended header and what follows."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    return header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512) + rest


def test_a_record_without_its_length_ends_a_shard(tmp_path: Path) -> None:
    """The place of the next record was that of this one."""
    (tmp_path / "s.tar").write_bytes(extended(b"20 path=../../x.png\n" + b"y" * 100 + b"\n"))
    ended = attempt(read_shard, tmp_path / "s.tar")
    ended.is_cheap()
    assert "damaged" in ended.value


def test_records_that_nobody_asks_for_are_not_kept(tmp_path: Path) -> None:
    """Each of some million keys of a few bytes took some hundred, over all the headers that come before a file."""
    parts, each = [], 95_000
    for first in range(0, 8 * each, each):
        parts.append(extended(b"".join(b"11 %06x=\n" % key for key in range(first, first + each)), b""))
    picture = tarfile.TarInfo("a.png")
    (tmp_path / "s.tar").write_bytes(b"".join(parts) + picture.tobuf() + bytes(1024))
    ended = attempt(lambda: len(read_shard(tmp_path / "s.tar")[0]))
    assert (ended.value, ended.kind) == ("1", "")
    ended.is_cheap()
    assert ended.megabytes < 40


def test_a_table_of_many_columns_and_many_rows(tmp_path: Path) -> None:
    """Each row was filled up to all columns."""
    rows = "file" + ",x" * 100_000 + "\n" + "a.png\n" * 100_000
    (tmp_path / "m.csv").write_text(rows)
    (tmp_path / "a.png").write_bytes(b"")
    ended = attempt(lambda: len(scan(tmp_path, [registry.get("image")], tmp_path / "m.csv").entries))
    assert (ended.value, ended.kind) == ("1", "")
    ended.is_cheap()
