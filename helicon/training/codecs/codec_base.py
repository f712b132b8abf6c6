"""Base of the Lightning modules that train codecs: code counts over processes and resumptions, figures, saving."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helicon.evaluation.losses import codebook_figures
from helicon.plugins.plugin import Plugin
from helicon.training.codecs.raw_data import RawData
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.learning.validating import validation_is_due
from helicon.training.settings.config import CodecLearningConfig
from helicon.vqvae.codec import Bottleneck
from helicon.vqvae.storage import CodecBundle, bottlenecks, codec_plugins, inference_state_dict, save_codec


class BaseCodecModule(RunModule):
    """Lightning module that trains a codec of one or more bottlenecks, each with a codebook of its own.

    Methods take the name of a bottleneck as `part`: the prefix that `bottlenecks` returns.

    Attributes:
        bf16: True where `plan_codec` may choose mixed bfloat16 precision.
        config: options of the networks and of their training, a config of `training.settings`.
        drop_unused: True leaves out the codes that no training example has when the codec is saved.
        codec: the network; None before `configure_model`.
    """

    bf16 = False
    config: Any

    def __init__(self, config: CodecLearningConfig) -> None:
        super().__init__(config)
        self.drop_unused = config.drop_unused
        self.codec: Any = None

    def check(self, data: Any) -> None:
        """Raise ValueError, its message a line, for a data module that this codec cannot be trained on."""
        raise NotImplementedError

    def plan(self, data: Any) -> tuple[nn.Module, str]:
        """Make the codec that would be trained, and a line for the log on its input and codes.

        Args:
            data: data module of the codec's medium.

        Returns:
            (codec with random weights, line).
        """
        raise NotImplementedError

    def make_codec(self) -> nn.Module:
        """Make a codec with random weights."""
        raise NotImplementedError

    def used_codes(self, codec: nn.Module) -> Mapping[str, Tensor]:
        """Return name of a bottleneck of the codec -> bool [K codes]: True for those that a training example has."""
        raise NotImplementedError

    def metric_name(self, name: str, part: str) -> str:
        """Return the name under which a metric of a bottleneck is logged.

        Args:
            name: of the metric, such as `val/usage`.
            part: name of the bottleneck.

        Returns:
            The name itself, as in a codec of one bottleneck.
        """
        return name

    @property
    def parts(self) -> dict[str, Bottleneck]:
        """Name -> `Bottleneck` of the codec."""
        return bottlenecks(self.codec)

    @property
    def started(self) -> bool:
        """True once every bottleneck has a codebook; until then codes are meaningless."""
        return all(part.started for part in self.parts.values())

    @property
    def raw_data(self) -> RawData:
        """`RawData`, the data module of the trainer, of whatever medium."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, RawData)
        return data

    def prepare_data(self) -> None:
        """Check the data before there is a run folder; raises what `check` does."""
        self.check(self.raw_data)

    def plugins(self) -> list[Plugin]:
        """Return the list of `Plugin`s that the networks and the quantizer come from."""
        return codec_plugins(self.config)

    def bundle(self, notes: dict[str, Any]) -> CodecBundle:
        """Return a `CodecBundle` of the codec as it is now, its medium, and JSON-able notes on the training."""
        return CodecBundle(
            codec=self.codec,
            medium=self.raw_data.medium,
            reading=self.raw_data.reading,
            notes=notes,
            record=self.raw_data.record,
        )

    def configure_model(self) -> None:
        """Make the codec from the data's seed, once; TrainingError unless a checkpoint to resume fits it."""
        if self.codec is not None:
            return
        self.check_expected("codec", lambda: self.plan(self.raw_data)[0])
        torch.manual_seed(self.raw_data.seed)
        self.codec = self.make_codec()
        self._counts = self.zero_counts()
        # The quantizer synchronizes its buffers itself. DDP broadcasts all buffers at each step, of a validation too,
        # and would wait for ever for processes that have fewer validation batches
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]

    def describe_codes(self, size: int) -> str:
        """Describe a number of codes as `512 codes`, with a reason where the quantizer overrides `--model.codes`."""
        reason = f", as many as {self.config.quantizer} makes, not the {self.config.codes} of --model.codes"
        return f"{size} codes{reason if size != self.config.codes else ''}"

    def zero_counts(self) -> dict[str, Tensor]:
        """Return name of a bottleneck -> zeros int64 [K], to count its K codes in."""
        return {name: torch.zeros(part.codebook_size, dtype=torch.int64) for name, part in self.parts.items()}

    def update_quantizers(self) -> None:
        """Set the progress of the quantizers, which their schedules follow."""
        done = self.progress_at(self.global_step)
        for part in self.parts.values():
            part.quantizer.progress = done

    def count(self, part: str, codes: Tensor, counts: dict[str, Tensor] | None = None) -> None:
        """Add codes to counts, on the device of the codes, without waiting for it.

        Args:
            part: name of the bottleneck.
            codes: of 0 .. K - 1, int64 of any shape.
            counts: name of a bottleneck -> int64 [K], updated in place; those of the training unless given.
        """
        counts = self._counts if counts is None else counts
        counts[part] = counts[part].to(codes.device).index_add_(0, codes.flatten(), torch.ones_like(codes).flatten())

    def reduce_loss(self, loss: Tensor, batch_idx: int) -> Tensor:
        """Average the loss over all processes, so that all log the same value, or stop together where it is not finite.

        Args:
            loss: scalar of this process.
            batch_idx: number of the batch, for the message.

        Returns:
            Scalar tensor, without a gradient.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        loss = loss.detach()
        loss = self.trainer.strategy.reduce(loss, reduce_op="mean") if self.trainer.world_size > 1 else loss  # type: ignore[assignment]
        self.stop_unless_finite("loss", loss, batch_idx)
        return loss

    def codebook_metrics(self, val: Mapping[str, Tensor]) -> dict[str, float]:
        """Compute usage and perplexity of validation counts, and of the training since the last validation.

        The training's counts start again at 0.

        Args:
            val: name of a bottleneck -> counts of its K codes in the validation, int64 [K], of this process.

        Returns:
            `val/usage` and `train/usage`, the share of codes that occur, and `val/perplexity` and `train/perplexity`,
            as `metric_name` names them for each bottleneck; none of a side without codes.
        """
        figures: dict[str, float] = {}
        for side, all_counts in {"val": val, "train": self._counts}.items():
            for part, counts in all_counts.items():
                summed = self.sum_over_ranks(counts)
                if summed.sum():
                    usage, perplexity = codebook_figures(summed)
                    figures[self.metric_name(f"{side}/usage", part)] = usage
                    figures[self.metric_name(f"{side}/perplexity", part)] = perplexity
        self._counts = self.zero_counts()
        return figures

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Log figures, metric name -> value, that are equal on all processes."""
        for name, value in figures.items():
            self.log(name, value, rank_zero_only=True)

    def sum_over_ranks(self, counts: Tensor) -> Tensor:
        """Sum counts of K codes, int64 [K], over all processes; return float64 [K] on the CPU."""
        return self.trainer.strategy.reduce(counts.float().to(self.device), reduce_op="sum").cpu().double()  # type: ignore[union-attr]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to the checkpoint, a dict, the code counts since the last validation, as a resumed run logs them."""
        super().on_save_checkpoint(checkpoint)
        # A validation that is due now takes these counts, and a resumed run does not repeat it
        due = validation_is_due(self.trainer)
        checkpoint["counts"] = {part: self.sum_over_ranks(counts) * (not due) for part, counts in self._counts.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore code counts from a checkpoint, a dict; the first process takes the sums over all processes.

        Raises:
            ValueError: the counts, or integer tensors such as tables of kept codes, are not those of this codec.
        """
        super().on_load_checkpoint(checkpoint)
        stored, zeros = checkpoint.get("counts"), self.zero_counts()
        if not isinstance(stored, Mapping) or stored.keys() != zeros.keys():
            raise ValueError("counts: not of the parts of this codec")
        for part, counts in stored.items():
            if not isinstance(counts, Tensor) or counts.shape != zeros[part].shape or not (counts >= 0).all():
                raise ValueError(f"counts of part {part!r}: one number a code is needed")
        stored_names = {f"codec.{name}" for name in inference_state_dict(self.codec)}
        for name, tensor in self.state_dict().items():  # integers are indices, unsafe if they are not this codec's
            fixed = name in stored_names and not tensor.is_floating_point()
            if fixed and not torch.equal(checkpoint["state_dict"][name], tensor.cpu()):
                raise ValueError(f"{name}: not as in this codec")
        if self.global_rank == 0:
            self._counts = {part: counts.long() for part, counts in stored.items()}

    def configure_optimizers(self) -> Any:
        """Return Lightning's dictionary of `optimizer` and `lr_scheduler`.

        Weight decay is on convolution kernels but not on norms, biases and codebooks.
        """
        kernels = [p for p in self.codec.parameters() if p.dim() > 2]
        return self.scheduled_optimizer(kernels, [p for p in self.codec.parameters() if p.dim() <= 2])

    def save(self, folder: Path, notes: dict[str, Any]) -> None:
        """Write the codec; with `drop_unused`, without the codes that no training example has.

        Every process calls it; the first one writes.

        Args:
            folder: of the codec's files, which are replaced.
            notes: JSON-able remarks on the training.

        Raises:
            TrainingError: the training was too short for a codebook.
        """
        if not self.started:
            raise TrainingError(
                f"too short a training: no codebook yet after {self.global_step} steps; it begins with the latents of "
                f"several batches"
            )
        if self.global_rank:
            return
        bundle = self.bundle(notes)
        if self.drop_unused:
            bundle.codec = deepcopy(bundle.codec)
            used = self.used_codes(bundle.codec)
            for name, part in bottlenecks(bundle.codec).items():
                part.keep(used[name])
        save_codec(bundle, folder)
