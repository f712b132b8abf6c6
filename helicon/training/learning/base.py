"""What every training here shares: a rate that follows steps or minutes, seeded noise, no step on NaN.

The callbacks know modules by this alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import Tensor, nn

from helicon.formats.printable import printable
from helicon.plugins.plugin import Plugin
from helicon.training.errors import TrainingError
from helicon.training.learning.optimizers import MuonAdamW
from helicon.training.learning.own_optimizer import OwnOptimizer
from helicon.training.learning.sharding import full_tensor
from helicon.training.runs.record import ProgressRecord
from helicon.training.settings.config import OptimizerConfig


class Expected(NamedTuple):
    """The weights that a checkpoint has, by name."""

    checkpoint: Path
    shapes: Mapping[str, torch.Size]


class RunModule(pl.LightningModule):
    """A network that a run trains. What is trained says how it is saved, shown and told of."""

    unit = "tokens"  # what `throughput_units` counts
    ema = 0.0  # decay of an average of the weights, with which a model is kept; 0: the weights themselves

    def __init__(self, config: OptimizerConfig) -> None:
        super().__init__()
        self.optimizer_config = config
        self.record = ProgressRecord()
        self.replayed: ProgressRecord | None = None  # of the run that this one repeats
        self.expected: Expected | None = None  # weights of the checkpoint that it goes on from
        self.user_optimizer = OwnOptimizer()  # what `--optimizer` and `--lr_scheduler` say
        self.seconds: float | None = None  # that the run may take

    def setup(self, stage: str) -> None:
        """Asks the clock, before it starts, how long the run is."""
        timer = self._timer()
        self.seconds = timer.time_remaining() if timer is not None else None

    def _timer(self) -> Timer | None:
        return next((c for c in self.trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]

    def save(self, folder: Path, notes: dict[str, Any]) -> None:
        """Writes the model as it stands to `folder`, whole, with what else is known of it: the first process does.

        All of them have to call it.
        """
        raise NotImplementedError

    def plugins(self) -> list[Plugin]:
        """Those that what is trained comes from."""
        raise NotImplementedError

    def write_samples(self, path: Path) -> None:
        """Writes PATH-... with suffixes of its own: what the model makes so far."""
        raise NotImplementedError

    def check_expected(self, prefix: str, make: Callable[[], nn.Module], layers: int = 0) -> None:
        """TrainingError unless the checkpoint that is gone on from has the weights of such a network.

        Nothing is allocated for it, since a stranger's config may ask for any width. layers: how many it is to have,
        each of which takes time to make.
        """
        if self.expected is None:
            return
        checkpoint, theirs = self.expected
        refused = f"{printable(checkpoint)}: refused, weights of another model than is configured"
        inside = f"{prefix}.gpt.layers."
        if (found := len({name.split(".")[3] for name in theirs if name.startswith(inside)})) != layers:
            raise TrainingError(f"{refused}: of {found} layers, {layers} here")
        with torch.device("meta"):
            own = {f"{prefix}.{name}": tensor.shape for name, tensor in make().state_dict().items()}
        for name in [*own, *theirs]:
            if own.get(name) != theirs.get(name):
                there, here = (list(shapes[name]) if name in shapes else "not there" for shapes in (theirs, own))
                raise TrainingError(f"{refused}: {printable(name, 80)} is {there}, {here} here")

    def throughput_units(self, batch: Any) -> float:
        """How many of `unit` a batch holds."""
        raise NotImplementedError

    def progress_metrics(self, metrics: Mapping[str, Tensor]) -> list[str]:
        """Words of the progress line."""
        losses = [f"{name} {float(value):.3f}" for name, value in sorted(metrics.items()) if name.startswith("train/")]
        return [*losses, *([f"held-out {float(metrics['val/loss']):.3f}"] if "val/loss" in metrics else [])]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Noise depends on (seed, batch, process) alone, so a resumed run repeats the uninterrupted one."""
        several = self.trainer.accumulate_grad_batches
        number = self.global_step * several + batch_idx % several
        seed = self.trainer.datamodule.seed  # type: ignore[attr-defined]
        torch.manual_seed((seed * 1_000_003 + number) * 1009 + self.global_rank)

    def stop_unless_finite(self, what: str, value: Tensor, batch_idx: int | None = None) -> None:
        """TrainingError that names the step, for NaN and infinity."""
        if not torch.isfinite(value):
            batch = "" if batch_idx is None else f", batch {batch_idx}"
            own, lower = " or at ".join(plugin.title for plugin in self.plugins()), "lower --model.lr"
            advice = f"A look at {own} may help, or a {lower}" if own else f"A {lower} usually helps"
            raise TrainingError(
                f"{what} is {value.item()} at step {self.global_step}{batch}: training stops, what was saved before is "
                f"kept. {advice}"
            )

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by the norm of all gradients together, or each value by itself.

        Lightning's own hook refuses fused optimizers under mixed precision.
        """
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = full_tensor(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        self.stop_unless_finite("gradient norm", norm, self.trainer.fit_loop.epoch_loop.batch_idx)
        if not gradient_clip_val:
            return
        if gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif norm > gradient_clip_val:  # else nothing is to be multiplied
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def scheduled_optimizer(self, matrices: Sequence[Tensor], rest: Sequence[Tensor]) -> Any:
        """The optimizer, with a warm-up and a fall of the rate over the steps or the minutes that the run has.

        Either is the user's own where `--optimizer` or `--lr_scheduler` says so; the course of the rate is ours still
        where only the first is.
        """
        lr, decay, beta2 = self.optimizer_config.lr, self.optimizer_config.weight_decay, self.optimizer_config.beta2
        if self.user_optimizer.optimizer:
            optimizer = self.user_optimizer.make_optimizer(self.parameters())
        elif self.optimizer_config.optimizer == "muon":
            optimizer = MuonAdamW(matrices, rest, lr, decay, beta2)
        else:
            groups = [{"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
            optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, beta2), fused=True)
        self.progress_at(0)
        if self.user_optimizer.scheduler:
            return {"optimizer": optimizer, "lr_scheduler": self.user_optimizer.make_schedule(optimizer, self.trainer)}
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Notes after each step how far the run is, whatever the rate goes by."""
        super().optimizer_step(*args, **kwargs)
        self.progress_at(self.global_step + 1)

    def _rate(self, step: int) -> float:
        done, learning = self.progress_at(step), self.optimizer_config
        if done < learning.warmup:
            return (done + 1e-3) / (learning.warmup + 1e-3)
        if learning.schedule == "linear":
            left = min(1.0, 2 * (1 - done))
        else:
            left = 0.5 * (1 + math.cos(math.pi * min(1.0, (done - learning.warmup) / max(1e-9, 1 - learning.warmup))))
        return learning.final_lr + (1 - learning.final_lr) * left

    def progress_at(self, step: int) -> float:
        """The share of the run that was done before a step: the same whenever it is asked for, on all processes.

        The clock is looked at once a step, and never again where a run is resumed or repeated.
        """
        known, replayed = self.record.progress, self.replayed.progress if self.replayed else []
        if step < len(known):
            return known[step]
        share = replayed[step] if step < len(replayed) else self.max_over_ranks(self.progress(step))
        if step == len(known):
            known.append(share)
        return share

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the clock said."""
        checkpoint["record"] = self.record.state()
        if self.replayed:
            checkpoint["replayed"] = self.replayed.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Inverse of `on_save_checkpoint`. TrainingError where a checkpoint has no such record."""
        try:
            self.record = ProgressRecord.from_state(checkpoint.get("record"))
            if self.replayed is None and "replayed" in checkpoint:
                self.replayed = ProgressRecord.from_state(checkpoint["replayed"])
        except ValueError as error:
            raise TrainingError(f"{self.trainer.ckpt_path}: not a checkpoint of a run ({error})") from None
        known = self.record.progress
        if self.replayed is not None and known != self.replayed.progress[: len(known)]:
            raise TrainingError(f"{self.trainer.ckpt_path}: has changed since the run that is repeated began from it")

    def max_over_ranks(self, value: float) -> float:
        """The largest of all processes' values: their clocks differ, and what they learn must not."""
        if self.trainer.world_size == 1:
            return value
        return float(self.trainer.strategy.reduce(torch.tensor(value, device=self.device), reduce_op="max"))

    def progress(self, step: int | None = None) -> float:
        """Share of the run that is done: of its steps, or of its time, whichever is further."""
        trainer, shares = self.trainer, [0.0]
        if trainer.max_steps and trainer.max_steps > 0:
            shares.append((self.global_step if step is None else step) / trainer.max_steps)
        timer = self._timer()
        if timer is not None and self.seconds:
            shares.append(timer.time_elapsed() / self.seconds)
        return min(1.0, max(shares))
