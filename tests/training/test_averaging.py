"""A moving average of the weights: what is kept and validated, and what a run is resumed with."""

from __future__ import annotations

import pytest
import torch
from training_runs import arguments, fit, resume_words, signalled_at, weights

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.training.learning.averaging import AverageWeights
from helicon.training.learning.keeping import KeepCheckpoints
from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.training.runs.metrics import read_metrics
from helicon.training.stopping import Interrupted

FEW = ("--model.layers=1", "--data.val_batches=1", "--model.dropout=0.1", "--trainer.max_steps=8")
NAME = "tokens.weight"


def current(run, checkpoint="last.ckpt"):
    """The weights that training goes on from."""
    return read_checkpoint(run / "checkpoints" / checkpoint)["current_model_state"]


def test_the_average_is_of_the_weights_after_each_step(midi_folder, tmp_path, monkeypatch):
    """Decays (1 + n) / (10 + n) but never more than .5: 2/11, 3/12, 4/13 ... after the first, which is the average."""
    monkeypatch.setattr(KeepCheckpoints.__init__, "__defaults__", (False, 0.0))
    seen, save = [], KeepCheckpoints.save

    def note(self, trainer):
        seen.append(trainer.lightning_module.gpt.tokens.weight.detach().clone())
        return save(self, trainer)

    monkeypatch.setattr(KeepCheckpoints, "save", note)
    run = fit(midi_folder, tmp_path, "run", *FEW, "--model.ema=0.5", "--trainer.limit_val_batches=0")
    mean = seen[0]
    for number, weight in enumerate(seen[1:8], 1):
        decay = min(0.5, (1 + number) / (10 + number))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(weights(run)[f"network.gpt.{NAME}"], mean)
    assert torch.equal(current(run)[f"network.gpt.{NAME}"], seen[7])
    assert torch.equal(load_bundle(run).gpt.state_dict()[NAME], weights(run)[f"network.gpt.{NAME}"])


def test_what_is_validated_is_kept(midi_folder, tmp_path):
    """And training is as without: the average alone is in the place of the weights."""
    plain = fit(midi_folder, tmp_path, "plain", *FEW)
    run = fit(midi_folder, tmp_path, "run", *FEW, "--model.ema=0.9", "--trainer.val_check_interval=8")
    assert read_metrics(run)["train/music"] == read_metrics(plain)["train/music"]
    expected = weights(plain)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in current(run).items())
    average = weights(run)
    assert not torch.equal(average[f"network.gpt.{NAME}"], expected[f"network.gpt.{NAME}"])
    kept = load_bundle(run)
    assert kept.notes["step"] == 8
    assert all(torch.equal(tensor, average[f"network.gpt.{name}"]) for name, tensor in kept.gpt.state_dict().items())
    assert main(["validate", "--config", str(run / "config.yaml"), "--ckpt_path", "last"]) == 0


OWN = (
    "--trainer.callbacks+=EMAWeightAveraging",
    "--trainer.callbacks.decay=0.9",
    "--trainer.callbacks.use_buffers=false",
)


@pytest.mark.parametrize(("ema", "step"), [(("--model.ema=0.9",), 5), (OWN, 2)], ids=["ours", "lightnings"])
def test_a_run_with_an_average_is_resumed_to_the_bit(midi_folder, tmp_path, ema, step):
    more = (*FEW, *ema, "--trainer.val_check_interval=6")
    whole = fit(midi_folder, tmp_path, "whole", *more)
    with signalled_at(step), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "run", *more)
    kept = load_bundle(tmp_path / "run").gpt.state_dict()[NAME]
    assert torch.equal(
        kept, weights(tmp_path / "run")[f"network.gpt.{NAME}"]
    )  # there was no validation before, or it was now
    if ema is OWN:
        run = run_lightning("fit", resume_words(tmp_path / "run")).run_folder
    else:
        run = run_lightning("fit", resumed_config(tmp_path / "run")).run_folder
    for found, expected in ((weights(run), weights(whole)), (current(run), current(whole))):
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert read_metrics(run) == read_metrics(whole)
    assert load_bundle(run).hash() == load_bundle(whole).hash()


def test_a_longer_run_goes_on_from_the_weights_themselves(midi_folder, tmp_path):
    """As it ends, Lightning's callback puts the average in their place: the checkpoint is written before."""
    more = (*FEW, "--model.ema=0.9", "--model.lr=0.01", "--lr_scheduler=ConstantLR")
    whole = fit(midi_folder, tmp_path, "whole", *more)
    short = fit(midi_folder, tmp_path, "short", *more, "--trainer.max_steps=4")
    longer = run_lightning("fit", [*resume_words(short), "--trainer.max_steps=8"]).run_folder
    assert all(torch.equal(tensor, current(whole)[name]) for name, tensor in current(longer).items())


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--model.ema=1"], "--model.ema must be from 0 to below 1, got 1"),
     (["--model.ema=0.9", "--trainer.strategy=fsdp2"], "--model.ema needs weights that are whole")],
)  # fmt: skip
def test_what_cannot_be_averaged_is_refused(midi_folder, tmp_path, capsys, words, said):
    assert main(["fit", *arguments(midi_folder, tmp_path, "run", *words)]) in (1, 2)
    assert said in capsys.readouterr().err


def test_the_share_of_a_new_average():
    mean, one = torch.zeros(2, dtype=torch.float64), torch.ones(2)
    average = AverageWeights(0.99)
    shares = [float(average._mean(mean, one, torch.tensor(count))[0]) for count in (1, 90, 10_000)]
    assert shares == pytest.approx([9 / 11, 0.09, 0.01])
