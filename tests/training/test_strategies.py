"""Weights in shards train as whole ones do; what processes decide they decide together; presets of strategies."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from learning_in_shards import SHAPES, make, one_of_two
from pytorch_lightning.strategies import DDPStrategy
from torch.multiprocessing.spawn import spawn
from training_runs import arguments, fit, resume_words, signalled_at

from helicon.training.learning.base import RunModule
from helicon.training.learning.epochs import NEVER
from helicon.training.learning.fsdp2 import FullyShard
from helicon.training.learning.sharding import unsharded
from helicon.training.learning.validating import ValidateInTime
from helicon.training.processes import launching, launching_ranks
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.settings.config import OptimizerConfig
from helicon.training.settings.sizes import Machine
from helicon.training.stopping import Interrupted, StopSiblingRanks
from helicon.training.usage_errors import UsageError


def test_a_gpt_in_shards_learns_as_a_whole_one(tmp_path):
    spawn(one_of_two, (tmp_path,), nprocs=2)
    assert {path.name for path in tmp_path.iterdir()} >= {"passed-0", "passed-1"}


def test_a_whole_gpt_needs_no_copy():
    gpt = make(SHAPES[0])
    assert unsharded(gpt, lambda: pytest.fail("a copy was made"), keep=True) is gpt


def trainer_of(config: str, *words: str) -> Any:
    return HeliconCLI("fit", ["--config", config, "--data.path", "nowhere", *words]).trainer


def test_presets_of_strategies():
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2"]
    ddp, fsdp = (trainer_of("text", "--config", name, *two) for name in ("ddp", "fsdp"))
    assert isinstance(ddp.strategy, DDPStrategy)
    assert isinstance(fsdp.strategy, FullyShard)
    assert (ddp.world_size, fsdp.world_size) == (2, 2)


@pytest.mark.parametrize(
    ("config", "strategy", "said"),
    [
        ("text", "fsdp", "fsdp takes .*; use fsdp2"),
        ("image-codec", "fsdp2", "for codec there is ddp"),
        ("text", "ddp_spawn", "use ddp"),
        ("text", "ddp_fork_find_unused_parameters_true", "use ddp"),
    ],
)
def test_strategies_that_cannot_train_this_are_refused(config, strategy, said):
    with pytest.raises(UsageError, match=said):
        trainer_of(config, "--trainer.strategy", strategy)


@pytest.mark.parametrize(("first", "clock_due"), [(True, False), (False, True)])
def test_the_first_process_says_when_to_validate(first, clock_due):
    callback = ValidateInTime(60.0)
    trainer = SimpleNamespace(world_size=2, val_check_batch=NEVER, accumulate_grad_batches=1)
    trainer.fit_loop = SimpleNamespace(batch_idx=0)
    asked = []
    trainer.strategy = SimpleNamespace(broadcast=lambda due: asked.append(due) or first)
    callback.on_train_start(cast(Any, trainer), cast(Any, None))
    callback.last -= 61 if clock_due else 0
    callback.on_train_batch_end(cast(Any, trainer), RunModule(OptimizerConfig()))
    assert asked == [clock_due]
    assert trainer.val_check_batch == (1 if first else NEVER)


def test_more_gpus_are_a_faster_machine():
    assert Machine("cuda", gpus=8).flops == 8 * Machine("cuda").flops


def test_further_processes_run_the_command_and_are_forgotten():
    before = launching._basic_subprocess_cmd
    with launching_ranks(["fit", "--config", "music"]):
        command = launching._basic_subprocess_cmd()
        assert command == [sys.executable, "-P", "-c", command[3], "fit", "--config", "music"]
        assert "from helicon.cli import main" in command[3]
        os.environ["LOCAL_RANK"] = "0"  # as Lightning does, which would take later processes for started
    assert launching._basic_subprocess_cmd is before
    assert "LOCAL_RANK" not in os.environ


def test_sigterm_before_the_first_step_cleans_up():
    with pytest.raises(SystemExit) as left, launching_ranks([]):
        signal.raise_signal(signal.SIGTERM)
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sigterm_ends_a_validation_by_several_at_once(monkeypatch):
    handlers = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    for command, processes in (("fit", 2), ("validate", 1), ("validate", 2)):
        assert not handlers
        trainer = SimpleNamespace(state=SimpleNamespace(fn=command), world_size=processes)
        StopSiblingRanks().on_validation_start(cast(Any, trainer), cast(Any, None))
    with pytest.raises(SystemExit, match="143"):
        handlers[signal.SIGTERM](signal.SIGTERM, None)


@pytest.mark.parametrize(("error", "killed"), [(OSError(), 1), (SystemExit(143), 1), (Interrupted(15, Path()), 0)])
def test_a_process_that_fails_ends_those_it_started(error, killed):
    sent = []
    launcher = object.__new__(launching._SubprocessScriptLauncher)
    launcher.procs = [SimpleNamespace(pid=1, send_signal=sent.append)]
    trainer = SimpleNamespace(strategy=SimpleNamespace(launcher=launcher))
    StopSiblingRanks().on_exception(cast(Any, trainer), cast(Any, None), error)
    assert len(sent) == killed


def lightning_leaves() -> None:
    """What Lightning makes of Ctrl-C before the first step."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def test_ctrl_c_is_no_error():
    with pytest.raises(KeyboardInterrupt), launching_ranks([]):
        lightning_leaves()


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_gpus_go_on_as_a_cpu_would(midi_folder, tmp_path, strategy):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    same = ["--model.dropout=0", "--trainer.precision=64-true", f"--data.batch_size={4 * torch.cuda.device_count()}"]
    expected = read_metrics(fit(midi_folder, tmp_path, "whole", *same))
    with signalled_at(1), pytest.raises(Interrupted):
        run_lightning("fit", arguments(midi_folder, tmp_path, "moved", *same))
    gpus = ["--config", strategy, "--trainer.accelerator=gpu", "--trainer.devices=auto"]
    found = read_metrics(run_lightning("fit", [*resume_words(tmp_path / "moved"), *gpus]).run_folder)
    for name, (steps, values) in expected.items():
        assert found[name][0] == steps
        assert found[name][1] == pytest.approx(values, abs=0.02)  # Muon's products are made in bfloat16
