"""Streams of tar shards: batch t is a function of (shards, seed, t), whoever makes it, and little is on the disk."""

from __future__ import annotations

import io
import itertools
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helicon.data.batches import TrainBatches, Variation
from helicon.data.entries import DataError
from helicon.data.source import DataSource
from helicon.data.split import hash_fraction
from helicon.data.streaming import encode, feeder, shards
from helicon.data.streaming.encode import StreamError
from helicon.data.streaming.feeder import AHEAD, Feeder
from helicon.data.streaming.head import prepare_stream
from helicon.data.streaming.live import BatchCounts, LiveCorpora
from helicon.data.streaming.opening import open_stream
from helicon.data.workers import Workers
from helicon.objectives.base import Batch
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

SHARDS, TEXTS = 7, 25
LETTERS = "abcdefghijklmnopqrstuvwxyz" * 2


def write_shard(path: Path, files: dict[str, str]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(text)
            tar.addfile(header, io.BytesIO(text.encode()))


def texts(k: int) -> dict[str, str]:
    """Files of a shard, each of which fits into a window."""
    lengths = np.random.default_rng(k).integers(8, 36, TEXTS)
    return {f"{i:02}.txt": f"{k}-{i:02} {LETTERS}"[:n] for i, n in enumerate(lengths)}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Shards of texts, each of which is a unit."""
    (tmp_path / "data").mkdir()
    for k in range(SHARDS):
        write_shard(tmp_path / f"data/{k}.tar", texts(k))
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Each shard is a unit, and the thread of the feeder does all work."""
    monkeypatch.setattr(shards, "UNIT_BYTES", 1)
    monkeypatch.setattr(feeder, "Workers", lambda processes, background: Workers(1))
    monkeypatch.setattr(encode, "PAUSES_S", (0.0, 0.0))


def source_of(folder: Path, *layouts: str, val_split: float = 0.2) -> DataSource:
    tokenizers = {"text": "bytes"}
    return DataSource(
        path=folder, layouts=layouts or ("text",), tokenizers=tokenizers, val_split=val_split,
        cache=folder.parent / "cache",
    )  # fmt: skip


@contextmanager
def opened(
    folder: Path, *layouts: str, rank: int = 0, world: int = 1, near: int = 4
) -> Iterator[tuple[TrainBatches, Feeder]]:
    """Batches of a stream and its feeder, not begun."""
    source = source_of(folder, *layouts)
    prepared = prepare_stream(source)
    sequencer = Sequencer([Layout.parse(x) for x in source.layouts], prepared.tokenizers, 40)
    streams, fed = open_stream(source, prepared, sequencer, 3, 4, Variation(condition_dropout=0.2), near, 1)
    try:
        yield TrainBatches(streams, 0, rank, world), fed
    finally:
        fed.stop()


def batches_of(folder: Path, first: int, count: int, *layouts: str, workers: int = 0, **more) -> list[Batch]:
    """Batches as a training gets them."""
    with opened(folder, *layouts, **more) as (batches, fed):
        batches.first = first
        loader = iter(DataLoader(batches, batch_size=None, num_workers=workers))
        fed.start(first)
        found = []
        for t in range(first, first + count):
            found.append(next(loader))
            fed.reached(t)
        del loader
    return found


def equal(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        x.layout == y.layout and all(torch.equal(s, t) for s, t in zip(x[1:7], y[1:7])) for x, y in zip(a, b)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers_nor_on_where_a_run_begins(folder, workers):
    whole = batches_of(folder, 0, 60)
    assert equal(batches_of(folder, 17, 30, workers=workers), whole[17:47])
    shutil.rmtree(folder.parent / "cache")  # units before are counted again
    assert equal(batches_of(folder, 41, 15, workers=workers), whole[41:56])


def test_shares_of_two_processes_are_the_whole(folder):
    whole = batches_of(folder, 0, 30)
    with opened(folder, rank=0, world=2) as (first, fed), opened(folder, rank=1, world=2) as (second, fed_too):
        fed.start(0)
        fed_too.start(0)
        for t, expected in enumerate(whole):
            parts = [first.batch(t), second.batch(t)]
            fed.reached(t)
            fed_too.reached(t - 1)
            for i in range(len(expected.ids)):
                part = parts[i % 2].ids[i // 2]
                assert torch.equal(part, expected.ids[i, : len(part)])


def test_every_text_comes_once_an_epoch_up_to_whole_batches_and_none_of_the_validation_part(folder):
    prepared = prepare_stream(source_of(folder))
    held = [f"{k}/{name[:-4]}" for k in range(SHARDS) for name in texts(k) if hash_fraction(f"{k}/{name[:-4]}") < 0.2]
    names = [prepared.corpora[0].names[i] for i in prepared.corpora[0].select(val=True)]
    assert sorted(names) == sorted(held)
    assert prepared.scale == pytest.approx(1, rel=0.01)
    with opened(folder) as (batches, fed):
        fed.start(0)
        (stream,) = batches.streams
        t, seen = 0, []
        while stream.locate(t) is None or stream.locate(t)[0] < 3 * SHARDS:
            batch = batches.batch(t)
            fed.reached(t)
            t += 1
            position = stream.rows(t - 1)[0][0][0]
            corpus = stream.live.open(stream.corpus_name(position))
            seen += [corpus.names[i] for i in batch.examples.tolist()]
    assert not set(seen) & set(held)
    assert set(seen) == {f"{k}/{name[:-4]}" for k in range(SHARDS) for name in texts(k)} - set(held)
    times = np.array([*Counter(seen).values()])
    assert times.min() >= 2
    assert times.mean() < 3.6  # each length has some batches of its own
    order = [stream.unit(position) for position in range(2 * SHARDS)]
    assert sorted(order[:SHARDS]) == sorted(order[SHARDS:]) == list(range(SHARDS))
    assert order[:SHARDS] != order[SHARDS:]


def test_layouts_take_turns(folder):
    whole = batches_of(folder, 0, 40, "text", "text[20]")
    assert [batch.layout for batch in whole[:4]] == [0, 1, 0, 1]
    assert equal(batches_of(folder, 23, 9, "text", "text[20]"), whole[23:32])


def test_few_units_are_on_the_disk_and_none_afterwards(folder):
    most = 0
    with opened(folder) as (batches, fed):
        fed.start(0)
        live = fed.place.folder
        for t in range(60):
            batches.batch(t)
            fed.reached(t)
            most = max(most, sum(path.is_dir() for path in live.iterdir()))
        (live / "0123456789abcdef-0").mkdir()  # of a killed process
    assert most <= AHEAD + 3  # the current one, those ahead, one that is made and one that goes
    with opened(folder) as (batches, fed):
        fed.start(0)
        batches.batch(0)
    assert list(live.iterdir()) == []
    assert not fed.place.sign.exists()


def test_bad_shards_are_passed_over_and_counted(folder):
    good = batches_of(folder, 0, 20)
    (folder / "bad.tar").write_bytes(b"no tar file at all" * 100)
    cut = (folder / "3.tar").read_bytes()
    (folder / "3.tar").write_bytes(cut[: len(cut) // 2 + 100])
    with opened(folder) as (batches, fed):
        fed.start(0)
        for t in range(70):
            batches.batch(t)
            fed.reached(t)
        report = "\n".join(fed.report())
    assert "2 of their shards damaged" in report
    assert "bad.tar: not a tar file" in report
    assert "3.tar: cut off or damaged" in report
    assert good


def run_dry(batches: TrainBatches, fed: Feeder) -> None:
    for t in itertools.count(1):
        batches.batch(t)
        fed.reached(t)


def test_a_source_that_ends_is_one_line(folder):
    with opened(folder) as (batches, fed):
        fed.start(0)
        batches.batch(0)
        for path in folder.iterdir():
            path.unlink()
        line = r"^shard \d\.tar: No such file or directory, 3 times; the training can be resumed"
        with pytest.raises(StreamError, match=line):
            run_dry(batches, fed)
        fed._thread.join(10)
        assert isinstance(fed.failure, StreamError)


@pytest.mark.parametrize("name", ["a.txt", "a.tar.gz"])
def test_a_folder_without_shards_is_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"no tar shards, which --data.stream true reads; .*; passed over: 1 "):
        prepare_stream(source_of(tmp_path))


def test_shards_without_what_is_asked_for_are_one_line(folder):
    with pytest.raises(DataError, match="no files"):
        prepare_stream(DataSource(path=folder, layouts=("image[8x8]",), tokenizers={"image": "palette"}))


def test_a_corpus_is_made_by_one_and_removed_by_the_last(tmp_path):
    first, second, made = LiveCorpora(tmp_path), LiveCorpora(tmp_path), []

    def make(folder: Path) -> None:
        made.append(folder)
        assert not second.hold("a", make)  # while the first one makes it
        folder.mkdir()

    assert first.hold("a", make)
    assert second.hold("a", make)
    assert len(made) == 1
    first.release("a")
    assert (tmp_path / "a").is_dir()
    third = LiveCorpora(tmp_path)
    third.clear()
    assert (tmp_path / "a").is_dir()
    second.release("a")
    assert list(tmp_path.iterdir()) == []


def test_counts_outlast_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "counts"
    counts, key = BatchCounts(path), "0123456789abcdef"
    assert counts.get(key) is None
    counts.add(key, 12)
    with path.open("ab") as file:
        file.write(b"fedcba9876543210 1")
    BatchCounts(path).add("a" * 16, 7)
    assert [counts.get(name) for name in (key, "a" * 16, "fedcba9876543210")] == [12, 7, None]
