"""A folder becomes tokenizers and shards, once; what is damaged is built again, what cannot be read passed over."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helicon.data import reading
from helicon.data.cache import load_cache
from helicon.data.corpus import CorpusError
from helicon.data.files import DataError
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource, tokenizer_names_of
from helicon.data.workers import Workers
from helicon.demos.composer import write_folder
from helicon.modalities.music import MUSIC


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    write_folder(folder, 6, seed=1)
    return folder


@pytest.fixture
def source(pieces, tmp_path) -> DataSource:
    shutil.copytree(pieces, tmp_path / "midi")
    return DataSource(path=tmp_path / "midi", layouts=("style[3] music",), val_split=0.3, cache=tmp_path / "cache")


def prepared(source: DataSource, **others) -> tuple[Prepared, list[str]]:
    said: list[str] = []
    return prepare(source, log=said.append, **others), said


def ids(prepared: Prepared) -> list[dict[str, list[int]]]:
    (corpus,) = prepared.corpora
    return [{slot: array.tolist() for slot, array in corpus.example(i).items()} for i in range(len(corpus))]


def test_every_piece_is_its_tokens(source):
    found, _ = prepared(source)
    (corpus,) = found.corpora
    assert (found.files, found.skipped, len(corpus)) == (6, {}, 6)
    assert corpus.names == sorted(p.relative_to(source.path).as_posix() for p in source.path.rglob("*.mid"))
    assert corpus.labels == [name.split("/")[0] for name in corpus.names]
    for i, name in enumerate(corpus.names):
        score, _ = MUSIC.read(source.path / name, name.split("/")[0])
        for slot, tokenizer in found.tokenizers.items():
            assert np.array_equal(corpus.example(i)[slot], tokenizer.encode(score))
    assert corpus.tokens(val=True) + corpus.tokens(val=False) == sum(corpus.lengths("music"))
    assert "6 read, 0 skipped" in found.summary()


def test_a_second_time_comes_from_the_cache(source, monkeypatch):
    first, said = prepared(source)
    assert said == []
    monkeypatch.setattr("helicon.data.reading.read_entry", lambda *task: pytest.fail("a file was read again"))
    again, said = prepared(source)
    assert said[0].startswith("cache ")
    assert ids(again) == ids(first)
    assert {s: t.state() for s, t in again.tokenizers.items()} == {s: t.state() for s, t in first.tokenizers.items()}


def damage_ids(folder: Path) -> None:
    path = folder / "0" / "music.ids.npy"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(folder: Path) -> None:
    (folder / "0" / "style.offsets.npy").write_bytes(b"\x93NUMPY")


def older(folder: Path) -> None:
    index = json.loads((folder / "0" / "corpus.json").read_text())
    (folder / "0" / "corpus.json").write_text(json.dumps({**index, "version": 0}))


def half_built(folder: Path) -> None:
    (folder / "prepared.json").unlink()


def nonsense(folder: Path) -> None:
    (folder / "prepared.json").write_text('{"choices": [], "states": [], "corpora": 1}')


@pytest.mark.parametrize(
    "harm", [damage_ids, cut, older, half_built, nonsense, lambda f: (f / "prepared.json").write_text("[")]
)
def test_a_damaged_cache_is_built_again(source, harm):
    first = ids(prepared(source)[0])
    (folder,) = source.cache.iterdir()
    harm(folder)
    again, said = prepared(source)
    assert said
    assert said[0].endswith("built again")
    assert ids(again) == first
    assert [path.name for path in source.cache.iterdir()] == [folder.name]
    assert len(prepared(source)[1]) == 1


def test_a_build_that_fails_leaves_nothing(source, monkeypatch):
    def fail(path, thing):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("helicon.data.build.write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        prepare(source)
    assert list(source.cache.iterdir()) == []


def test_of_two_that_build_one_cache_the_first_is_kept(source, monkeypatch):
    """The second comes to the end of its work when the first one's cache is there, and in use."""
    first, from_disk = prepared(source)[0], load_cache
    (folder,) = source.cache.iterdir()
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    looks = []

    def too_early(*args):
        looks.append(args)
        if len(looks) == 1:
            raise CorpusError("not there yet")
        return from_disk(*args)

    monkeypatch.setattr("helicon.data.prepare.load_cache", too_early)
    monkeypatch.setattr("helicon.data.build.load_cache", too_early)
    assert ids(prepared(source)[0]) == ids(first)
    assert len(looks) == 2
    assert {path: path.stat().st_mtime_ns for path in source.cache.rglob("*") if path.is_file()} == stamps


def test_any_change_is_another_cache(source):
    sizes = [len(list(source.cache.iterdir())) for _ in [prepared(source)]]
    file = next(source.path.rglob("*.mid"))
    os.utime(file, (1, 1))
    changes = ({}, {"layouts": ("music",)}, {"tokenizers": {"music": "musenet"}}, {"options": {"pedal": "drop"}})
    for changed in (replace(source, **change) for change in changes):
        prepared(changed)
        sizes.append(len(list(source.cache.iterdir())))
    assert sizes == [1, 2, 3, 4, 5]


def test_bad_files_are_passed_over_with_their_reasons(source):
    good = ids(prepared(source)[0])
    (source.path / "zeros.mid").write_bytes(b"\0" * 100)
    (source.path / "empty.mid").write_bytes(b"")
    whole = next(source.path.rglob("*-0001.mid")).read_bytes()
    (source.path / "head.mid").write_bytes(whole[:10])
    found, _ = prepared(source)
    assert sorted(Path(name).name for name in found.skipped) == ["empty.mid", "head.mid", "zeros.mid"]
    assert all(reason and "\n" not in reason for reason in found.skipped.values())
    assert found.files == 6
    assert ids(found) == good
    assert "6 read, 3 skipped" in found.summary()
    assert "zeros.mid: " in found.summary()


def test_a_folder_of_bad_files_only_names_one(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"no")
    with pytest.raises(DataError, match=r"none of 1 files for `music` can be used; .*a\.mid: "):
        prepare(DataSource(path=tmp_path, layouts=("music",), cache=tmp_path / "cache"))


def test_texts_in_any_script_and_names_in_none(tmp_path):
    texts = {"emoji": "😀 🎹", "right-to-left": "שלום עליכם", "nul": "a\0b", "long": "x" * 1_000_000, "empty": ""}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_bytes(text.encode())
    (tmp_path / "latin.txt").write_bytes(b"\xe9\0")
    if os.name != "nt":
        (tmp_path / os.fsdecode(b"\xff.txt")).write_bytes(b"name")
    found, _ = prepared(
        DataSource(path=tmp_path, layouts=("text",), tokenizers={"text": "bytes"}, cache=tmp_path / "cache")
    )
    (corpus,) = found.corpora
    whole: dict[str, str] = {}
    for i, name in enumerate(corpus.names):
        part = found.tokenizers["text"].decode(corpus.example(i)["text"])
        whole[name.split(".")[0]] = whole.get(name.split(".")[0], "") + part
    assert {name: whole[name] for name in texts if name != "empty"} == {n: t for n, t in texts.items() if n != "empty"}
    assert list(found.skipped.values()) == [
        "no text: neither UTF-8 nor another encoding that can be estimated; --data.encoding names one"
    ]
    assert all(len(path.name) < 60 for path in (tmp_path / "cache").rglob("*"))


def test_empty_captions_are_named_and_not_learned(source):
    paths = sorted(source.path.rglob("*.mid"))
    for path, caption in zip(paths, ("", " \r\n\t", *["slow"] * len(paths))):
        path.with_suffix(".txt").write_text(caption, newline="")
    captioned = DataSource(
        path=source.path, layouts=("text[4] music",), tokenizers={"text": "bytes"}, cache=source.cache
    )
    found, _ = prepared(captioned)
    assert found.corpora[0].lengths("text").tolist() == [4] * 4
    assert found.skipped == {str(path.with_suffix(".txt")): "an empty caption" for path in paths[:2]}
    for path in paths:
        path.with_suffix(".txt").write_text("\ufeff\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"none of 6 files for `text\[4\] music` can be used; .*: an empty caption$"):
        prepared(captioned)


def test_a_caption_longer_than_its_slot_is_cut_and_counted(source):
    for path in list(source.path.rglob("*.mid")):
        path.with_suffix(".txt").write_text("ode to joy")
    found, _ = prepared(
        DataSource(path=source.path, layouts=("text[4] music",), tokenizers={"text": "bytes"}, cache=source.cache)
    )
    assert found.corpora[0].example(0)["text"].tolist() == list(b"ode ")
    assert found.repaired["text tokens cut"] == 6 * 6


def test_kept_tokenizers_are_used_as_they_are(source):
    first, _ = prepared(source)
    write_folder(source.path / "other", 1, seed=5)
    kept, _ = prepared(source, kept=first.tokenizers)
    assert len(kept.corpora[0]) == 7
    assert kept.tokenizers["style"].block == first.tokenizers["style"].block
    assert prepared(source)[0].tokenizers["style"].block != first.tokenizers["style"].block


def test_other_processes_read_and_encode_the_same(source, monkeypatch):
    first = ids(prepared(source)[0])
    monkeypatch.setattr("helicon.data.reading.KEPT_BYTES", 0)
    monkeypatch.setattr(Workers, "_help", others_at_once)
    (source.path / "bad.mid").write_bytes(b"\0" * 100)
    again, _ = prepared(source)
    assert ids(again) == first
    assert [Path(name).name for name in again.skipped] == ["bad.mid"]


def others_at_once(workers: Workers, seconds: float) -> bool:
    """In place of `_help`: other processes do all of the work."""
    if workers._pool is None:
        workers.start()
        wait(workers._starting)
    return True


def test_files_are_read_once_where_nothing_is_learned_from_them(source, monkeypatch):
    read: list[str] = []
    plain = reading.read_entry

    def watched(entry, *how):
        read.append(entry.name)
        return plain(entry, *how)

    monkeypatch.setattr(reading, "read_entry", watched)
    monkeypatch.setattr(reading, "KEPT_BYTES", 0)
    for tokenizer, times in (("musenet", 1), ("music", 2)):
        read.clear()
        prepared(DataSource(path=source.path, layouts=("music",), tokenizers={"music": tokenizer}, cache=source.cache))
        assert len(read) == 6 * times
    known = prepared(source)[0].tokenizers
    read.clear()
    prepared(replace(source, layouts=("music",)), pretrained=known)
    assert len(read) == 6


def test_a_folder_of_bad_files_is_refused_when_it_is_read_once_too(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"no")
    source = DataSource(path=tmp_path, layouts=("music",), tokenizers={"music": "musenet"}, cache=tmp_path / "cache")
    with pytest.raises(DataError, match=r"none of 1 files for `music` can be used; .*a\.mid: "):
        prepare(source)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_first_tokenizer_of_a_slot_is_its_default():
    layouts = ("style[3] music", "text[8] image[4x4]", "lyrics[8] audio")
    default = {"style": "style", "music": "music", "text": "bpe", "image": "palette", "lyrics": "lyrics"}
    assert tokenizer_names_of(DataSource(path=Path(), layouts=layouts)) == {**default, "audio": "mulaw"}
    assert tokenizer_names_of(DataSource(path=Path(), layouts=layouts, tokenizers={"text": "bytes"})) == {
        **default,
        "text": "bytes",
        "audio": "mulaw",
    }
