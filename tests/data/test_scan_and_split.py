"""Which files become examples, and which of them are held out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helicon.data.files import DataError, scan, split
from helicon.modalities.music import MUSIC
from helicon.modalities.text import TEXT


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_a_folder_is_searched_and_its_folders_are_labels(tmp_path):
    touch(tmp_path, "bach/a.mid", "bach/late/b.MIDI", "c.kar", "d.txt", ".hidden/e.mid", "bach/.f.mid", "g.mid/h.rmi")
    found = scan(tmp_path, [MUSIC])
    assert [(entry.name, entry.label) for entry in found.entries] == [
        ("bach/a.mid", "bach"), ("bach/late/b.MIDI", "bach"), ("c.kar", None), ("g.mid/h.rmi", "g.mid"),
    ]  # fmt: skip
    assert found.skipped == {}


def test_pairs_are_of_equal_stem_in_one_folder(tmp_path):
    touch(tmp_path, "x/a.mid", "x/a.txt", "x/b.mid", "y/b.txt", "x/v1.2.mid", "x/v1.2.md")
    found = scan(tmp_path, [TEXT, MUSIC])
    assert [entry.name for entry in found.entries] == ["x/a", "x/v1.2"]
    assert found.entries[0].files == {"music": tmp_path / "x/a.mid", "text": tmp_path / "x/a.txt"}
    assert found.skipped == {
        str(tmp_path / "x/b.mid"): "no text file of the same stem",
        str(tmp_path / "y/b.txt"): "no music file of the same stem",
    }


def test_one_file_is_a_folder_of_one(tmp_path):
    touch(tmp_path, "a.mid", "b.mid")
    assert [entry.name for entry in scan(tmp_path / "a.mid", [MUSIC]).entries] == ["a.mid"]


CSV = "file,label,text\nb.mid,Bach,slow\na.mid,,\nno.mid,x,\nd.doc,x,\n"
JSONL = (
    '{"file": "b.mid", "label": "Bach", "text": "slow"}\n\n{"file": "a.mid"}\n{"file": "no.mid"}\n{"file": "d.doc"}\n'
)


@pytest.mark.parametrize(("name", "content"), [("m.csv", CSV), ("m.jsonl", JSONL)])
def test_a_manifest_lists_the_files(tmp_path, name, content):
    touch(tmp_path, "a.mid", "b.mid", "c.mid", "d.doc")
    (tmp_path / name).write_text(content)
    found = scan(tmp_path, [MUSIC], tmp_path / name)
    assert [(entry.name, entry.label) for entry in found.entries] == [("a.mid", None), ("b.mid", "Bach")]
    assert found.skipped == {
        str(tmp_path / "no.mid"): "not a file", str(tmp_path / "d.doc"): "not of an accepted suffix",
    }  # fmt: skip
    captioned = scan(tmp_path, [TEXT, MUSIC], tmp_path / name)
    assert [(entry.name, entry.texts) for entry in captioned.entries] == [("b.mid", ("slow",))]


@pytest.mark.parametrize("line", ["{", "[1]", '"a.mid"', "\ufffd"])
def test_a_manifest_line_that_is_no_object_is_named(tmp_path, line):
    touch(tmp_path, "a.mid")
    (tmp_path / "m.jsonl").write_text('{"file": "a.mid"}\n' + line)
    with pytest.raises(DataError, match=r"m\.jsonl, line 2: not"):
        scan(tmp_path, [MUSIC], tmp_path / "m.jsonl")


def test_an_empty_folder_names_itself_and_what_is_accepted(tmp_path):
    with pytest.raises(DataError, match=rf"{tmp_path}: no files to train on; accepted suffixes are music: \.kar \.mid"):
        scan(tmp_path, [MUSIC])
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        scan(tmp_path / "nowhere", [MUSIC])
    with pytest.raises(DataError, match=r"m\.csv: no such manifest"):
        scan(tmp_path, [MUSIC], tmp_path / "m.csv")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_no_text_is_a_name(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.mid")).write_bytes(b"")
    (entry,) = scan(tmp_path, [MUSIC]).entries
    assert split([entry.name, "b"], 0.5) in ([True, False], [False, True])


NAMES = [f"bach/{i}.mid" for i in range(1000)]


def test_about_the_share_asked_for_is_held_out():
    assert 30 < sum(split(NAMES, 0.05)) < 75
    assert not any(split(NAMES, 0))


def test_the_split_stays_put_as_files_come_and_go():
    before = dict(zip(NAMES, split(NAMES, 0.05)))
    more = [f"new/{i}.mid" for i in range(500)] + NAMES[::2]
    after = dict(zip(more, split(more, 0.05)))
    assert all(before[name] == after[name] for name in NAMES[::2])


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_something_is_on_either_side(count, fraction):
    assert set(split(NAMES[:count], fraction)) == {True, False}


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999, 1.0])
def test_one_piece_alone_is_trained_on(fraction):
    assert split(["x"], fraction) == [False]
    assert split([], fraction) == []
