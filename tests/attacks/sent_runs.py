"""A run that somebody sends, changed and gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from attacks import harness

import helicon.commands.train  # noqa: F401 (before processes are forked, whose time is counted)
from helicon.training.runs.checkpoints import read_checkpoint

TINY = [
    "--model.layers=1", "--model.width=16", "--model.heads=1", "--model.context=32", "--data.batch_size=2",
    "--data.val_split=0.2", "--trainer.accelerator=cpu", "--trainer.max_steps=4", "--trainer.val_check_interval=4",
    "--trainer.log_every_n_steps=1", "--samples=false", "--data.tokenizers={text: bytes}",
]  # fmt: skip


def resumed(run: Path, honest: Path, *words: str) -> harness.Outcome:
    """Two more steps of a run. words: what else is typed."""
    environment = {"HELICON_CACHE": str(honest.parents[1] / "cache"), "CUDA_VISIBLE_DEVICES": ""}
    typed = ["train", "--resume", str(run), "--trainer.max_steps", "6", *words]
    return harness.command(typed, run.parent, environment)


def configured(run: Path, **changes: object) -> None:
    """Changes a run's config."""
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def kept(run: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Changes what a run's last checkpoint holds, and removes the one before."""
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(path)
    change(checkpoint)
    torch.save(checkpoint, path)
    (run / "checkpoints" / "previous.ckpt").unlink(missing_ok=True)
    return path
