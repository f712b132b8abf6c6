"""Which files become examples."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helicon.data.entries import DataError
from helicon.data.files import scan
from helicon.data.split import split
from helicon.formats.read_report import ReadReport
from helicon.modalities.base import Modality
from helicon.modalities.music import MUSIC
from helicon.modalities.text import TEXT

PICTURE = Modality(
    name="picture",
    suffixes=(".png", ".jpg"),
    read_file=lambda path: (path.read_bytes(), ReadReport()),
    write=lambda m, p: None,
    slots={},
)


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


def test_a_picture_and_a_caption_alone_are_named(tmp_path):
    touch(tmp_path, "a.png", "a.txt", "b.png", "c.txt")
    found = scan(tmp_path, [TEXT, PICTURE])
    assert [entry.name for entry in found.entries] == ["a"]
    assert found.skipped == {
        str(tmp_path / "b.png"): "no text file of the same stem",
        str(tmp_path / "c.txt"): "no picture file of the same stem",
    }


def test_of_two_pictures_of_one_stem_the_first_suffix_is_used(tmp_path):
    touch(tmp_path, "a.jpg", "a.png", "a.txt", "a.md", "b.jpg", "b.png")
    found = scan(tmp_path, [TEXT, PICTURE])
    assert [entry.files for entry in found.entries] == [{"text": tmp_path / "a.txt", "picture": tmp_path / "a.png"}]
    assert found.skipped == {
        str(tmp_path / "a.jpg"): "the .png file of the same stem is used",
        str(tmp_path / "a.md"): "the .txt file of the same stem is used",
        str(tmp_path / "b.jpg"): "no text file of the same stem",
        str(tmp_path / "b.png"): "no text file of the same stem",
    }
    assert [entry.name for entry in scan(tmp_path, [PICTURE]).entries] == ["a.jpg", "a.png", "b.jpg", "b.png"]


def test_pictures_of_one_stem_in_two_folders_stay_apart(tmp_path):
    touch(tmp_path, "x/a.png", "x/a.txt", "y/a.jpg", "y/a.txt", "a.png", "a.txt")
    found = scan(tmp_path, [TEXT, PICTURE])
    assert [entry.name for entry in found.entries] == ["a", "x/a", "y/a"]
    assert found.entries[2].files == {"text": tmp_path / "y/a.txt", "picture": tmp_path / "y/a.jpg"}
    assert found.skipped == {}


def test_an_empty_folder_names_itself_and_what_is_accepted(tmp_path):
    with pytest.raises(DataError, match=rf"{tmp_path}: no files to train on; accepted suffixes are music: \.kar \.mid"):
        scan(tmp_path, [MUSIC])
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        scan(tmp_path / "nowhere", [MUSIC])


def test_when_nothing_is_left_the_first_reason_is_told(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    with pytest.raises(DataError, match=r"as pairs of equal stem, .*; passed over: .*a\.png: no text file of the same"):
        scan(tmp_path, [TEXT, PICTURE])


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_no_text_is_a_name(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.mid")).write_bytes(b"")
    (entry,) = scan(tmp_path, [MUSIC]).entries
    assert len(split({entry.name: 1, "b": 1}, 0.5, {})) == 1
