"""Short pieces fill a step: what the loss is divided by, a run that is stopped and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import fit, signalled_at, weights

from helicon.data.config import sequence_data_config
from helicon.data.entries import DataError
from helicon.objectives.next_token import slot_nats
from helicon.training.learning.data import SequenceData
from helicon.training.learning.module import GPTModule
from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
from helicon.training.stopping import Interrupted

TEXT = ("--data.layouts=[text]", "--data.tokenizers={text: bytes}", "--model.slot_weights={}", "--model.dropout=0.1")


@pytest.fixture(scope="module")
def sayings(tmp_path_factory) -> Path:
    """Texts of 1 to 30 letters, in files of their own."""
    folder = tmp_path_factory.mktemp("sayings")
    for i, length in enumerate(np.random.default_rng(0).integers(1, 31, 150).tolist()):
        (folder / f"{i:03}.txt").write_text((f"{i} abcdefghijklmnopqrstuvwxyz01234")[:length])
    return folder


def test_a_batch_of_short_pieces_is_divided_by_full_sequences(sayings, tmp_path, monkeypatch):
    """Of 4 sequences of 64 tokens, the room for text being 63; validation fills its batches alike."""
    step, validation, seen, measured = GPTModule.training_step, GPTModule.validation_step, [], []

    def training_step(self: GPTModule, batch, batch_idx: int) -> torch.Tensor:
        assert self.gpt is not None
        random = torch.get_rng_state()
        nats, count = slot_nats(self.gpt, self.data.sequencer, batch, {"text"})["text"]
        torch.set_rng_state(random)  # dropout
        loss = step(self, batch, batch_idx)
        seen.append((batch, float(nats), count, float(loss), self.throughput_units(batch)))
        return loss

    monkeypatch.setattr(GPTModule, "training_step", training_step)
    monkeypatch.setattr(
        GPTModule, "validation_step", lambda self, batch, i: measured.append(batch) or validation(self, batch, i)
    )
    fit(sayings, tmp_path, "run", *TEXT)
    assert len(seen) == 12
    for batch, nats, count, loss, amount in seen:
        assert loss == pytest.approx(nats / (4 * 63))
        assert len(batch.ids) > 4
        assert amount == int(batch.lengths.sum()) <= 4 * 64
        assert count == int((batch.targets >= 0).sum()) == amount  # a text's letters and its end
    assert np.mean([amount for *_, amount in seen]) > 0.75 * 4 * 64
    assert max(len(batch.ids) for batch in measured) > 4
    assert all(batch.ids.numel() <= 4 * 64 for batch in measured)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_short_pieces_resumes_to_the_bit(sayings, tmp_path, workers):
    """An epoch is of some dozen steps: it stops in the middle of one."""
    whole = fit(sayings, tmp_path, "whole", *TEXT)
    with signalled_at(7), pytest.raises(Interrupted):
        fit(sayings, tmp_path, "stopped", *TEXT, f"--data.workers={workers}")
    run_lightning("fit", resumed_config(tmp_path / "stopped"))
    expected, found = weights(whole), weights(tmp_path / "stopped")
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("layout", "option", "accepted"),
    [
        ("text", {"pedal": "drop"}, "accepted are --data.encoding"),
        ("style[3] music", {"size": 64}, "accepted are --data.pedal"),
        ("image[8x8]", {"channels": 2}, "accepted are --data.size"),
    ],
)
def test_an_option_of_reading_other_media_is_refused(tmp_path, layout, option, accepted):
    (name,) = option
    with pytest.raises(DataError, match=f"--data.{name}: .*; {accepted}"):
        SequenceData(sequence_data_config()(path=str(tmp_path), layouts=[layout], **option))
    SequenceData(sequence_data_config()(path=str(tmp_path), layouts=[layout], max_mb=1))
