"""A training on tar shards that are tokenised while it runs: batches by their number, resuming, sources that end."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import fit, signalled_at, weights

from helicon.data.config import sequence_data_config
from helicon.data.entries import DataError
from helicon.data.streaming import encode, feeder
from helicon.data.streaming import shards as shards_module
from helicon.data.streaming.encode import StreamError
from helicon.data.streaming.shards import LocalShard
from helicon.data.workers import Workers
from helicon.training.learning.data import SequenceData
from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.stopping import Interrupted

TEXT = (
    "--config=text", "--data.stream=true", "--data.layouts=[text]", "--data.tokenizers={text: bytes}",
    "--model.slot_weights={}", "--model.dropout=0.1",
)  # fmt: skip


def write_shard(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Six shards of 30 texts each, of 1 to 60 letters."""
    folder, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    for k in range(6):
        texts = {
            f"{i:03}.txt": (f"{k}-{i} " + "abcdefghijklmnopqrstuvwxyz" * 3)[: rng.integers(1, 60)] for i in range(30)
        }
        write_shard(folder / f"{k}.tar", {name: text.encode() for name, text in texts.items()})
    return folder


@pytest.fixture(autouse=True)
def _small_units(monkeypatch, tmp_path):
    monkeypatch.setattr(shards_module, "UNIT_BYTES", 1)
    monkeypatch.setattr(encode, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


def same_weights(run: Path, other: Path) -> bool:
    expected, found = weights(run), weights(other)
    return all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_a_stream_resumes_to_the_bit(shards, tmp_path, workers, monkeypatch):
    if workers:  # else with processes in the background
        monkeypatch.setattr(feeder, "Workers", lambda processes, background: Workers(1))
    whole = fit(shards, tmp_path, "whole", *TEXT)
    with signalled_at(7), pytest.raises(Interrupted):
        fit(shards, tmp_path, "stopped", *TEXT, f"--data.workers={workers}")
    shutil.rmtree(tmp_path / "cache")
    run_lightning("fit", resumed_config(tmp_path / "stopped"))
    assert same_weights(whole, tmp_path / "stopped")
    assert not [path for path in (tmp_path / "cache").glob("stream-*/live/*") if path.is_dir()]
    assert read_metrics(whole)["stream/waited"][1][-1] > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_whose_source_ends_is_resumed_when_it_is_there_again(shards, tmp_path, workers, monkeypatch):
    monkeypatch.setattr(feeder, "Workers", lambda processes, background: Workers(1))
    whole, local, opened = fit(shards, tmp_path, "whole", *TEXT), LocalShard.local, []

    def ending(self: LocalShard):
        opened.append(self.name)
        if len(opened) > 3:
            raise OSError(5, "the server is gone")
        return local(self)

    shutil.rmtree(tmp_path / "cache")
    fit(shards, tmp_path, "head", *TEXT, "--trainer.max_steps=1")  # the first shards are read
    with monkeypatch.context() as patch:
        patch.setattr(LocalShard, "local", ending)
        with pytest.raises(StreamError, match=r"^shard \d\.tar: the server is gone, 3 times"):
            fit(shards, tmp_path, "stopped", *TEXT, f"--data.workers={workers}")
    assert 0 < len(read_metrics(tmp_path / "stopped")["train/text"][0]) < 12
    run_lightning("fit", resumed_config(tmp_path / "stopped"))
    assert same_weights(whole, tmp_path / "stopped")


def test_only_sequences_are_streamed(shards):
    with pytest.raises(DataError, match=r"--data\.stream true: labelled are not read from a stream"):
        SequenceData(sequence_data_config()(path=str(shards), layouts=["text"], stream=True), examples="labelled")
    with pytest.raises(DataError, match=r"--data\.stream true reads tar shards, without a --data.manifest"):
        sequence_data_config()(path=str(shards), layouts=["text"], stream=True, manifest="a.csv")
