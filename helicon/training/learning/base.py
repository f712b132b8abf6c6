"""Base class of all trainings: learning-rate schedule over steps or minutes, seeded noise, no step on NaN.

Callbacks use modules through this class alone.
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
from helicon.training.learning.sharding import full_tensor
from helicon.training.learning.user_optimizer import UserOptimizer
from helicon.training.runs.record import ProgressRecord
from helicon.training.settings.config import OptimizerConfig


class ExpectedWeights(NamedTuple):
    """Weights of a checkpoint, which the network that is built has to match.

    Attributes:
        checkpoint: path, for messages.
        shapes: name of a tensor in the module's state_dict -> shape.
    """

    checkpoint: Path
    shapes: Mapping[str, torch.Size]


class RunModule(pl.LightningModule):
    """LightningModule of a run: optimizer, schedule and progress. Subclasses add the network, its loss and its files.

    Args:
        config: optimizer and learning-rate schedule.

    Attributes:
        unit: name of the unit of `throughput_units`, such as `tokens`, for the progress line.
        ema: decay of the average of the weights that is validated and saved; 0 for the weights themselves.
        record: progress before each step so far.
        replayed: record of the run that this one repeats, from which progress is read instead of the clock.
        expected: weights of the checkpoint that the run starts from.
        user_optimizer: `--optimizer` and `--lr_scheduler`.
        seconds: limit of `--trainer.max_time`, in seconds; None without any.
    """

    unit = "tokens"
    ema = 0.0

    def __init__(self, config: OptimizerConfig) -> None:
        super().__init__()
        self.optimizer_config = config
        self.record = ProgressRecord()
        self.replayed: ProgressRecord | None = None
        self.expected: ExpectedWeights | None = None
        self.user_optimizer = UserOptimizer()
        self.seconds: float | None = None

    def setup(self, stage: str) -> None:
        """Read the time limit of the run from Lightning's Timer, before it starts, in any stage such as `fit`."""
        timer = self._timer()
        self.seconds = timer.time_remaining() if timer is not None else None

    def _timer(self) -> Timer | None:
        return next((c for c in self.trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]

    def save(self, folder: Path, notes: dict[str, Any]) -> None:
        """Write the full (unsharded) model. Rank 0 writes, but all ranks have to call it.

        Args:
            folder: of the bundle or codec, which is replaced.
            notes: facts about the run that are stored beside the weights, such as `step` and `val_loss`.
        """
        raise NotImplementedError

    def plugins(self) -> list[Plugin]:
        """Return the `Plugin`s that parts of the model come from."""
        raise NotImplementedError

    def write_samples(self, path: Path) -> None:
        """Write samples of the current model to files that begin with `path`; endings depend on the medium."""
        raise NotImplementedError

    def check_expected(self, prefix: str, make: Callable[[], nn.Module], layers: int = 0) -> None:
        """Validate that the checkpoint to start from, if any, has the names and shapes of a network's weights.

        The network is built on the meta device, as a stranger's config may ask for any width. Its layers are counted
        first, as building each of them takes time.

        Args:
            prefix: attribute of the module that holds the network, with which names in the checkpoint begin.
            make: builds the network.
            layers: number of the GPT's layers; 0 for a codec.

        Raises:
            TrainingError: number of layers, names or shapes differ.
        """
        if self.expected is None:
            return
        checkpoint, theirs = self.expected
        refused = f"{printable(checkpoint)}: refused, weights of another model than is configured"
        inside = f"{prefix}.gpt.layers."
        if (saved_layers := len({name.split(".")[3] for name in theirs if name.startswith(inside)})) != layers:
            raise TrainingError(f"{refused}: of {saved_layers} layers, {layers} here")
        with torch.device("meta"):
            ours = {f"{prefix}.{name}": tensor.shape for name, tensor in make().state_dict().items()}
        for name in [*ours, *theirs]:
            if ours.get(name) != theirs.get(name):
                there, here = (list(shapes[name]) if name in shapes else "not there" for shapes in (theirs, ours))
                raise TrainingError(f"{refused}: {printable(name, 80)} is {there}, {here} here")

    def throughput_units(self, batch: Any) -> float:
        """Return the size of a batch of this module, a number in `unit`."""
        raise NotImplementedError

    def progress_metrics(self, metrics: Mapping[str, Tensor]) -> list[str]:
        """Return phrases of the progress line, such as `loss 1.234`, from metric name -> last logged value."""
        losses = [f"{name} {float(value):.3f}" for name, value in sorted(metrics.items()) if name.startswith("train/")]
        return [*losses, *([f"val/loss {float(metrics['val/loss']):.3f}"] if "val/loss" in metrics else [])]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed all noise with (seed, batch, rank) alone, so that a resumed run repeats the uninterrupted one.

        Args:
            batch: not used.
            batch_idx: of Lightning's epoch; an optimizer step takes `accumulate_grad_batches` of them.
        """
        accumulated = self.trainer.accumulate_grad_batches
        number = self.global_step * accumulated + batch_idx % accumulated
        # Two primes: no seed comes twice below 1,000,003 batches and 1009 ranks
        seed = self.trainer.datamodule.seed  # type: ignore[attr-defined]
        torch.manual_seed((seed * 1_000_003 + number) * 1009 + self.global_rank)

    def stop_unless_finite(self, name: str, value: Tensor, batch_idx: int | None = None) -> None:
        """Validate that a loss or norm is finite.

        Args:
            name: of the value, for the message.
            value: scalar tensor.
            batch_idx: number of the batch, for the message; None to name the step alone.

        Raises:
            TrainingError: NaN or infinity; names the step and gives advice.
        """
        if not torch.isfinite(value):
            batch = "" if batch_idx is None else f", batch {batch_idx}"
            plugins, lower = " or at ".join(plugin.title for plugin in self.plugins()), "lower --model.lr"
            advice = f"A look at {plugins} may help, or a {lower}" if plugins else f"A {lower} usually helps"
            raise TrainingError(
                f"{name} is {value.item()} at step {self.global_step}{batch}: training stops, what was saved before is "
                f"kept. {advice}"
            )

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by the norm of all gradients together, or each value by itself.

        In place of Lightning's hook, which refuses fused optimizers under mixed precision.

        Args:
            optimizer: not used; all gradients of the module are clipped.
            gradient_clip_val: largest norm or absolute value; None or 0 to clip nothing.
            gradient_clip_algorithm: `value`, or by the norm.

        Raises:
            TrainingError: the norm is not finite.
        """
        parameters = [p for p in self.parameters() if p.grad is not None]
        norm = full_tensor(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        self.stop_unless_finite("gradient norm", norm, self.trainer.fit_loop.epoch_loop.batch_idx)
        if not gradient_clip_val:
            return
        if gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif norm > gradient_clip_val:  # else the factor is 1, and multiplying all gradients by it takes time
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def scheduled_optimizer(self, matrices: Sequence[Tensor], rest: Sequence[Tensor]) -> Any:
        """Make the optimizer and its learning-rate schedule: warm-up, then decay over the run's steps or minutes.

        `--optimizer` and `--lr_scheduler` replace them, each by itself.

        Args:
            matrices: parameters with weight decay, which Muon is for.
            rest: parameters without weight decay, such as embeddings, norms and biases.

        Returns:
            Lightning's dictionary of `optimizer` and `lr_scheduler`.
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
        """Make an optimizer step by the arguments of Lightning's hook, and record the progress after it."""
        super().optimizer_step(*args, **kwargs)
        self.progress_at(self.global_step + 1)

    def _rate(self, step: int) -> float:
        """Return the learning rate before a step, as a share of `lr`."""
        done, learning = self.progress_at(step), self.optimizer_config
        # 1e-3: the first step's rate is not 0
        if done < learning.warmup:
            return (done + 1e-3) / (learning.warmup + 1e-3)
        if learning.schedule == "linear":
            left = min(1.0, 2 * (1 - done))  # constant over the first half
        else:
            left = 0.5 * (1 + math.cos(math.pi * min(1.0, (done - learning.warmup) / max(1e-9, 1 - learning.warmup))))
        return learning.final_lr + (1 - learning.final_lr) * left

    def progress_at(self, step: int) -> float:
        """Return the share of the run, 0 to 1, done before a step: from the record if it is there, else measured.

        The clock is read once a step and all ranks agree on the result, so that a run can be resumed and repeated.
        """
        known, replayed = self.record.progress, self.replayed.progress if self.replayed else []
        if step < len(known):
            return known[step]
        share = replayed[step] if step < len(replayed) else self.max_over_ranks(self.progress(step))
        if step == len(known):
            known.append(share)
        return share

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the progress records to a checkpoint, a dict that is changed in place."""
        checkpoint["record"] = self.record.state()
        if self.replayed:
            checkpoint["replayed"] = self.replayed.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the progress records of a checkpoint, a dict.

        Raises:
            TrainingError: no valid record, or another one than that of the run that is repeated.
        """
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
        """Return the maximum of a number over all ranks: their clocks differ, and their learning rates must not."""
        if self.trainer.world_size == 1:
            return value
        return float(self.trainer.strategy.reduce(torch.tensor(value, device=self.device), reduce_op="max"))

    def progress(self, step: int | None = None) -> float:
        """Return the share of the run that is done, 0 to 1: of its steps or of its time, whichever is larger.

        Args:
            step: number of optimizer steps done; None for the current number.
        """
        trainer, shares = self.trainer, [0.0]
        if trainer.max_steps and trainer.max_steps > 0:
            shares.append((self.global_step if step is None else step) / trainer.max_steps)
        timer = self._timer()
        if timer is not None and self.seconds:
            shares.append(timer.time_elapsed() / self.seconds)
        return min(1.0, max(shares))
