"""LightningModule that trains a GPT by an objective, on batches of sequences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.bundle.bundle import Bundle, make_gpt, plugins_of_model
from helicon.bundle.storage import save_bundle
from helicon.gpt.model import GPT
from helicon.objectives.base import Batch, Mean, Network, Objective, Rollouts
from helicon.objectives.guarded import build_network, loss_of, metrics_of, try_report, val_loss_of
from helicon.objectives.registry import OBJECTIVES, name_of, plugin_of
from helicon.plugins.plugin import Plugin, PluginError
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.learning.data import SequenceData
from helicon.training.learning.grow import init_weights_from
from helicon.training.learning.samples import write_samples
from helicon.training.learning.sharding import shard, unsharded
from helicon.training.learning.sums import Sums
from helicon.training.memory import return_freed_memory
from helicon.training.rollouts import roll_out
from helicon.training.settings.config import GPTModelConfig


class GPTModule(RunModule):
    """LightningModule of a GPT and an objective. The network is built once the data module knows the vocabulary.

    Args:
        config: GPT and optimizer.
        objective: loss, metrics and modules beside the GPT.

    Attributes:
        network: GPT and the objective's modules; None before `configure_model`.

    Raises:
        TrainingError: an `ema` outside [0, 1).
    """

    def __init__(self, config: GPTModelConfig, objective: Objective) -> None:
        if not 0 <= config.ema < 1:
            raise TrainingError(f"--model.ema must be from 0 to below 1, got {config.ema:g}")
        super().__init__(config)
        self.config, self.ema, self.objective = config, config.ema, objective
        self.network: Network | None = None
        self._report_tried = False
        self._sums: dict[str, Sums] = {}  # name of a metric -> its sum, and the count to divide by

    @property
    def data(self) -> SequenceData:
        """`SequenceData`, the data module of the trainer."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, SequenceData)
        return data

    @property
    def gpt(self) -> GPT:
        """GPT of the network, once it is built."""
        assert self.network is not None, "configure_model() comes first"
        return self.network.gpt

    def configure_model(self) -> None:
        """Build the GPT for the data's vocabulary, with the weights of `--data.init_from` copied by token name.

        The objective's modules are built last, as copies of the GPT among them need its initial weights.
        """
        if self.network is not None:
            return
        self.check_expected("network", lambda: self._build_network(self._make_gpt()), self.config.layers)
        torch.manual_seed(self.data.seed)
        gpt = self._make_gpt()
        if self.data.init_bundle is not None:
            init_weights_from(gpt, self.data.sequencer.schema, self.data.init_bundle)
        network = self._build_network(gpt)
        network.gpt.checkpoint = self.config.activation_checkpointing
        if self.config.activation_checkpointing:
            return_freed_memory()
        if self.device_mesh is not None:
            shard(network.gpt, self.device_mesh["data_parallel"])
        self.network = network

    def _make_gpt(self) -> GPT:
        """Return a GPT with random weights."""
        return make_gpt(self.config.gpt, self.data.sequencer.schema)

    def _build_network(self, gpt: GPT) -> Network:
        """Return the GPT with the modules that the objective adds."""
        try:
            return build_network(self.objective, self._make_bundle(gpt))
        except PluginError:
            raise
        except ValueError as error:
            raise TrainingError(str(error)) from error

    def _make_bundle(self, gpt: GPT, notes: dict[str, Any] | None = None) -> Bundle:
        return Bundle(
            gpt=gpt, sequencer=self.data.sequencer, tokenizer_names=self.data.tokenizer_names, notes=notes or {},
            reading=self.data.reading, objective=self.objective, labels=self.data.labels,
            record=self.data.prepared.record if self.data.prepared else {},
        )  # fmt: skip

    def bundle(self, notes: dict[str, Any]) -> Bundle:
        """Return the current network as a `Bundle`, with notes (JSON-able remarks on the training)."""
        assert self.network is not None
        bundle = self._make_bundle(self.gpt, notes)
        bundle.network = self.network
        return bundle

    def save(self, folder: Path, notes: dict[str, Any]) -> None:
        bundle = self.bundle(notes)
        bundle.gpt = unsharded(bundle.gpt, self._make_gpt, self.global_rank == 0)
        if self.global_rank == 0:
            save_bundle(bundle, folder)

    def plugins(self) -> list[Plugin]:
        """Return the `Plugin`s that media, tokenizers, patterns and objective come from."""
        return plugins_of_model(self.config.gpt, self.data.sequencer, self.data.tokenizer_names, self.objective)

    def write_samples(self, path: Path) -> None:
        """Write a sample of each layout, seeded by the step, to `path`-SLOT with the suffix of its medium."""
        write_samples(self.bundle({}), path, self.global_step)

    def progress_metrics(self, metrics: Mapping[str, Tensor]) -> list[str]:
        by_source = [
            f"{name.removeprefix('val/')} {float(value):.3f}"
            for name, value in sorted(metrics.items())
            if name.count("/") == 2
        ]
        return [*super().progress_metrics(metrics), *by_source]

    def throughput_units(self, batch: Batch) -> int:
        """Return the number of input tokens of a `Batch`, without padding."""
        return int(batch.lengths.sum())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed all noise; before the first step try the report of a plugin's objective, which comes after the training.

        Args:
            batch: `Batch` of this rank.
            batch_idx: number of the batch in Lightning's epoch.

        Raises:
            PluginError: the report needs what the bundle will not have.
        """
        if not self._report_tried and self.device_mesh is None and plugin_of(self.objective):
            assert self.network is not None
            try_report(self.objective, self.network, batch)
        self._report_tried = True
        super().on_train_batch_start(batch, batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the objective's loss of a batch, and log its metrics over all ranks as `train/NAME`.

        Args:
            batch: `Batch` of this rank.
            batch_idx: number of the batch in Lightning's epoch.

        Returns:
            Loss of this rank, a scalar tensor.

        Raises:
            TrainingError: the loss or a metric is not finite on some rank.
        """
        loss, metrics = self._loss(batch)
        # Summed over ranks, so that all log the same and all stop if one has to
        pairs = [(loss.detach(), 1), *metrics.values()]
        sums = torch.stack([torch.stack([total.to(loss), loss.new_tensor(number)]) for total, number in pairs])
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum") if self.trainer.world_size > 1 else sums
        finite = sums[:, 0].isfinite()
        if not finite.all():  # asked once, as each question synchronises with the GPU
            index = int(finite.int().argmin())
            title = self._title(["loss", *(f"metric {name!r}" for name in metrics)][index])
            self.stop_unless_finite(title, sums[index, 0], batch_idx)
        for name, (total, count) in zip(metrics, sums[1:]):
            self.log(f"train/{name}", total / count.clamp(min=1), batch_size=1)
        return loss

    def _title(self, what: str) -> str:
        """Name the loss or a metric in messages, with the objective's file and line if it comes from a plugin."""
        plugin = plugin_of(self.objective)
        return f"{OBJECTIVES.title(name_of(self.objective))}: its {what}" if plugin else what

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Mean]]:
        assert self.network is not None
        return loss_of(self.objective, self.network, self._roll_out(batch))

    def _roll_out(self, batch: Batch) -> Batch | Rollouts:
        """Sample rollouts under a batch's conditions if the objective learns from them; else return the batch."""
        if self.objective.examples != "rollouts":
            return batch
        if self.device_mesh is not None:
            raise TrainingError("--trainer.strategy: rollouts need a whole model in each process; ddp is accepted")
        # One seed for all validations, so that they can be compared
        seed = np.random.SeedSequence((self.data.seed, self.global_step if self.training else 0))
        return roll_out(self.bundle({}), self.data.corpora, batch, int(seed.generate_state(1)[0]))

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the objective's metrics."""
        assert self.network is not None
        # Sorted, as all ranks have to reduce them in the same order, whatever batches each of them has
        metrics, origins = sorted(metrics_of(self.objective, self.network)), self.data.source.origins
        names = [*metrics, *(f"{name}/{origin.name}" for name in metrics for origin in origins)]
        self._sums = {name: Sums(2, self.device) for name in names}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch's metrics to the sums.

        Args:
            batch: `Batch` of this rank.
            batch_idx: not used.
        """
        origins = self.data.source.origins
        for name, (total, count) in self._loss(batch)[1].items():
            self._sums[name].update(total, count)
            if origins:
                self._sums[f"{name}/{origins[batch.origin].name}"].update(total, count)

    def on_validation_epoch_end(self) -> None:
        """Log the mean of each metric over all held-out batches, and `val/loss`, by which the best model is chosen.

        Of several sources each has its own means, too, `val/METRIC/SOURCE`.
        """
        assert self.network is not None
        sums = {name: metric.compute().tolist() for name, metric in self._sums.items()}
        means = {name: total / count for name, (total, count) in sums.items() if count}
        for name, mean in means.items():
            self.log(f"val/{name}", mean, rank_zero_only=True)
            if self.trainer.state.fn == "fit" and plugin_of(
                self.objective
            ):  # which need not be a part of the validation loss
                self.stop_unless_finite(self._title(f"metric {name!r} of the validation"), torch.tensor(mean))
        means = {name: mean for name, mean in means.items() if name in metrics_of(self.objective, self.network)}
        if means:
            self.log("val/loss", val_loss_of(self.objective, self.network, means), rank_zero_only=True)

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        """Return Lightning's dictionary of `optimizer` and `lr_scheduler`.

        Weight decay and Muon are for the matrices of the layers and the head; embeddings, norms, biases and the
        objective's modules have neither.
        """
        kinds = ("tokens", "places")  # the embeddings; an untied head is with the matrices, unlike in Jordan's Muon
        decayed = [p for n, p in self.gpt.named_parameters() if p.dim() > 1 and not n.startswith(kinds)]
        ids = {id(p) for p in decayed}
        return self.scheduled_optimizer(decayed, [p for p in self.parameters() if id(p) not in ids])
