"""What a stranger's checkpoint says of a training: built as one's own, or refused in a line that names it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from attacks.harness import Outcome, attempt, posix, put
from attacks.sent_runs import configured, kept
from training.training_runs import resume_words

from helicon.bundle.storage import load_bundle
from helicon.training.run import run_lightning

pytestmark = posix

Change = Callable[[dict[str, Any]], Any]
LOOP = ("loops", "fit_loop")
STEPS = (*LOOP, "epoch_loop.automatic_optimization.optim_progress", "optimizer", "step", "total", "completed")
MUON, ADAMW = (("optimizer_states", 0, part) for part in ("muon", "adamw"))
NORM = "network.gpt.norm.weight"
RATE = ("lr_schedulers", 0)


def without(*keys: Any) -> Change:
    """A change: takes away what `keys` lead to."""
    *path, last = keys

    def change(checkpoint: Any) -> None:
        for key in path:
            checkpoint = checkpoint[key]
        del checkpoint[last]

    return change


CHANGES: dict[str, Change] = {
    "no version": without("pytorch-lightning_version"),
    "a version that is none": put("pytorch-lightning_version", "\x1b[31m" * 100),
    "a version of numbers": put("pytorch-lightning_version", [2, 6, 6]),
    "an old version, of another structure": put("pytorch-lightning_version", "0.1.0"),
    "no loops": without("loops"),
    "loops that are none": put("loops", None),
    "loops of another kind": put("loops", "x" * 100_000),
    "no loop of training": without(*LOOP),
    "another loop": put("loops", "more", {}),
    "counts that are none": put(*LOOP, "epoch_loop.batch_progress", "total", "ready", "4"),
    "counts of a fraction": put(*LOOP, "epoch_loop.batch_progress", "total", "ready", 4.5),
    "counts below 0": put(*LOOP, "epoch_progress", "current", "processed", -1),
    "counts of many digits": put(*LOOP, "epoch_loop.batch_progress", "current", "ready", 1 << 2000),
    "state of a loop": put(*LOOP, "state_dict", {"combined_loader": [{}]}),
    "steps that were not made": put(*STEPS, 10**12),
    "steps that are none": put("global_step", None),
    "callbacks that are none": put("callbacks", [1]),
    "a callback that is none": put("callbacks", "Timer", 1),
    "no optimizer": put("optimizer_states", []),
    "optimizers that are none": put("optimizer_states", None),
    "no groups": without(*MUON, "param_groups"),
    "a group without a rate": without(*MUON, "param_groups", 0, "lr"),
    "a group of other parameters": put(*MUON, "param_groups", 0, "params", [0, 1, 2, 4]),
    "a group of many parameters": put(*MUON, "param_groups", 0, "params", list(range(100_000))),
    "a rate that is none": put(*MUON, "param_groups", 0, "lr", "x" * 100_000),
    "a rate without end": put(*MUON, "param_groups", 0, "lr", math.inf),
    "another kind of AdamW": put(*ADAMW, "param_groups", 0, "amsgrad", True),
    "momentum of no parameter": put(*MUON, "state", 99, {"momentum": torch.zeros(1)}),
    "momentum of another shape": put(*MUON, "state", 0, "momentum", torch.zeros(3)),
    "momentum that is none": put(*MUON, "state", 0, "momentum", [0.0]),
    "momentum of whole numbers": put(*MUON, "state", 0, "momentum", torch.zeros(48, 16, dtype=torch.int64)),
    "half of a state": without(*ADAMW, "state", 0, "exp_avg_sq"),
    "more than a state": put(*ADAMW, "state", 0, "max_exp_avg_sq", torch.zeros(259, 16)),
    "steps of a parameter": put(*ADAMW, "state", 0, "step", torch.zeros(259)),
    "no schedulers": without("lr_schedulers"),
    "a scheduler that is none": put("lr_schedulers", [None]),
    "a scheduler with methods": put(*RATE, "step", 1),
    "a method with attributes": put(*RATE, "lr_lambdas", [{"x": 1}, {}]),
    "rates of another number": put(*RATE, "base_lrs", [0.003] * 3),
    "a scheduler elsewhere": put(*RATE, "last_epoch", -3),
    "weights of another shape": lambda checkpoint: checkpoint["state_dict"].update({NORM: torch.ones(3)}),
    "weights of nothing": lambda checkpoint: checkpoint["state_dict"].update({"x\x1b[31m" * 99: torch.ones(3)}),
    "no weights": lambda checkpoint: checkpoint["state_dict"].clear(),
    "a record of words": put("record", "progress", "0.5"),
    "no record": without("record"),
}  # fmt: skip
FAST = {
    "a version that is none", "loops of another kind", "counts of a fraction", "steps that were not made",
    "momentum of another shape", "half of a state", "a scheduler with methods", "weights of another shape",
}  # fmt: skip


def gone_on(run: Path, honest: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Two more steps of a run, without the page that the command ends with."""
    monkeypatch.setenv("HELICON_CACHE", str(honest.parents[1] / "cache"))
    return attempt(lambda: run_lightning("fit", [*resume_words(run), "--trainer.max_steps=6"]).run_folder)


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CHANGES]
)
def test_a_state_that_is_none_of_this_training(honest, sent, monkeypatch, name):
    path = kept(sent, CHANGES[name])
    ended = gone_on(sent, honest, monkeypatch)
    ended.is_refusal(path, "refused" if "record" not in name else "not a checkpoint of a run")
    assert ended.kind == "TrainingError"


@pytest.mark.parametrize("model", [{"width": 1 << 16}, {"layers": 512}, {"mlp_ratio": 64.0}, {"context": 1 << 20}])
def test_a_model_that_the_checkpoint_does_not_have(honest, sent, monkeypatch, model):
    """Nothing is allocated for what a run's config says of it."""
    config = yaml.safe_load((sent / "config.yaml").read_text())
    config["data"]["batch_size"] = 1
    configured(sent, model=config["model"] | model, data=config["data"])
    ended = gone_on(sent, honest, monkeypatch)
    ended.is_refusal(sent / "checkpoints" / "last.ckpt", "weights of another model")


def test_a_state_of_a_training_is_gone_on_with(honest, sent, monkeypatch):
    """Also where a later PyTorch has another flag, and numbers are others."""

    def change(checkpoint: dict[str, Any]) -> None:
        del checkpoint["optimizer_states"][0]["adamw"]["param_groups"][0]["decoupled_weight_decay"]
        checkpoint["optimizer_states"][0]["adamw"]["param_groups"][0]["weight_decay"] = 0.5
        checkpoint["callbacks"]["Another"] = {"anything": [1, "\x1b[31m"]}

    kept(sent, change)
    ended = gone_on(sent, honest, monkeypatch)
    assert not ended.kind, ended
    assert load_bundle(sent).notes["step"] == 6
    assert "\x1b" not in ended.err
