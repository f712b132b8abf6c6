"""Which pieces are for validation: by size, the same ones as a folder grows, and the end of a text that is alone."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from helicon.data.entries import Entry
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.data.split import hash_fraction, pieces_of, split
from helicon.demos.composer import write_folder
from helicon.formats.validation import join_records, name_hash, record_state, restore_record

NAMES = [f"bach/{i}.mid" for i in range(1000)]
EVEN = dict.fromkeys(NAMES, 1000)


def amount(sizes: dict[str, int], chosen: dict[str, int]) -> float:
    return sum(sizes[name] - start for name, start in chosen.items()) / sum(sizes.values())


def record(chosen: dict[str, int]) -> dict[int, int]:
    return {name_hash(name): start for name, start in chosen.items()}


def random_folder(rng: random.Random, count: int) -> dict[str, int]:
    return {f"{rng.randrange(1 << 40):x}": int(10 ** rng.uniform(2, 6)) for _ in range(count)}


def test_the_share_is_of_the_size():
    assert split(EVEN, 0.05, {}).keys() == set(sorted(NAMES, key=hash_fraction)[:50])
    sizes = EVEN | {"large": 1_000_000}
    assert amount(sizes, split(sizes, 0.05, {})) == pytest.approx(0.05)
    assert split(EVEN, 0, {}) == {}


def test_a_share_of_random_folders_is_near_it():
    rng = random.Random(0)
    for _ in range(200):
        sizes = random_folder(rng, rng.randint(1, 40))
        assert 0.025 <= amount(sizes, split(sizes, 0.05, {}, divisible=True)) <= 0.075
        chosen = split(sizes, 0.05, {})
        assert len(chosen) in range(min(1, len(sizes) - 1), len(sizes) or 1)


def test_nothing_moves_as_a_folder_grows():
    rng = random.Random(1)
    for divisible in (True, False):
        for _ in range(100):
            sizes, known = random_folder(rng, rng.randint(3, 40)), {}
            for _ in range(3):
                chosen = split(sizes, 0.05, known, divisible=divisible)
                assert all(name in chosen and chosen[name] <= start for name, start in known.items() if name in sizes)
                assert split(sizes, 0.05, record(chosen), divisible=divisible) == chosen
                known = record(chosen)
                sizes = sizes | random_folder(rng, rng.randint(1, 40))


def test_nothing_moves_into_training_as_a_folder_grows():
    sizes, more = dict.fromkeys("abc", 10), dict.fromkeys("abcdefghijkl", 10)
    (first,) = split(sizes, 0.05, {})
    known = record({first: 0})
    assert first in split(more, 0.05, known)
    assert {name for name in more if first not in split({first: 10, name: 10}, 0.05, {})}  # without the record it may


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("share", [0.001, 0.999])
@pytest.mark.parametrize("divisible", [True, False])
def test_something_is_on_either_side(count, share, divisible):
    chosen = split(dict.fromkeys(NAMES[:count], 1000), share, {}, divisible=divisible)
    assert chosen
    assert len(chosen) < count or any(chosen.values())


def test_one_piece_alone_is_trained_on():
    assert split({"x": 9}, 0.5, {}) == split({"x": 9}, 0.5, {name_hash("x"): 0}) == split({}, 0.5, {}) == {}
    assert split({"x": 100}, 0.05, {}, divisible=True) == {"x": 95}


def test_no_piece_is_cut_that_cannot_be():
    assert split({"x": 9, "y": 5}, 0.05, {name_hash("x"): 4}) == {"x": 0}


def test_the_last_piece_of_a_label_is_learned():
    low, *others = sorted("abcdefgh", key=hash_fraction)
    sizes = dict.fromkeys([low, *others], 10)
    assert split(sizes, 0.1, {}).keys() == {low}
    assert split(sizes, 0.1, {}, labels={low: "rare"}).keys() == {others[0]}
    assert split(sizes, 0.3, {}, labels={low: "rare", others[0]: "rare"}).keys() == {low, others[1]}
    assert split({"a": 1, "b": 1}, 0.1, {}, labels={"a": "x", "b": "y"}) != {}


def test_small_files_alone_are_not_the_validation_part():
    sizes = dict.fromkeys(NAMES[:40], 10) | {"large": 100_000}
    chosen = split(sizes, 0.05, {}, divisible=True)
    assert len(chosen) == 5
    assert amount(sizes, chosen) == pytest.approx(0.05)


def test_what_another_layout_is_trained_on_is_not_chosen():
    sizes = dict.fromkeys("abcdef", 10)
    assert split(sizes, 0.5, {}, trained=set("abcde")).keys() == {"f"}


def test_without_a_share_the_record_alone_counts():
    assert split(EVEN, None, {name_hash(NAMES[3]): 0}).keys() == {NAMES[3]}
    assert split(EVEN, None, {name_hash("elsewhere"): 0}) == {}
    assert split({"x": 9}, None, {name_hash("x"): 0}) == {"x": 0}


def test_a_record_is_restored():
    known = {name_hash("a"): 0, name_hash("b"): 17, name_hash("c"): 0}
    assert restore_record(record_state(known)) == known
    assert restore_record(None) == {}
    assert join_records({1: 0, 2: 9}, {2: 5, 3: 1}) == {1: 0, 2: 5, 3: 1}


@pytest.mark.parametrize(
    "state",
    [
        [], {"whole": ""}, {"whole": "?", "parts": []}, {"whole": "AAAA", "parts": []},
        {"whole": "", "parts": [["x", 1]]}, {"whole": "", "parts": [["00", 0]]}, {"whole": "", "parts": [["00"]]},
    ],
)  # fmt: skip
def test_a_forged_record_is_refused(state):
    with pytest.raises(ValueError, match=r"validation|whole|part|hash|start|base64|unpack|buffer|literal"):
        restore_record(state)


def source(folder: Path, layout: str = "text", **others) -> DataSource:
    options = {"tokenizers": {"text": "bytes"}, "val_split": 0.05, **others}
    return DataSource(path=folder, layouts=(layout,), cache=folder.parent / "cache", **options)


def texts(found) -> tuple[str, str]:
    """Text of the training part and of the validation part."""
    (corpus,), tokenizer = found.corpora, found.tokenizers["text"]
    train, val = (
        "".join(tokenizer.decode(corpus.example(int(i))["text"]) for i in corpus.select(part)) for part in (False, True)
    )
    return train, val


def book(lines: int, word: str = "word") -> str:
    return "".join(f"line {i} of {word}\n" for i in range(lines))


def test_of_one_book_the_end_is_left_out(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/book.txt").write_text(book(5000))
    train, val = texts(prepare(source(tmp_path / "data")))
    assert train + val == book(5000)
    assert train.endswith("\n")
    assert 0.049 < len(val) / len(train + val) < 0.07


def test_files_of_many_documents_are_on_one_side(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(30):
        (tmp_path / f"data/{i}.txt").write_text(book(1500, f"book {i}"))
    found = prepare(source(tmp_path / "data"))
    train, val = texts(found)
    assert [book(1500, f"book {i}") in val for i in range(30)].count(True) == len(found.record) in (1, 2)
    assert [book(1500, f"book {i}") in train for i in range(30)].count(True) == 30 - len(found.record)


def test_byte_pairs_are_of_the_training_part(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/book.txt").write_text(book(2000) + 110 * "zyzzyva zyzzyva\n")
    found = prepare(replace(source(tmp_path / "data"), tokenizers={"text": "bpe"}, options={"vocabulary": 300}))
    train, val = texts(found)
    assert "zyzzyva" not in train
    assert "zyzzyva" in val
    assert not any("zy" in token for token in found.tokenizers["text"].block.tokens)


def test_a_growing_folder_leaves_out_what_a_training_did(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.txt").write_text(book(3000, "a"))
    first = prepare(source(folder))
    end = texts(first)[1]
    (folder / "a.txt").write_text(book(3000, "a") + book(1000, "more"))
    for name in "bcd":
        (folder / f"{name}.txt").write_text(book(3000, name))
    _, val = texts(prepare(replace(source(folder), record=first.record)))
    assert end in val
    assert book(1000, "more") in val
    assert end in texts(prepare(source(folder)))[0]  # which is why there is a record


def test_unreadable_files_are_not_the_validation_part(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in sorted("abcdef", key=hash_fraction)[:2]:
        (folder / f"{name}.txt").write_bytes(b"\x81\x00\x8d" * 333 + b"\x81" * 2)
    for name in sorted("abcdef", key=hash_fraction)[2:]:
        (folder / f"{name}.txt").write_text(name * 1001)
    for tokenizer in ("bytes", "bpe"):
        found = prepare(source(folder, "text", val_split=0.25, tokenizers={"text": tokenizer}))
        assert len(found.skipped) == 2
        assert [len(part) for part in texts(found)] == [3003, 1001]


def test_the_suffix_is_no_part_of_the_name(tmp_path):
    entries = [Entry(name=name, files={"music": tmp_path / name}) for name in ("a.mid", "a.mid.gz", "b.MIDI")]
    assert pieces_of([*entries, Entry(name="a", files={"music": tmp_path / "a.mid.gz"})]) == ["a", "a", "b", "a"]


def test_parts_are_the_same_in_all_layouts(tmp_path):
    folder = tmp_path / "data"
    write_folder(folder, 8, seed=1)
    for path in sorted(folder.rglob("*.mid")):
        path.with_suffix(".txt").write_text(path.stem)
    for i in range(40):
        (folder / f"{i}.txt").write_text(f"text {i}")
    layouts = ("text", "text[8] music")
    found = prepare(DataSource(path=folder, layouts=layouts, tokenizers={"text": "bytes"}, cache=tmp_path / "cache"))
    parts = [{name.removesuffix(".txt"): val for name, val in zip(c.names, c.val)} for c in found.corpora]
    assert any(parts[1].values())
    assert all(parts[0][name] == val for name, val in parts[1].items())
