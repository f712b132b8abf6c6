"""A training on tar shards that are tokenised while it runs: batches by their number, resuming, sources that end."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import fit, signalled_at, weights

from helicon.data.streaming import shards as shards_module
from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
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
def _small_units(monkeypatch):
    monkeypatch.setattr(shards_module, "UNIT_BYTES", 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_a_stream_resumes_to_the_bit(shards, tmp_path, workers, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    whole = fit(shards, tmp_path, "whole", *TEXT)
    with signalled_at(7), pytest.raises(Interrupted):
        fit(shards, tmp_path, "stopped", *TEXT, f"--data.workers={workers}")
    run_lightning("fit", resumed_config(tmp_path / "stopped"))
    expected, found = weights(whole), weights(tmp_path / "stopped")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
