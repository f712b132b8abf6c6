"""Token shards: what is written is read again, variants are drawn, and what is damaged or forged is refused."""

from __future__ import annotations

import json
import pickle
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helicon.data.corpus import INDEX, Corpus, CorpusError, read_corpus
from helicon.data.corpus_writer import write_corpus


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


ROWS = [
    ("a", "cats", False, {"text": [ids(1, 2, 3), ids(4), ids()], "image": ids(7, 8)}),
    ("b", None, True, {"text": ids(5, 6), "image": ids(9, 300)}),
    ("c", None, False, {"text": [ids()], "image": [ids(11, 12)]}),
]


def write(folder: Path) -> Corpus:
    return write_corpus(folder, "text[4] image", ROWS, {"text": 256, "image": 512})


def plain(example: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {slot: found.tolist() for slot, found in example.items()}


def test_the_first_variant_is_the_example(tmp_path):
    corpus = write(tmp_path)
    assert [plain(corpus.example(i)) for i in range(3)] == [
        {"image": [7, 8], "text": [1, 2, 3]}, {"image": [9, 300], "text": [5, 6]}, {"image": [11, 12], "text": []},
    ]  # fmt: skip
    assert corpus.example(0)["text"].dtype == np.int64
    assert (corpus.names, corpus.labels) == (["a", "b", "c"], ["cats", None, None])
    assert corpus.lengths("text").tolist() == [3, 2, 0]
    assert corpus.lengths("image").tolist() == [2, 2, 2]
    assert (corpus.tokens(val=False), corpus.tokens(val=True)) == (4, 2)


def test_tokens_stay_in_their_file_in_this_process_and_in_others(tmp_path):
    """A million tokens: neither opening, nor reading a piece, nor sending the corpus to a worker copies them."""
    rows = [(f"p{i}", None, False, {"text": np.full(10_000, i)}) for i in range(100)]
    write_corpus(tmp_path, "text", rows, {"text": 60_000})
    tracemalloc.start()
    corpus = read_corpus(tmp_path, check=False)
    assert corpus.example(7)["text"].tolist() == [7] * 10_000
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()
    assert isinstance(corpus.ids["text"].base, np.memmap)
    sent = pickle.dumps(corpus)
    assert len(sent) < 1000
    assert pickle.loads(sent).example(99)["text"].tolist() == [99] * 10_000


def test_a_corpus_without_a_folder_is_sent_whole():
    corpus = Corpus(
        layout="text",
        names=["a"],
        labels=[None],
        val=np.array([False]),
        ids={"text": ids(3, 4)},
        offsets={"text": ids(0, 2)},
    )
    assert pickle.loads(pickle.dumps(corpus)).example(0)["text"].tolist() == [3, 4]


def test_the_longest_variant_of_each_example(tmp_path):
    corpus = write(tmp_path)
    assert corpus.longest("text").tolist() == [3, 2, 0]
    rows = [("a", None, False, {"text": [ids(1), ids(2, 3, 4), ids()]}), ("b", None, False, {"text": ids(5)})]
    assert write_corpus(tmp_path, "text", rows, {"text": 9}).longest("text").tolist() == [3, 1]


def test_variants_are_drawn_alike(tmp_path):
    corpus, rng = write(tmp_path), np.random.default_rng(0)
    drawn = [tuple(corpus.example(0, rng)["text"].tolist()) for _ in range(3000)]
    counts = {found: drawn.count(found) / 3000 for found in set(drawn)}
    assert counts == pytest.approx({(1, 2, 3): 1 / 3, (4,): 1 / 3, (): 1 / 3}, abs=0.04)
    assert [plain(corpus.example(1, rng)) for _ in range(5)] == [{"image": [9, 300], "text": [5, 6]}] * 5


def test_slots_of_one_medium_are_of_one_variant(tmp_path):
    rows = [("a", None, False, {"style": [ids(i) for i in range(5)], "music": [ids(i, i) for i in range(5)]})]
    corpus, rng = write_corpus(tmp_path, "style[1] music", rows, {"style": 5, "music": 5}), np.random.default_rng(0)
    found = [plain(corpus.example(0, rng)) for _ in range(100)]
    assert {example["style"][0] for example in found} == {0, 1, 2, 3, 4}
    assert all(example["music"] == example["style"] * 2 for example in found)


def test_nothing_is_drawn_where_nothing_varies(tmp_path):
    corpus = write_corpus(tmp_path, "text", [("a", None, False, {"text": ids(1)})], {"text": 256})
    rng = np.random.default_rng(0)
    corpus.example(0, rng)
    assert rng.random() == np.random.default_rng(0).random()


def test_only_slots_with_several_have_a_file_of_variants(tmp_path):
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "corpus.json", "image.ids.npy", "image.offsets.npy", "text.ids.npy", "text.offsets.npy", "text.variants.npy",
    ]  # fmt: skip
    assert np.load(tmp_path / "text.variants.npy").tolist() == [0, 3, 4, 5]
    assert np.load(tmp_path / "text.offsets.npy").tolist() == [0, 3, 4, 4, 6, 6]


@pytest.mark.parametrize(
    ("size", "kind"), [(1, "u1"), (256, "u1"), (257, "u2"), (1 << 16, "u2"), ((1 << 16) + 1, "u4")]
)
def test_ids_take_the_bytes_they_need(tmp_path, size, kind):
    write_corpus(tmp_path, "text", [("a", None, False, {"text": ids(0, size - 1)})], {"text": size})
    stored = np.load(tmp_path / "text.ids.npy")
    assert (stored.dtype, stored.tolist()) == (np.dtype(kind), [0, size - 1])


@pytest.mark.parametrize("bad", [ids(3, 256), ids(-1), [ids(1), ids(256)]])
def test_ids_that_the_block_does_not_have_are_an_error(tmp_path, bad):
    with pytest.raises(ValueError, match="piece: text ids must be from 0 to 255, got "):
        write_corpus(tmp_path, "text", [("piece", None, False, {"text": bad})], {"text": 256})
    assert not (tmp_path / INDEX).exists()


def test_an_example_has_at_least_one_variant(tmp_path):
    with pytest.raises(ValueError, match="piece: no ids for the slot text"):
        write_corpus(tmp_path, "text", [("piece", None, False, {"text": []})], {"text": 256})


def test_no_examples_are_a_corpus(tmp_path):
    assert len(write_corpus(tmp_path, "text", [], {"text": 256})) == 0


def forge(folder: Path, name: str, data: bytes) -> None:
    """Puts `data` in the place of a shard, with the checksum put right."""
    (folder / name).write_bytes(data)
    index = json.loads((folder / INDEX).read_text())
    index["checksums"][name] = zlib.crc32(data)
    (folder / INDEX).write_text(json.dumps(index))


def array_file(header: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A file as numpy writes it (NEP 1): magic, version, length of the header, header, content."""
    text = header.encode().ljust(-(-(len(header) + 11) // 64) * 64 - 11) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + content


def described(kind: str, shape: str, content: bytes = b"") -> bytes:
    return array_file(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}", content)


FORGED = {
    "objects": described("|O", "(9,)", b"cos\nsystem\n(S'true'\ntR."),
    "a huge shape": described("|u1", "(1000000000000,)", b"123456789"),
    "a shape beyond 64 bits": described("|u1", f"({1 << 64},)", b""),
    "a shape that wraps around": described("<u2", f"({(1 << 63) + 4},)", b"12345678"),
    "a negative shape": described("|u1", "(-9,)", b"123456789"),
    "too short": described("|u1", "(9,)", b"12345678"),
    "too long": described("|u1", "(9,)", b"1234567890"),
    "two dimensions": described("|u1", "(3, 3)", b"123456789"),
    "floats": described("<f4", "(9,)", bytes(36)),
    "signed numbers": described("<i8", "(9,)", bytes(72)),
    "records": array_file("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (9,), }", b"123456789"),
    "a header of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "a header that is cut off": b"\x93NUMPY\x01\x00\xff\xff{",
    "deep brackets": array_file("(" * 9000),
    "nonsense in the header": array_file("{'descr': 5}"),
    "another version": array_file("{'descr': '|u1', 'fortran_order': False, 'shape': (0,), }", version=b"\x03\x00"),
    "no array": b"nothing of the kind",
    "nothing": b"",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_arrays_are_refused_without_making_room_for_them(tmp_path, name):
    write(tmp_path)
    forge(tmp_path, "text.ids.npy", FORGED[name])
    tracemalloc.start()
    with pytest.raises(CorpusError, match=r"^[^\n]+$"):
        read_corpus(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20  # the checksum reads 16 MiB at a time


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("text.offsets", [0, 3, 4, 4, 6, 7]), ("text.offsets", [1, 3, 4, 4, 6, 6]), ("text.offsets", [0, 5, 4, 4, 6, 6]),
     ("text.offsets", [0, 3, 4, 4, 6]), ("text.offsets", []), ("text.variants", [0, 3, 4, 6]),
     ("text.variants", [0, 3, 3, 5]), ("text.variants", [0, 3, 5]), ("text.variants", []),
     ("image.offsets", [0, 2, 6])],
)  # fmt: skip
def test_offsets_that_do_not_fit_are_refused(tmp_path, name, numbers):
    write(tmp_path)
    forge(tmp_path, f"{name}.npy", described("<i8", f"({len(numbers)},)", np.array(numbers, "<i8").tobytes()))
    with pytest.raises(CorpusError):
        read_corpus(tmp_path)


def indexed(**changes: object) -> Callable[[Path], object]:
    """Changes the index."""
    return lambda folder: (folder / INDEX).write_text(
        json.dumps({**json.loads((folder / INDEX).read_text()), **changes})
    )


@pytest.mark.parametrize(
    "harm",
    [indexed(version=1), indexed(names=["a", "b"]), indexed(labels=[]), indexed(held=[True]), indexed(names=5),
     indexed(checksums={"text.ids.npy": 0}), indexed(checksums={"gone.ids.npy": 0}), indexed(checksums=None),
     lambda f: (f / INDEX).write_text("["), lambda f: (f / INDEX).write_text("[" * 100_000),
     lambda f: (f / INDEX).write_bytes(b"\xff"), lambda f: (f / INDEX).unlink(),
     lambda f: (f / "text.variants.npy").unlink()],
)  # fmt: skip
def test_an_index_that_does_not_fit_is_refused(tmp_path, harm):
    write(tmp_path)
    harm(tmp_path)
    with pytest.raises(CorpusError):
        read_corpus(tmp_path)
