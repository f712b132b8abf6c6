"""A training leaves its process as it was."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Mapping

import numpy as np
import pytest
import torch

import helicon
from helicon.training.process_state import process_state_kept
from helicon.vqvae.precision import BACKENDS


def process_state() -> Mapping[str, object]:
    """Settings of this process that code elsewhere may depend on."""
    loggers = logging.root.manager.loggerDict.items()
    return {
        "products": (torch.get_float32_matmul_precision(), *(backend.fp32_precision for backend in BACKENDS)),
        "convolutions": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "random": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "warnings": list(warnings.filters),
        "loggers": {name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger)},
        "hooks": (sys.excepthook, sys.displayhook, sys.stdout, sys.stderr),
    }


def changed(before: Mapping[str, object]) -> set[str]:
    """Names of what differs now. Loggers that there were not before have no level of their own."""
    after = dict(process_state())
    levels = after["loggers"]
    assert isinstance(levels, dict)
    after["loggers"] = {name: levels[name] for name in before["loggers"]}  # type: ignore[union-attr]
    return {name for name in before if before[name] != after[name]}


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_a_training_leaves_its_process_as_it_was(midi_folder, tmp_path):
    tiny = ["--model.layers", "1", "--model.width", "16", "--model.heads", "1", "--model.context", "32"]
    tiny += ["--data.batch_size", "2", "--trainer.accelerator", "cpu", "--samples", "false"]
    before = process_state()
    helicon.train(midi_folder, "music", size="tiny", steps=2, runs=tmp_path, options=tiny)
    assert changed(before) == set()


def test_what_is_changed_is_put_back():
    before = process_state()
    with process_state_kept():
        torch.set_float32_matmul_precision("high")
        torch.manual_seed(1)
        random.random()
        np.random.rand()
        warnings.filterwarnings("ignore", ".*never.*")
        os.environ["HELICON_OF_A_TEST"] = "1"
        del os.environ["PATH"]
        logging.getLogger("pytorch_lightning").setLevel(logging.CRITICAL)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
        assert changed(before) == {
            "products", "random", "warnings", "environment", "loggers", "threads", "convolutions", "deterministic"
        }  # fmt: skip
    assert changed(before) == set()
