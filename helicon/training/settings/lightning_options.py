"""Checks of Lightning's options: those without effect, odd numbers, and unsupported precisions and strategies."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl

from helicon.formats.checked import shown
from helicon.formats.printable import printable

FSDP2 = "fsdp2"  # value of --trainer.strategy
# Defaults of the Trainer that differ from Lightning's: a run has callbacks of its own for checkpoints and progress;
# batches are endless, so that validations count steps; gradients are clipped to norm 1
DEFAULTS = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "gradient_clip_val": 1.0,
    "max_epochs": -1,
    "check_val_every_n_epoch": None,
    "val_check_interval": 200,  # steps
    "log_every_n_steps": 10,  # Lightning's 50 leaves few points of a short run
}

# Strategies that pickle or fork the process after the data module and its files are open
COPYING_STRATEGIES = ("ddp_spawn", "ddp_fork", "ddp_notebook")

# Option of the Trainer -> why it would have no effect, and what to use instead
UNUSED = {
    "model_registry": "a run has its checkpoints in its folder, which --runs and --name choose",
    "check_val_every_n_epoch": "--trainer.val_check_interval 1.0 validates every epoch, 400 every 400 batches",
    "reload_dataloaders_every_n_epochs": "batches are endless, and a function of their number",
    "limit_predict_batches": "there is no predict; helicon generate makes new media",
    "barebones": "a run logs its metrics; set what is to be left out by itself",
    "sync_batchnorm": "there is no batch norm",
    "use_distributed_sampler": "processes share each batch by themselves",
}
# Values of --trainer.precision: of a GPT, and of each codec task. No float16: gradients of the summed loss leave its
# range, and PyTorch's fused AdamW unscales them only after they have been clipped
GPT_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")
PRECISIONS = {
    "codec": ("32-true", "bf16-mixed"),
    "audio-codec": ("32-true", "bf16-mixed"),
}
# Bounds of the Trainer's numbers, such as steps; those without a minimum may be negative (-1: no limit)
MIN_VALUES = {"val_check_interval": 1e-6, "overfit_batches": 0, "gradient_clip_val": 0, "accumulate_grad_batches": 1}
MAX_COUNT = 10**12  # far above any training, and exact as a float
PRECISION_ALIASES = {"None": "32-true", "32": "32-true", "64": "64-true", "bf16": "bf16-mixed"}  # Lightning's


def unused_option(config: Mapping[str, Any]) -> str | None:
    """Return a one-line refusal of the first option in a config that would have no effect in Lightning, or None."""
    signature = inspect.signature(pl.Trainer.__init__).parameters
    trainer = config.get("trainer") or {}
    for name, reason in UNUSED.items():
        value = trainer.get(name)
        if value not in (None, DEFAULTS.get(name, signature[name].default)):
            return f"--trainer.{name} {_shown(value)} would have no effect: {reason}"
    if (seed := config.get("seed_everything")) is not None and seed is not False:  # 0 is a seed
        return "--seed_everything would have no effect: use --data.seed"
    if config.get("weights_only") is not None:
        return "--weights_only would have no effect: checkpoints are never read otherwise"
    return None


def invalid_number(config: Mapping[str, Any]) -> str | None:
    """Return a one-line refusal of the first number in a config that is not finite or out of bounds, or None."""
    for name, value in config["trainer"].items():
        least = MIN_VALUES.get(name, -MAX_COUNT)
        if isinstance(value, int | float) and not least <= value <= MAX_COUNT:  # nor NaN
            return f"--trainer.{name} {shown(value)}: a number from {least:g} to {MAX_COUNT:g} is accepted"
    for group in ("model", "data"):
        for name, value in config[group].items():
            if not all(map(math.isfinite, _floats(value))):
                return f"--{group}.{name} {shown(value)}: finite numbers are accepted"
    return None


def _floats(value: Any) -> Iterator[float]:
    """Yield the floats of a nested value."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _floats(part)


def unknown_precision(task: str, precision: Any) -> str | None:
    """Check a precision of the trainer.

    Args:
        task: name of an objective or a codec task.
        precision: value of --trainer.precision.

    Returns:
        Refusal, a text of one line; None for a precision that the task supports.
    """
    accepted = PRECISIONS.get(task, GPT_PRECISIONS)
    if PRECISION_ALIASES.get(str(precision), str(precision)) in accepted:
        return None
    return f"--trainer.precision {_shown(precision)} is not accepted: a {task} is trained in {', '.join(accepted)}"


def unknown_strategy(task: str, name: str, averaged: bool = False) -> str | None:
    """Check a strategy of the trainer.

    Args:
        task: name of an objective or a codec task.
        name: value of --trainer.strategy.
        averaged: True where weights are averaged (--model.ema).

    Returns:
        Refusal, a text of one line; None for a strategy that the task supports.
    """
    if name.startswith("fsdp") and name != FSDP2:
        return f"--trainer.strategy {name} takes parameters apart that Muon needs whole; use {FSDP2}"
    if name.startswith(COPYING_STRATEGIES):
        return f"--trainer.strategy {_shown(name)} copies this process as it is; use ddp, which starts others"
    if name == FSDP2 and task != "gpt":
        return f"--trainer.strategy {FSDP2} shares out the layers of a GPT alone; for {task} there is ddp"
    if name == FSDP2 and averaged:
        return f"--model.ema needs weights that are whole: with --trainer.strategy {FSDP2} let it be 0"
    return None


def _shown(value: Any) -> str:
    kind = value.get("class_path") if isinstance(value, Mapping) or hasattr(value, "class_path") else None
    return printable(str(kind or value), 60)
