"""Captions beside media: a line each or a file each, JSON of other tools, and folders of their own."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from unicodedata import normalize

import pytest

from helicon.data.captions import read_captions, settle
from helicon.data.entries import Entry
from helicon.data.files import scan
from helicon.data.known_names import captions_of
from helicon.data.reading import Variants, read_entry
from helicon.formats.read_report import ReadReport
from helicon.modalities.base import Modality
from helicon.modalities.text import TEXT, TextSource

PICTURE = Modality(
    name="picture",
    suffixes=(".png", ".jpg"),
    read_file=lambda path: (path.read_bytes(), ReadReport()),
    write=lambda m, p: None,
    slots={},
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


LISTS = ["a red bird.\nit has a beak.\n", "a bird\r\na beak of some length\r\n", " two\n words \n\n"]
ONE = ["a bird", "a long caption,\nwrapped at a comma", "A bird sits\non a tree.", "one.\n\ntwo.", "", "\n \n"]


@pytest.mark.parametrize(
    ("contents", "mode"),
    [([text], "lines") for text in LISTS]
    + [([text], "whole") for text in ONE]
    + [
        ([LISTS[0], LISTS[1], ONE[0]], "lines"),
        ([LISTS[0], ONE[0]], "whole"),
        ([LISTS[0], *ONE], "whole"),
        ([], "whole"),
    ],
)
def test_most_files_decide_whether_a_caption_is_a_line(tmp_path, contents, mode):
    write(tmp_path, {f"{i}.txt": text for i, text in enumerate(contents)})
    entries = [Entry(name=str(i), files={"text": tmp_path / f"{i}.txt"}) for i in range(len(contents))]
    decided, note = settle(entries, TEXT, {})
    assert decided == mode
    several = any(len(text.strip().splitlines()) > 1 for text in contents)
    assert ("--data.captions" in note) == several
    for asked in ("lines", "whole"):
        assert settle(entries, TEXT, {"captions": asked}) == (asked, "")


def test_few_files_of_a_large_folder_are_looked_at(tmp_path, monkeypatch):
    looked: list[Path] = []
    monkeypatch.setattr("helicon.data.captions._text", lambda file, *_: looked.append(file) or "a\nb")
    entries = [Entry(name=str(i), files={"text": tmp_path / f"{i}.txt"}) for i in range(1234)]
    assert settle(entries, TEXT, {})[0] == "lines"
    assert 100 <= len(looked) < 120
    assert looked[-1].stem > "1220"


def test_a_caption_a_line_is_as_many_captions(tmp_path):
    write(
        tmp_path,
        {"a.png": "", "a.txt": "one\n two \n", "b.png": "", "b.txt": "three\r\nfour", "c.png": "", "c.txt": "five"},
    )
    found = scan(tmp_path, [TEXT, PICTURE])
    assert found.options == {"captions": "lines"}
    assert found.notes == [
        "captions   each line is a caption, as most files have several that end alike (2 of 3 looked at); "
        "--data.captions whole takes each file as one"
    ]
    for options, expected in ((found.options, ["one", " two "]), ({"captions": "whole"}, ["one\n two \n"])):
        assert read_captions(tmp_path / "a.txt", TEXT, options)[0] == expected
    assert scan(tmp_path, [PICTURE]).options == scan(tmp_path, [TEXT]).options == {}
    with pytest.raises(ValueError, match=r"^captions 'words' is not one of auto, lines, whole$"):
        TextSource(captions="words")  # type: ignore[arg-type]


def test_several_captions_are_variants_and_lyrics_are_not_captions(tmp_path):
    write(tmp_path, {"a.txt": "one\ntwo\n"})
    file, lines = tmp_path / "a.txt", {"captions": "lines"}
    alone = read_entry(Entry(name="a", files={"text": file}), ["text"], lines)
    assert alone.media == {"text": "one\ntwo\n"}
    both = read_entry(Entry(name="a", files={"text": file, "lyrics": file}), ["text", "lyrics"], lines)
    assert both.media == {"text": Variants(["one", "two"]), "lyrics": "one\ntwo\n"}
    file.write_bytes(b"caf\xe9\nca\xc3\xa9\n" + "é".encode() * 9)
    assert read_captions(file, TEXT, lines)[0] == ["caf\ufffd", "caé", "é" * 9]


@pytest.mark.parametrize(
    ("row", "captions"),
    [
        ({"caption": "a cat", "key": "7"}, ["a cat"]),
        ({"description": "slow", "keywords": "a, b", "title": ""}, ["slow"]),
        ({"description": None, "keywords": ["a", "b"], "sample_rate": 16000}, ["a, b"]),
        ({"Caption_1": "x", "Caption 2": "y", "caption_3": " "}, ["x", "y"]),
        ({"captions": ["x", {"raw": "y"}, ""]}, ["x", "y"]),
        ({"text": "", "sentences": [{"raw": "z", "tokens": ["z"]}]}, ["z"]),
        ({"width": 5}, []),
        ({"text": 5}, None),
        ({"text": ["x", 5]}, None),
        ({"text": "\ud800"}, None),
    ],
)
def test_captions_have_the_names_of_many_tools(row, captions):
    assert captions_of(row) == captions


def test_captions_of_other_tools_lie_beside(tmp_path):
    write(
        tmp_path,
        {
            "a.png": "", "a.caption": "kohya", "b.png": "", "b.json": '{"description": "audiocraft"}', "c.png": "",
            "c.json": '{"width": 5, "height": 6}', "d.png": "", "d.txt": "text", "d.json": "{", "e.json": "{}",
            "f.caption": "alone", "g.png": "", "g.json": "[1]", "h.png": "", "h.json": '{"text": " "}',
        },
    )  # fmt: skip
    found = scan(tmp_path, [TEXT, PICTURE])
    read = {}
    for entry in found.entries:
        try:
            read[entry.name] = read_captions(entry.files["text"], TEXT, {})[0]  # type: ignore[arg-type]
        except ValueError as error:
            read[entry.name] = str(error)
    none = "; text, caption, captions, title, description, sentence, sentences, transcription ... are known"
    assert read == {
        "a": ["kohya"], "b": ["audiocraft"], "c": f"no caption: its keys are width, height{none}", "d": ["text"],
        "g": f"no caption: its keys are none{none}", "h": f"no caption: its keys are text{none}",
    }  # fmt: skip
    assert found.skipped == {str(tmp_path / "f.caption"): "no picture file of the same stem"}
    (tmp_path / "c.json").write_bytes(b"\xff\xfe" + '{"caption": "wide"}'.encode("utf-16-le"))
    assert read_captions(tmp_path / "c.json", TEXT, {}) == (["wide"], {"files in UTF-16": 1})


def test_captions_in_json_of_shards(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, content in {"0.png": b"", "0.json": json.dumps({"caption": "a cat"}).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (entry,) = scan(tmp_path, [TEXT, PICTURE]).entries
    with entry.files["text"].unpacked() as path:  # type: ignore[union-attr]
        assert read_captions(path, TEXT, {})[0] == ["a cat"]


@pytest.mark.parametrize(
    ("media", "captions", "name"),
    [
        ("images/x/0.png", "captions/x/0.txt", "images/x/0"),
        ("train/Images/0.png", "train/text/0.txt", "train/Images/0"),
        ("0.png", "captions/0.caption", "0"),
        ("images/train/0.png", "captions/train/0.json", "images/train/0"),
    ],
)
def test_captions_may_have_a_folder_beside_that_of_the_media(tmp_path, media, captions, name):
    write(tmp_path, {media: "", captions: '{"text": "x"}'})
    found = scan(tmp_path, [TEXT, PICTURE])
    (entry,) = found.entries
    assert (entry.name, entry.files) == (name, {"picture": tmp_path / media, "text": tmp_path / captions})
    assert found.skipped == {}


def test_captions_of_two_media_or_of_other_folders_are_not_guessed(tmp_path):
    write(tmp_path, {"images/0.png": "", "photos/0.png": "", "captions/0.txt": "x", "a/1.png": "", "b/1.txt": "x",
                     "images/2.png": "", "images/2.txt": "own", "captions/2.txt": "x"})  # fmt: skip
    found = scan(tmp_path, [TEXT, PICTURE])
    assert {entry.name: entry.files["text"] for entry in found.entries} == {"images/2": tmp_path / "images/2.txt"}
    assert len(found.skipped) == 6


def test_stems_are_compared_as_they_are_read(tmp_path):
    write(tmp_path, {normalize("NFD", "café.png"): "", normalize("NFC", "café.txt"): "x"})
    (entry,) = scan(tmp_path, [TEXT, PICTURE]).entries
    assert entry.name == normalize("NFD", "café")
    assert sorted(entry.files) == ["picture", "text"]
