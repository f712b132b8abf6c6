"""What a checkpoint says of a training, looked at before Lightning goes on from it: built as this training's own is.

A checkpoint may be somebody else's, and what is in it was not yet judged when its file was read.
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

MAX_NUMBER = 1 << 53  # of anything counted


class CheckingConnector(_CheckpointConnector):
    """Lightning's, which checks first. Whatever it comes upon is a TrainingError that names the checkpoint.

    A private class, put in the place of the trainer's own: of what is restored when, optimizers last, the public hooks
    (`on_load_checkpoint`, CheckpointIO) see only the beginning, and they cannot say what an error in the rest means.
    """

    def resume_start(self, checkpoint_path: Any = None, weights_only: bool | None = None) -> None:
        self._ckpt_path = checkpoint_path
        with self._told():
            super().resume_start(checkpoint_path, weights_only)

    def restore_datamodule(self) -> None:
        with self._told():
            super().restore_datamodule()

    def restore_model(self) -> None:
        with self._told():
            super().restore_model()

    def restore_callbacks(self) -> None:
        with self._told():
            if self._loaded_checkpoint:
                self._check_callbacks(self._loaded_checkpoint.get("callbacks", {}))
            super().restore_callbacks()

    def restore_training_state(self) -> None:
        with self._told():
            if self._loaded_checkpoint:
                self._check_progress(self._loaded_checkpoint)
            super().restore_training_state()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except TrainingError:
            raise
        except Exception as error:  # whatever Lightning and PyTorch come upon in what does not fit
            said = " ".join(str(error).split()) if str(error) else type(error).__name__
            name, reason = printable(self._ckpt_path), printable(said, MAX_QUOTED)
            raise TrainingError(f"{name}: refused, no checkpoint of such a training ({reason})") from None

    def _check_callbacks(self, found: Any) -> None:
        """ValueError unless each callback that keeps something has a mapping of it, and clocks have times."""
        if not isinstance(found, dict) or not all(isinstance(state, dict) for state in found.values()):
            raise ValueError(f"callbacks: {shown(found)}")
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Timer) and callback.state_key in found:
                times = {stage: float(time) for stage, time in callback.state_dict()["time_elapsed"].items()}
                check_structure(f"callbacks.{callback.state_key}", found[callback.state_key], {"time_elapsed": times})

    def _check_progress(self, found: Mapping[str, Any]) -> None:
        """ValueError unless loops, optimizers and schedulers are built as here, and have come as far as the record."""
        module = self.trainer.lightning_module
        assert isinstance(module, RunModule)
        check_structure("loops", found.get("loops"), self._get_loops_state_dict())
        steps = module.record.steps
        step = found["loops"]["fit_loop"]["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
        counts = {"global_step": found.get("global_step"), "loops": step["total"]["completed"]}
        if self.trainer.state.fn == TrainerFn.FITTING:
            own = module.user_optimizer.scheduler is not None
            check_structure("lr_schedulers", found.get("lr_schedulers"), self._schedulers(), any_number=own)
            if not own:
                counts["lr_schedulers"] = found["lr_schedulers"][0]["last_epoch"]
            states, optimizers = found.get("optimizer_states"), self.trainer.optimizers
            if not isinstance(states, list) or len(states) != len(optimizers):
                raise ValueError(f"optimizer_states: {shown(states)}")
            for state, optimizer in zip(states, optimizers):
                check_optimizer("optimizer_states", state, optimizer)
        for name, count in counts.items():
            if type(count) is not int or count != steps:
                raise ValueError(f"{name}: {shown(count)} steps, its record is of {steps:,}")

    def _schedulers(self) -> list[dict[str, Any]]:
        return [config.scheduler.state_dict() for config in self.trainer.lr_scheduler_configs]


def check_structure(name: str, found: Any, own: Any, any_number: bool = False) -> None:
    """ValueError unless a value is built as one's own: of the same keys, lengths and types, numbers finite and not
    negative unless any will do, as in a schedule of the user's own. Flags may be missing: later versions of PyTorch
    have more of them, which they set themselves."""
    if isinstance(own, dict):
        _check_keys(name, found, own)
        for key, value in found.items():
            check_structure(f"{name}.{key}", value, own[key], any_number)
    elif isinstance(own, list | tuple):
        if type(found) is not type(own) or len(found) != len(own):
            raise ValueError(f"{name}: {shown(found)}, {len(own)} values are needed")
        for value, each in zip(found, own):
            check_structure(name, value, each, any_number)
    elif type(own) in (int, float):
        accepted = (int,) if type(own) is int and not any_number else (int, float)
        kind = type(found) in accepted
        if not kind or (not any_number and not (0 <= found <= MAX_NUMBER and math.isfinite(found))):
            raise ValueError(f"{name}: {shown(found)}")
    elif type(found) is not type(own):
        raise ValueError(f"{name}: {shown(found)}")


def _check_keys(name: str, found: Any, own: Mapping[Any, Any]) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{name}: {shown(found)}")
    if unknown := [key for key in found if key not in own]:
        raise ValueError(f"{name}: {shown(unknown[0])} is unknown")
    if missing := [key for key, value in own.items() if key not in found and not isinstance(value, bool | None)]:
        raise ValueError(f"{name}: {shown(missing[0])} is missing")


def check_optimizer(name: str, found: Any, optimizer: Optimizer) -> None:
    """ValueError unless what an optimizer keeps is of its own parameters, and its groups differ in numbers alone.

    What one of the user's own keeps of a parameter is not known here: tensors and plain values.
    """
    if isinstance(optimizer, MuonAdamW):
        own = {"muon": optimizer.muon, "adamw": optimizer.adamw}
        _check_keys(name, found, own)
        for part, each in own.items():
            check_optimizer(f"{name}.{part}", found[part], each)
        return
    own = optimizer.state_dict()
    _check_keys(name, found, own)
    known = type(optimizer) in STATE_KEYS  # else one of the user's own
    check_structure(f"{name}.param_groups", found["param_groups"], own["param_groups"], any_number=not known)
    for group, ours in zip(found["param_groups"], own["param_groups"]):
        for key, value in group.items():
            if not isinstance(ours[key], float | tuple) and value != ours[key]:
                raise ValueError(f"{name}.param_groups.{key}: {shown(value)}")
    parameters = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    if not isinstance(found["state"], dict) or not found["state"].keys() <= parameters.keys():
        raise ValueError(f"{name}.state: {shown(found['state'])}, not of {len(parameters)} parameters")
    if not known:
        for key, kept in found["state"].items():
            if not isinstance(kept, dict) or not all(isinstance(v, Tensor | int | float | None) for v in kept.values()):
                raise ValueError(f"{name}.state.{key}: {shown(kept)}, no tensors and numbers")
        return
    for key, kept in found["state"].items():
        place, shape = f"{name}.state.{key}", parameters[key].shape
        _check_keys(place, kept, dict.fromkeys(STATE_KEYS[type(optimizer)], 0))
        for what, tensor in kept.items():
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                raise ValueError(f"{place}.{what}: no tensor of numbers with a point")
            if tensor.shape != (() if what == "step" else shape):
                raise ValueError(f"{place}.{what}: a tensor of {list(tensor.shape)}, its parameter has {list(shape)}")
