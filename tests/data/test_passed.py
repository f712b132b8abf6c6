"""Whatever a search passes over is counted, in one line, in bounded time and memory."""

from __future__ import annotations

import io
import os
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from helicon.data.config import ImageDataConfig
from helicon.data.entries import DataError
from helicon.data.files import MAX_EMPTY, scan
from helicon.data.folders import walk
from helicon.data.passed import MAX_KINDS, MAX_NAMED, OTHERS, UNSUFFIXED, count, kind_unread, passed_over
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.evaluation.measure import Evaluation
from helicon.formats.read_report import ReadReport
from helicon.modalities.base import Modality, endings
from helicon.modalities.image import IMAGE
from helicon.modalities.text import TEXT
from helicon.training.codecs.codec_data import ImageData

PICTURE = Modality(
    name="picture",
    suffixes=(".png", ".raw.gz"),
    read_file=lambda path: (path.read_bytes(), ReadReport()),
    write=lambda m, p: None,
    slots={},
    remedies={".heic": "pip install pillow-heif", ".xml": "export it"},
)


def touch(root: Path, *names: str, content: bytes = b"x") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.mid", [".mid"]), ("x.y/a.MID.gz", [".mid.gz", ".gz"]), ("a.b.c.gz", [".c.gz", ".gz"]), ("x.y/a", []),
     ("x\\a.mid", [".mid"]), ("", [])],
)  # fmt: skip
def test_endings(name, expected):
    assert endings(name) == expected


def test_files_that_no_modality_reads_are_counted_and_companions_are_not(tmp_path):
    media = [
        "a.png",
        "x/b.PNG",
        "c.raw.gz",
        "d.heic",
        "x/e.HEIC",
        "f.wma",
        "g.docx",
        "h.xml",
        "nothing",
        "i.verylongsuffix",
    ]
    companions = ["a.txt", "a.json", "README", "README.md", "LICENSE", "metadata.csv", ".hidden.heic", "Thumbs.db"]
    found = scan(touch(tmp_path, *media, *companions), [PICTURE])
    assert [entry.name for entry in found.entries] == ["a.png", "c.raw.gz", "x/b.PNG"]
    assert found.passed == {
        ".heic (pip install pillow-heif)": 2, ".wma": 1, ".docx": 1, ".xml (export it)": 1, UNSUFFIXED: 1, OTHERS: 1,
    }  # fmt: skip
    line = "passed over: 2 .heic (pip install pillow-heif), 1 .docx, 1 .wma"
    assert passed_over({kind: n for kind, n in found.passed.items() if kind[:2] in (".h", ".w", ".d")}) == line


def test_texts_may_be_meant_by_what_else_is_a_companion():
    assert [kind_unread(name, [TEXT]) for name in ("a.json", "a.html", "README", "a.py")] == [
        ".json",
        ".html",
        "",
        ".py",
    ]
    assert [kind_unread(name, [TEXT, PICTURE]) for name in ("a.json", "a.svg")] == ["", ".svg"]


def test_a_suffix_of_two_parts_is_a_stem_s_end(tmp_path):
    found = scan(touch(tmp_path, "a.raw.gz", "a.txt"), [TEXT, PICTURE])
    assert [(entry.name, sorted(entry.files)) for entry in found.entries] == [("a", ["picture", "text"])]


def test_members_of_shards_are_counted(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.png", "a.json", "a.cls", "__key__", "b.heic", "c.heic", "d.mov"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    found = scan(tmp_path, [PICTURE])
    assert found.passed == {".heic (pip install pillow-heif) in shards": 2, ".mov in shards": 1}


def test_when_nothing_is_read_the_counts_say_why(tmp_path):
    with pytest.raises(
        DataError, match=r"no files to train on; .*; passed over: 2 \.heic \(pip install pillow-heif\)$"
    ):
        scan(touch(tmp_path, "a.heic", "b.heic"), [PICTURE])


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_and_folders_are_counted_and_the_machine_is_not_walked(tmp_path, monkeypatch):
    data = touch(tmp_path / "data", "a.png", "closed/b.png")
    touch(tmp_path / "elsewhere", "c.png")
    links = {"root": "/", "up": "..", "gone": "nowhere", "other": "../elsewhere", "twice": "../elsewhere"}
    if os.path.isdir("/proc/self"):
        links |= {"system": "/proc", "deep": "/sys"}
    for name, target in links.items():
        (data / name).symlink_to(target)
    opened, really = [], os.scandir

    def scandir(path):
        opened.append(Path(path).name)
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return really(path)

    monkeypatch.setattr("helicon.data.folders.os.scandir", scandir)
    found = scan(data, [PICTURE])
    assert sorted(opened) == ["closed", "data", "other"]
    assert [entry.name for entry in found.entries] == ["a.png", "other/c.png"]
    expected = {
        "links to folders that hold this one": 2, "links to nothing": 1, "links to folders searched already": 1,
        "folders that cannot be read": 1,
    }  # fmt: skip
    assert found.passed == expected | ({"links to system folders": 2} if "system" in links else {})
    assert found.skipped[str(data / "closed")] == "Permission denied"


def test_too_large_a_tree_is_refused_in_one_line(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{i}/a.png" for i in range(9)))
    monkeypatch.setattr("helicon.data.folders.MAX_SEARCHED", 12)
    with pytest.raises(DataError, match=r"more than 12 files and folders, the last in .*; a folder of fewer"):
        walk(tmp_path)


def test_many_empty_files_are_a_count_and_few_are_named_by_their_reader(tmp_path):
    touch(tmp_path, *(f"{i}.png" for i in range(MAX_EMPTY)), content=b"")
    assert len(scan(touch(tmp_path, "full.png"), [PICTURE]).entries) == MAX_EMPTY + 1
    found = scan(touch(tmp_path, "x/more.png", content=b""), [PICTURE])
    assert [entry.name for entry in found.entries] == ["full.png"]
    assert found.passed == {"empty files": MAX_EMPTY + 1}


def test_what_is_named_and_counted_is_bounded(tmp_path):
    found = scan(touch(tmp_path, *(f"{i}.txt" for i in range(MAX_NAMED + 5)), "a.png", "a.md"), [TEXT, PICTURE])
    assert len(found.skipped) == MAX_NAMED
    assert found.passed == {"more skipped (no picture file of the same stem)": 5}
    tally: Counter[str] = Counter()
    for i in range(2 * MAX_KINDS):
        count(tally, f".{i}")
    assert len(tally) <= MAX_KINDS + 1
    assert sum(tally.values()) == 2 * MAX_KINDS
    assert passed_over(tally) == (
        "passed over: 1,000 of other suffixes, 1 .0, 1 .1, 1 .10, 1 .100, 1 .101, 1 .102, 1 .103, 1 .104, 1 .105,"
        " 1 .106, 1 .107, 989 of 989 more kinds"
    )


def test_names_that_differ_only_in_case_are_told(tmp_path):
    touch(tmp_path, "a.png", "Cats/b.png", "cats/c.png", "cats/d.png")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("the file system holds names that differ only in case for one")
    assert scan(tmp_path, [PICTURE]).notes == [
        "names      1 that differ only in case from another, such as Cats and cats"
    ]
    touch(tmp_path, "A.PNG")
    assert "names      2 that differ" in scan(tmp_path, [PICTURE]).notes[0]


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    from PIL import Image

    for i in range(2):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / f"{i}.png")
    return touch(folder, "x.heyc", "0.txt", "1.txt")


def test_reports_have_the_line_with_and_without_a_cache(pictures, tmp_path):
    source = DataSource(
        path=pictures, layouts=("image", "text[8] image"), tokenizers={"image": "rgb", "text": "bytes"},
        options={"size": 4}, cache=tmp_path / "cache",
    )  # fmt: skip
    for _ in range(2):
        found = prepare(source)
        assert "passed over: 1 .heyc\n" in found.summary()
        assert "passed over: 1 .heyc" in found.reading()
        assert Evaluation(losses=[], prepared=found).as_json()["passed_over"] == {".heyc": 1}


def test_a_file_that_a_layout_reads_is_not_passed_over(pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(IMAGE.remedies, ".txt", "nothing")  # no companion then
    source = DataSource(path=pictures, layouts=("image", "text[8] image"), options={"size": 4},
                        tokenizers={"image": "rgb", "text": "bytes"}, cache=tmp_path / "cache")  # fmt: skip
    assert prepare(replace(source, layouts=("image",), tokenizers={"image": "rgb"})).passed == {
        ".heyc": 1,
        ".txt (nothing)": 2,
    }
    assert prepare(source).passed == {".heyc": 1}


def test_a_data_module_logs_it_once(pictures, tmp_path, capsys):
    data = ImageData(ImageDataConfig(path=str(pictures), cache=str(tmp_path / "cache"), size=4))
    data.prepare_data()
    data.prepare_data()
    assert capsys.readouterr().err.count("passed over: 1 .heyc\n") == 1
