"""Validation of a checkpoint's content before Lightning restores it: it must have the structure of this training.

A checkpoint may be a stranger's, and reading its file safely (`runs/checkpoints.py`) says nothing of its values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pytorch_lightning.callbacks import Timer
from pytorch_lightning.trainer.connectors.checkpoint_connector import _CheckpointConnector
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from helicon.formats.checked import shown
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.learning.optimizers import STATE_KEYS, MuonAdamW

MAX_NUMBER = 1 << 53  # of counters and times: integers up to it are exact in a double


class CheckingConnector(_CheckpointConnector):
    """Lightning's checkpoint connector with checks; all errors are TrainingErrors that name the checkpoint.

    It replaces a private class of Lightning: the public hooks (`on_load_checkpoint`, CheckpointIO) run before loops,
    callbacks and optimizers are restored, and cannot explain errors there.
    """

    def resume_start(self, checkpoint_path: Any = None, weights_only: bool | None = None) -> None:
        self._ckpt_path = checkpoint_path
        with self._refusing():
            super().resume_start(checkpoint_path, weights_only)

    def restore_datamodule(self) -> None:
        with self._refusing():
            super().restore_datamodule()

    def restore_model(self) -> None:
        with self._refusing():
            super().restore_model()

    def restore_callbacks(self) -> None:
        with self._refusing():
            if self._loaded_checkpoint:
                self._check_callbacks(self._loaded_checkpoint.get("callbacks", {}))
            super().restore_callbacks()

    def restore_training_state(self) -> None:
        with self._refusing():
            if self._loaded_checkpoint:
                self._check_progress(self._loaded_checkpoint)
            super().restore_training_state()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn any exception into a TrainingError that names the checkpoint."""
        try:
            yield
        except TrainingError:
            raise
        except Exception as error:  # Lightning and PyTorch raise many kinds for a state that does not fit
            message = " ".join(str(error).split()) if str(error) else type(error).__name__
            name, reason = printable(self._ckpt_path), printable(message, MAX_QUOTED)
            raise TrainingError(f"{name}: refused, no checkpoint of such a training ({reason})") from None

    def _check_callbacks(self, states: Any) -> None:
        """Raise ValueError unless the state of each callback is a mapping, and those of Timers have times."""
        if not isinstance(states, dict) or not all(isinstance(state, dict) for state in states.values()):
            raise ValueError(f"callbacks: {shown(states)}")
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Timer) and callback.state_key in states:
                times = {stage: float(time) for stage, time in callback.state_dict()["time_elapsed"].items()}
                check_structure(f"callbacks.{callback.state_key}", states[callback.state_key], {"time_elapsed": times})

    def _check_progress(self, checkpoint: Mapping[str, Any]) -> None:
        """Raise ValueError unless loops, optimizers and schedulers have this run's structure and the record's step."""
        module = self.trainer.lightning_module
        assert isinstance(module, RunModule)
        check_structure("loops", checkpoint.get("loops"), self._get_loops_state_dict())
        steps = module.record.steps
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.automatic_optimization.optim_progress"]
        loop_steps = progress["optimizer"]["step"]["total"]["completed"]
        counts = {"global_step": checkpoint.get("global_step"), "loops": loop_steps}
        if self.trainer.state.fn == TrainerFn.FITTING:
            users = module.user_optimizer.scheduler is not None
            check_structure("lr_schedulers", checkpoint.get("lr_schedulers"), self._schedulers(), any_number=users)
            if not users:
                counts["lr_schedulers"] = checkpoint["lr_schedulers"][0]["last_epoch"]
            states, optimizers = checkpoint.get("optimizer_states"), self.trainer.optimizers
            if not isinstance(states, list) or len(states) != len(optimizers):
                raise ValueError(f"optimizer_states: {shown(states)}")
            for state, optimizer in zip(states, optimizers):
                check_optimizer("optimizer_states", state, optimizer)
        for name, count in counts.items():
            if type(count) is not int or count != steps:
                raise ValueError(f"{name}: {shown(count)} steps, its record is of {steps:,}")

    def _schedulers(self) -> list[dict[str, Any]]:
        return [config.scheduler.state_dict() for config in self.trainer.lr_scheduler_configs]


def check_structure(name: str, value: Any, reference: Any, any_number: bool = False) -> None:
    """Validate that a value has the structure of a reference: keys, lengths and types, all the way down.

    Numbers are finite and from 0 to MAX_NUMBER. Keys of flags may be missing: later versions of PyTorch have more
    flags, and set them themselves.

    Args:
        name: of the value, for messages.
        value: from a checkpoint; dicts, lists, tensors and plain values.
        reference: value of this training.
        any_number: True accepts any number, as in the state of a user's scheduler.

    Raises:
        ValueError: the structure differs; names the place.
    """
    if isinstance(reference, dict):
        _check_keys(name, value, reference)
        for key, item in value.items():
            check_structure(f"{name}.{key}", item, reference[key], any_number)
    elif isinstance(reference, list | tuple):
        if type(value) is not type(reference) or len(value) != len(reference):
            raise ValueError(f"{name}: {shown(value)}, {len(reference)} values are needed")
        for item, reference_item in zip(value, reference):
            check_structure(name, item, reference_item, any_number)
    elif type(reference) in (int, float):
        accepted = (int,) if type(reference) is int and not any_number else (int, float)
        kind = type(value) in accepted
        if not kind or (not any_number and not (0 <= value <= MAX_NUMBER and math.isfinite(value))):
            raise ValueError(f"{name}: {shown(value)}")
    elif type(value) is not type(reference):
        raise ValueError(f"{name}: {shown(value)}")


def _check_keys(name: str, value: Any, reference: Mapping[Any, Any]) -> None:
    """Raise ValueError unless a value is a dict with the keys of a reference; flags (bool or None) may be missing."""
    if not isinstance(value, dict):
        raise ValueError(f"{name}: {shown(value)}")
    if unknown := [key for key in value if key not in reference]:
        raise ValueError(f"{name}: {shown(unknown[0])} is unknown")
    if missing := [key for key, item in reference.items() if key not in value and not isinstance(item, bool | None)]:
        raise ValueError(f"{name}: {shown(missing[0])} is missing")


def check_optimizer(name: str, saved: Any, optimizer: Optimizer) -> None:
    """Validate that the state of an optimizer is of its parameters, and that groups differ in numbers alone.

    The state that a user's optimizer has of a parameter is unknown: tensors and plain values are accepted.

    Args:
        name: of the state, for messages.
        saved: state_dict of an optimizer from a checkpoint.
        optimizer: `Optimizer` to be restored.

    Raises:
        ValueError: the state does not fit; names the place.
    """
    if isinstance(optimizer, MuonAdamW):
        parts = {"muon": optimizer.muon, "adamw": optimizer.adamw}
        _check_keys(name, saved, parts)
        for part, part_optimizer in parts.items():
            check_optimizer(f"{name}.{part}", saved[part], part_optimizer)
        return
    reference = optimizer.state_dict()
    _check_keys(name, saved, reference)
    known = type(optimizer) in STATE_KEYS  # else the user's
    check_structure(f"{name}.param_groups", saved["param_groups"], reference["param_groups"], any_number=not known)
    for group, reference_group in zip(saved["param_groups"], reference["param_groups"]):
        for key, value in group.items():
            if not isinstance(reference_group[key], float | tuple) and value != reference_group[key]:
                raise ValueError(f"{name}.param_groups.{key}: {shown(value)}")
    parameters = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    if not isinstance(saved["state"], dict) or not saved["state"].keys() <= parameters.keys():
        raise ValueError(f"{name}.state: {shown(saved['state'])}, not of {len(parameters)} parameters")
    if not known:
        for key, state in saved["state"].items():
            if not isinstance(state, dict) or not all(
                isinstance(value, Tensor | int | float | None) for value in state.values()
            ):
                raise ValueError(f"{name}.state.{key}: {shown(state)}, no tensors and numbers")
        return
    for key, state in saved["state"].items():
        place, shape = f"{name}.state.{key}", parameters[key].shape
        _check_keys(place, state, dict.fromkeys(STATE_KEYS[type(optimizer)], 0))
        for state_name, tensor in state.items():
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                raise ValueError(f"{place}.{state_name}: no tensor of numbers with a point")
            if tensor.shape != (() if state_name == "step" else shape):
                raise ValueError(
                    f"{place}.{state_name}: a tensor of {list(tensor.shape)}, its parameter has {list(shape)}"
                )
