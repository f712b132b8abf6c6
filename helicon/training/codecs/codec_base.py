"""What the trainings of all codecs share: counts of the codes used, over processes and resumptions; saving."""

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


class CodecRun(RunModule):
    """A codec of one or more bottlenecks, each with a codebook; `part` names one of them, as `bottlenecks` does."""

    bf16 = False  # whether it learns as well in bfloat16
    config: Any  # of the networks, and of how they learn

    def __init__(self, config: CodecLearningConfig) -> None:
        super().__init__(config)
        self.drop_unused = config.drop_unused
        self.codec: Any = None  # an nn.Module, once configured

    def check(self, data: Any) -> None:
        """ValueError in one line for data that this codec cannot be trained on."""
        raise NotImplementedError

    def plan(self, data: Any) -> tuple[nn.Module, str]:
        """The codec that will be trained, and what it does with the data."""
        raise NotImplementedError

    def make_codec(self) -> nn.Module:
        """A codec, freshly initialised."""
        raise NotImplementedError

    def used_codes(self, codec: nn.Module) -> Mapping[str, Tensor]:
        """Part -> bool [K]: codes that something to train on has."""
        raise NotImplementedError

    def metric_name(self, name: str, part: str) -> str:
        """How a figure of a part is logged."""
        return name

    @property
    def parts(self) -> dict[str, Bottleneck]:
        """The codec's bottlenecks."""
        return bottlenecks(self.codec)

    @property
    def started(self) -> bool:
        """Whether every part has a codebook yet."""
        return all(part.started for part in self.parts.values())

    @property
    def raw(self) -> RawData:
        """The data module that is trained on, of whatever medium."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, RawData)
        return data

    def prepare_data(self) -> None:
        """Refuses what cannot be trained on before there is a run."""
        self.check(self.raw)

    def plugins(self) -> list[Plugin]:
        """Those that its networks and its quantizer come from."""
        return codec_plugins(self.config)

    def bundle(self, notes: dict[str, Any]) -> CodecBundle:
        """The codec as it stands."""
        return CodecBundle(self.codec, self.raw.medium, self.raw.reading, notes)

    def configure_model(self) -> None:
        """Builds the codec."""
        if self.codec is not None:
            return
        self.check_expected("codec", lambda: self.plan(self.raw)[0])
        torch.manual_seed(self.raw.seed)
        self.codec = self.make_codec()
        self._counts = self.zero_counts()
        # The quantizer keeps its own alike; DDP, which sends all buffers at every step of a validation too, would wait
        # for ever for processes that have fewer held-out batches
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]

    def describe_codes(self, size: int) -> str:
        """How many codes there are, for people; of a quantizer that has another number than it is asked for, too."""
        asked = f", as many as {self.config.quantizer} makes, not the {self.config.codes} of --model.codes"
        return f"{size} codes{asked if size != self.config.codes else ''}"

    def zero_counts(self) -> dict[str, Tensor]:
        """Part -> zeros int64 [K]."""
        return {name: torch.zeros(part.codebook_size, dtype=torch.int64) for name, part in self.parts.items()}

    def update_quantizers(self) -> None:
        """Lets the quantizers know how far the training is."""
        done = self.progress_at(self.global_step)
        for part in self.parts.values():
            part.quantizer.progress = done

    def count(self, part: str, codes: Tensor, counts: dict[str, Tensor] | None = None) -> None:
        """Adds codes to those of the training, or to other counts; on their device, which is not waited for."""
        counts = self._counts if counts is None else counts
        counts[part] = counts[part].to(codes.device).index_add_(0, codes.flatten(), torch.ones_like(codes).flatten())

    def reduce_loss(self, loss: Tensor, batch_idx: int) -> Tensor:
        """The loss over all processes, so that each logs the same and all of them stop where one would."""
        loss = loss.detach()
        loss = self.trainer.strategy.reduce(loss, reduce_op="mean") if self.trainer.world_size > 1 else loss  # type: ignore[assignment]
        self.stop_unless_finite("loss", loss, batch_idx)
        return loss

    def codebooks(self, val: Mapping[str, Tensor]) -> dict[str, float]:
        """Usage and perplexity of what is held out, and of the training since the last validation, which begin anew."""
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
        """Logs what is the same on all processes."""
        for name, value in figures.items():
            self.log(name, value, rank_zero_only=True)

    def sum_over_ranks(self, counts: Tensor) -> Tensor:
        """Over all processes."""
        return self.trainer.strategy.reduce(counts.float().to(self.device), reduce_op="sum").cpu().double()  # type: ignore[union-attr]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the codes counted since the last validation, for a resumed run to log what an uninterrupted one does."""
        super().on_save_checkpoint(checkpoint)
        # A validation that is due now takes these counts, and a resumed run does not repeat it
        due = validation_is_due(self.trainer)
        checkpoint["counts"] = {part: self.sum_over_ranks(counts) * (not due) for part, counts in self._counts.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Inverse of `on_save_checkpoint`; the first process takes what all of them counted."""
        super().on_load_checkpoint(checkpoint)
        found, own = checkpoint.get("counts"), self.zero_counts()
        if not isinstance(found, Mapping) or found.keys() != own.keys():
            raise ValueError("counts: not of the parts of this codec")
        for part, counts in found.items():
            if not isinstance(counts, Tensor) or counts.shape != own[part].shape or not (counts >= 0).all():
                raise ValueError(f"counts of part {part!r}: one number a code is needed")
        lasting_names = {f"codec.{name}" for name in inference_state_dict(self.codec)}
        for name, tensor in self.state_dict().items():  # places in tables among them
            fixed = name in lasting_names and not tensor.is_floating_point()
            if fixed and not torch.equal(checkpoint["state_dict"][name], tensor.cpu()):
                raise ValueError(f"{name}: not as in this codec")
        if self.global_rank == 0:
            self._counts = {part: counts.long() for part, counts in found.items()}

    def configure_optimizers(self) -> Any:
        """Kernels apart from norms, biases and codebooks."""
        kernels = [p for p in self.codec.parameters() if p.dim() > 2]
        return self.scheduled_optimizer(kernels, [p for p in self.codec.parameters() if p.dim() <= 2])

    def save(self, folder: Path, notes: dict[str, Any]) -> None:
        """Writes the codec; without the codes that nothing to train on has, if they are to be dropped.

        TrainingError when training was too short for a codebook.
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
