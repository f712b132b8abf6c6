"""Number formats of a training: those it does not work in are refused before there is a run."""

from __future__ import annotations

import pytest
import torch
from training_runs import arguments, fit

from helicon.bundle.storage import load_bundle
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.usage_errors import UsageError

PLUGIN = "{class_path: pytorch_lightning.plugins.precision.HalfPrecision, init_args: {precision: 16-true}}"


@pytest.mark.parametrize("precision", ["16-mixed", "16", "16-true", "transformer-engine", "transformer-engine-float16"])
def test_half_precision_is_refused_before_there_is_a_run(tmp_path, precision):
    accepted = "a gpt is trained in 32-true, bf16-mixed, bf16-true, 64-true"
    with pytest.raises(UsageError, match=f"^--trainer.precision {precision}(-mixed)? is not accepted: {accepted}$"):
        run_lightning("fit", arguments(tmp_path, tmp_path / "runs", "run", f"--trainer.precision={precision}"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("task", ["image-codec", "audio-codec"])
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-true", "64-true"])
def test_codecs_are_trained_in_single_precision(tmp_path, task, precision):
    with pytest.raises(UsageError, match=r"is not accepted: a .*codec is trained in 32-true, bf16-mixed$"):
        HeliconCLI("fit", ["--config", task, "--data.path", str(tmp_path), f"--trainer.precision={precision}"])


def test_a_plugin_of_a_config_changes_nothing(tmp_path):
    with pytest.raises(UsageError, match=r"--trainer\.precision 16-true is not accepted"):
        HeliconCLI("fit", arguments(tmp_path, tmp_path / "runs", "run", f"--trainer.plugins={PLUGIN}"))


def test_pure_bfloat16_makes_a_model(midi_folder, tmp_path):
    run = fit(midi_folder, tmp_path, "run", "--trainer.precision=bf16-true", "--trainer.max_steps=1")
    parameters = list(load_bundle(run).gpt.parameters())
    assert {parameter.dtype for parameter in parameters} == {torch.bfloat16}
    assert all(parameter.isfinite().all() for parameter in parameters)
