"""Shards and tables of strangers that are small and take long, or much memory: each is read or refused at once."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from harness import Outcome, attempt, posix

from helicon.data import manifest, manifest_rows
from helicon.data.files import scan
from helicon.data.manifest import MAX_NAMED
from helicon.data.prepare import prepare
from helicon.data.shards import read_shard
from helicon.data.source import DataSource
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


def test_a_long_name_in_a_shard_is_told_in_short(tmp_path: Path) -> None:
    long = "x" * 900_000
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name in (f"{long}.pkl", f"{long}.txt", "a.txt"):
            info = tarfile.TarInfo(name)
            info.size = 10
            tar.addfile(info, io.BytesIO(b"\xff" * 9 + b"\0" if name.startswith("x") else b"some words"))
    source = DataSource(path=tmp_path, layouts=("text",), tokenizers={"text": "bytes"}, cache=tmp_path / "cache")
    found = prepare(source)
    assert len(found.skipped) == 2
    assert max(map(len, found.skipped)) <= len(f"{tmp_path}/s.tar:") + 200
    assert max(map(len, found.summary().splitlines())) < 400
    (prepared,) = tmp_path.rglob("prepared.json")
    assert prepared.stat().st_size < 20_000


def test_a_table_of_many_columns_and_many_rows(tmp_path: Path) -> None:
    """Each row was filled up to all columns."""
    rows = "file" + ",x" * 100_000 + "\n" + "a.png\n" * 100_000
    (tmp_path / "m.csv").write_text(rows)
    (tmp_path / "a.png").write_bytes(b"")
    ended = attempt(lambda: len(scan(tmp_path, [registry.get("image")], tmp_path / "m.csv").entries))
    assert (ended.value, ended.kind) == ("1", "")
    ended.is_cheap()


def lines(tmp_path: Path, text: str) -> Outcome:
    (tmp_path / "m.csv").write_text("file\n" + text)
    (tmp_path / "a.txt").write_bytes(b"x")

    def scanned() -> tuple[int, int, list[str]]:
        found = scan(tmp_path, [registry.get("text")], tmp_path / "m.csv")
        return len(found.entries), len(found.skipped), found.notes

    return attempt(scanned)


def test_rows_that_are_passed_over_are_named_or_counted(tmp_path: Path) -> None:
    ended = lines(tmp_path, "a.txt\n" + "".join(f"{i}.png\n" for i in range(20_000)))
    note = f"manifest   {tmp_path / 'm.csv'}: 19,000 more rows are skipped"
    assert ended.value == repr((1, MAX_NAMED, [note]))
    ended.is_cheap()


def test_a_table_of_more_rows_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_rows, "MAX_LINES", 20_000)
    lines(tmp_path, "a.txt\n" * 20_000).is_refusal(tmp_path / "m.csv", "more than 20,000 lines")
    assert lines(tmp_path, "a.txt\n" * 19_999).value == "(1, 0, [])"
    images = {"images": [{"id": 1, "file_name": "a.txt"}], "annotations": [{"image_id": 1}] * 20_000}
    (tmp_path / "m.json").write_text(json.dumps(images))
    ended = attempt(scan, tmp_path, [registry.get("text")], tmp_path / "m.json")
    ended.is_refusal(tmp_path / "m.json", "more than 20,000 images and captions")


def test_a_table_whose_rows_lead_out(tmp_path: Path) -> None:
    """Each is followed through the file system, part by part, also where it comes back."""
    for before, rows in (("../" * 50, 400), ("x/../" * 700, 20), ("../" * 40_000, 1)):
        found = lines(tmp_path, "".join(f"{before}{i}/a.txt\n" for i in range(rows)))
        found.is_refusal(tmp_path / "m.csv", "more than 20,000 parts of names")


def test_a_row_takes_few_calls(tmp_path: Path) -> None:
    """A decoder of JSON was made for each, and a name of its place: millions took twice as long."""
    (tmp_path / "a.txt").write_bytes(b"x")
    for name, line, most in (("m.csv", "a.txt,x\n", 24), ("m.jsonl", '{"file": "a.txt", "text": ["b"]}\n', 37)):
        (tmp_path / name).write_text("file,label\n" * (name == "m.csv") + line * 1000)
        text, calls = [registry.get("text")], Counter[str]()
        scan(tmp_path, text, tmp_path / name)  # what is imported or made once
        sys.setprofile(lambda frame, event, argument, calls=calls: calls.update([event]))
        try:
            scan(tmp_path, text, tmp_path / name)
        finally:
            sys.setprofile(None)
        assert calls["call"] + calls["c_call"] < most * 1000


def test_whole_names_of_files_of_the_folder_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_FOLLOWED", 10)
    assert lines(tmp_path, "".join(f"{tmp_path}/./a.txt\n" for _ in range(4))).value == "(1, 0, [])"
    folder = tmp_path.rename(tmp_path.with_name("folder"))
    tmp_path.symlink_to(folder)
    assert lines(tmp_path, f"{tmp_path}/a.txt\n{folder}/a.txt\n").value == "(2, 0, [])"
    # Through a link they are, but the folder of many files once
    monkeypatch.setattr(manifest, "MAX_FOLLOWED", 2 * len(folder.parts))
    alias = folder.with_name("alias")
    alias.symlink_to(folder)
    assert lines(folder, "".join(f"{alias}/a.txt\n" for _ in range(9))).value == "(1, 0, [])"
