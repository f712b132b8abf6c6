"""Entries are read in order, whoever reads them; media are kept only where they are small, and never piled up."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from helicon.data import reading
from helicon.data.entries import Entry
from helicon.data.reading import Reader, ReadJob, Variants, read_entry
from helicon.formats.read_report import ReadReport
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.modalities.text import TEXT


class Pictures:
    """A modality whose tiny files are pictures of a million bytes, and the files that were read, in order."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.modality = Modality(
            name="picture", suffixes=(".png",), read_file=self.picture, write=lambda m, p: None, slots={}
        )

    def picture(self, path: Path) -> tuple[np.ndarray, ReadReport]:
        self.read.append(path.stem)
        if path.stem == "bad":
            raise ValueError("not a\npicture")
        return np.full(1_000_000, int(path.stem) % 256, np.uint8), ReadReport({"rounded": 1})


@pytest.fixture
def pictures(monkeypatch) -> Pictures:
    made = Pictures()
    monkeypatch.setattr(registry, "get", {"text": TEXT, "picture": made.modality}.__getitem__)
    return made


def entries(folder: Path, *stems: object) -> list[Entry]:
    for stem in stems:
        (folder / f"{stem}.png").write_bytes(b"")
    files = {stem: {"picture": folder / f"{stem}.png"} for stem in stems}
    return [Entry(name=str(stem), files=each, texts=(f"number {stem}",)) for stem, each in files.items()]


def test_several_captions_are_alternatives(tmp_path, pictures):
    (entry,) = entries(tmp_path, 7)
    several = Entry(name="7", files=entry.files, texts=("a", "b", "a"))
    media = read_entry(several, ["text", "picture"], {}).media
    assert media is not None
    assert isinstance(media["text"], Variants)
    assert list(media["text"]) == ["a", "b", "a"]
    again = pickle.loads(pickle.dumps(media["text"]))
    assert (type(again), list(again)) == (Variants, ["a", "b", "a"])
    one = read_entry(entry, ["text", "picture"], {})
    assert one.media is not None
    assert one.media["text"] == "number 7"
    assert one.bytes == 1_000_000 + len("number 7")


def test_small_media_are_read_once(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(reading, "KEPT_BYTES", 2_000_100)
    reader = Reader(entries(tmp_path, 1, "bad", 2), [TEXT, pictures.modality], {})
    first, second = list(reader.read("reading")), list(reader.read("tokenising"))
    assert pictures.read == ["1", "bad", "2"]
    assert [(entry.name, media["text"], media["picture"][0]) for entry, media in first] == [
        ("1", "number 1", 1), ("2", "number 2", 2),
    ]  # fmt: skip
    assert all(a is b for (_, a), (_, b) in zip(first, second, strict=True))
    assert reader.skipped == {str(tmp_path / "bad.png"): "not a picture"}
    assert reader.repaired == {"rounded": 2}


def test_media_that_are_large_in_memory_are_read_again(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(reading, "KEPT_BYTES", 2_000_000)
    reader = Reader(entries(tmp_path, 1, "bad", 2, 3), [pictures.modality], {})
    passes = [[(entry.name, media["picture"][0]) for entry, media in reader.read("reading")] for _ in range(2)]
    assert passes == [[("1", 1), ("2", 2), ("3", 3)]] * 2
    assert pictures.read == ["1", "bad", "2", "3", "1", "2", "3"]
    assert reader.repaired == {"rounded": 3}


def test_texts_and_files_without_a_size_in_memory_count_as_they_are_long(tmp_path, monkeypatch):
    for stem in "ab":
        (tmp_path / f"{stem}.txt").write_text("x" * 50)
    found = [Entry(name=stem, files={"text": tmp_path / f"{stem}.txt"}) for stem in "ab"]
    for room, kept in ((100, True), (99, False)):
        monkeypatch.setattr(reading, "KEPT_BYTES", room)
        reader = Reader(found, [TEXT], {})
        first, second = ([media for _, media in reader.read("reading")] for _ in range(2))
        assert first == second == [{"text": "x" * 50}] * 2
        assert all(a is b for a, b in zip(first, second)) == kept


def width(entry: Entry, media: dict) -> tuple[str, int]:
    """Something that can be made of a picture."""
    return entry.name, len(media["picture"])


def test_what_is_made_of_media_comes_instead_of_them(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(reading, "KEPT_BYTES", 2_000_000)
    reader = Reader(entries(tmp_path, 1, "bad", 2), [pictures.modality], {})
    made = [found for _, found in reader.read("reading", width)]
    assert made == [("1", 1_000_000), ("2", 1_000_000)]
    assert [found for _, found in reader.read("tokenising", width)] == made
    assert pictures.read == ["1", "bad", "2"]  # once


def test_nothing_is_kept_of_what_is_read_once(tmp_path, pictures):
    reader = Reader(entries(tmp_path, 1, 2), [pictures.modality], {})
    for _ in range(2):
        assert len(list(reader.read("tokenising", width, keep=False))) == 2
    assert pictures.read == ["1", "2", "1", "2"]


@pytest.mark.parametrize(("given", "keep", "along"), [(None, True, True), (None, False, False), ("media", True, False)])
def test_media_come_along_where_they_are_kept(tmp_path, pictures, given, keep, along):
    (entry,) = entries(tmp_path, 7)
    media = {"picture": np.zeros(5)} if given else None
    found = ReadJob(["picture"], {}, width)((entry, media, keep))
    assert found.output == ("7", 5 if given else 1_000_000)
    assert (found.media is not None) == along
    assert found.bytes == (0 if given else 1_000_000)


def test_of_a_bad_file_nothing_is_made(tmp_path, pictures):
    (entry,) = entries(tmp_path, "bad")
    found = ReadJob(["picture"], {}, lambda entry, media: pytest.fail("there are no media"))((entry, None, True))
    assert (found.output, found.media, found.reason) == (None, None, "not a picture")
