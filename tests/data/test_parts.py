"""Parts of a cache: equal to the bit to a cache that is made alone, in any order, also after a kill."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from helicon.data import parts as parts_module
from helicon.data.build import encode_layout
from helicon.data.entries import DataError
from helicon.data.parts import Part, prepare_part
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.demos.composer import write_folder
from helicon.formats.plain import from_plain, to_plain
from helicon.tokenizers.survey import MusicSurvey


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Music with labels and captions, one piece unreadable; texts of several documents each."""
    root = tmp_path_factory.mktemp("files")
    write_folder(root, 11, seed=1)
    for i, path in enumerate(sorted(root.rglob("*.mid"))):
        path.with_suffix(".txt").write_text(f"piece {i}\r\n" + "more " * i)
    (sorted(root.rglob("*.mid"))[3]).write_bytes(b"MThd, and no more")
    for i in range(5):
        (root / f"{i}.txt").write_text("once upon a time, " * 400 * (1 + i))
    return root


def source_of(folder: Path, cache: Path, *layouts: str, **options) -> DataSource:
    return DataSource(path=folder, layouts=layouts, cache=cache, val_split=0.2, **options)


def content(cache: Path) -> dict[str, bytes]:
    """All files of a cache folder; nothing else is left beside it."""
    return {path.relative_to(cache).as_posix(): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


SOURCES = {
    "music": (("style[3] music",), {}),
    "text": (("text",), {"tokenizers": {"text": "bpe"}}),
    "bytes": (("text",), {"tokenizers": {"text": "bytes"}}),
    "several": (("style[3] music", "text", "text[8] music"), {"tokenizers": {"text": "bpe"}}),
}


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("kind", SOURCES)
def test_parts_in_any_order_make_the_same_cache(folder, tmp_path, kind, count):
    layouts, options = SOURCES[kind]
    alone = prepare(source_of(folder, tmp_path / "alone", *layouts, **options), processes=1)
    source = source_of(folder, tmp_path / "parts", *layouts, **options)
    lines: list[str] = []
    whole, order = None, list(range(1, count + 1))
    for _ in range(2):
        random.Random(count).shuffle(order)
        for number in order:
            whole = prepare_part(source, Part(number, count), log=lines.append, processes=1)
    assert whole is not None
    assert content(tmp_path / "parts") == content(tmp_path / "alone")
    assert whole.summary() == alone.summary()
    assert any(f"joined from {count} parts" in line for line in lines)
    rounds = sum("is surveyed" in line for line in lines)
    assert rounds == (0 if kind == "bytes" else count - 1)


def test_a_part_that_was_killed_is_made_again(folder, tmp_path, monkeypatch):
    layouts, options = SOURCES["several"]
    prepare(source_of(folder, tmp_path / "alone", *layouts, **options), processes=1)
    source = source_of(folder, tmp_path / "parts", *layouts, **options)

    def killed(*arguments):
        encode_layout(*arguments)
        raise KeyboardInterrupt

    for number in (1, 2):
        prepare_part(source, Part(number, 2), processes=1)
    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "encode_layout", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_part(source, Part(1, 2), processes=1)
    (parts,) = (tmp_path / "parts").iterdir()
    assert {path.name for path in parts.iterdir() if not path.name.startswith(".")} >= {"2"} - {"1"}
    for number in (2, 1):
        prepare_part(source, Part(number, 2), processes=1)
    assert content(tmp_path / "parts") == content(tmp_path / "alone")


def test_parts_of_another_number_or_with_other_options_are_not_mixed(folder, tmp_path):
    source = source_of(folder, tmp_path, "text", tokenizers={"text": "bytes"})
    lines: list[str] = []
    assert prepare_part(source, Part(1, 2), log=lines.append, processes=1) is None
    assert prepare_part(source, Part(2, 3), log=lines.append, processes=1) is None
    assert any("parts-2, made with another number of parts, is not used" in line for line in lines)
    other = replace(source, options={"encoding": "cp1252"})
    assert prepare_part(other, Part(2, 2), log=lines.append, processes=1) is None
    assert prepare_part(source, Part(2, 2), log=lines.append, processes=1) is not None
    again = prepare_part(source, Part(1, 2), log=lines.append, processes=1)  # it is there
    assert again is not None
    assert lines[-1].startswith("cache ")


def test_a_split_whose_files_cannot_be_read_is_made_again(tmp_path):
    from helicon.data.split import hash_fraction

    folder = tmp_path / "files"
    folder.mkdir()
    for name in sorted("abcdef", key=hash_fraction)[:2]:
        (folder / f"{name}.txt").write_bytes(b"\x81\x00\x8d" * 333 + b"\x81" * 2)
    for name in sorted("abcdef", key=hash_fraction)[2:]:
        (folder / f"{name}.txt").write_text(name * 1001)
    for tokenizer in ("bytes", "bpe"):
        options = {"tokenizers": {"text": tokenizer}}
        alone = prepare(source_of(folder, tmp_path / f"alone-{tokenizer}", "text", **options), processes=1)
        assert len(alone.skipped) == 2
        source = source_of(folder, tmp_path / tokenizer, "text", **options)
        for number in (1, 2, 3, 1, 2, 3):
            prepare_part(source, Part(number, 3), processes=1)
        assert content(tmp_path / tokenizer) == content(tmp_path / f"alone-{tokenizer}")


@pytest.mark.parametrize("text", ["17/16", "0/16", "x", "3", "-1/2", "3/0", "1/100000", "1/2/3", ""])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(DataError, match=f"^--part {text}: NUMBER/COUNT is accepted"):
        Part.parse(text)


@dataclass
class Own:
    number: int
    array: np.ndarray


def test_values_come_back_from_json():
    values = [None, True, 3, 2.5, "a", [1, (2, "b")], {(1, 2): "c"}, Counter({"z": 2, "a": 1}), MusicSurvey()]
    values[8].sets[(1, 2)] = 3
    for value in values:
        found = from_plain(to_plain(value))
        assert found == value
        assert type(found) is type(value)
    for array in (np.arange(6, dtype=np.uint8).reshape(2, 3), np.zeros((0, 3), np.float32)):
        found = from_plain(to_plain(Own(1, array)))
        assert found.array.dtype == array.dtype
        assert np.array_equal(found.array, array)
    with pytest.raises(ValueError, match="set: numbers, texts"):
        to_plain({1, 2})
    for forged in ({"is": "object", "module": "os", "name": "system", "values": {}}, {"is": "x"}, {}):
        with pytest.raises(ValueError, match="no value"):
            from_plain(forged)
