"""The Lightning module that trains a GPT, by one of the objectives, on batches of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.bundle.bundle import Bundle, make_gpt, plugins_of_model
from helicon.bundle.storage import save_bundle
from helicon.gpt.model import GPT
from helicon.objectives.base import Batch, Mean, Network, Objective, Rollouts
from helicon.objectives.guarded import build_network, held_out_loss_of, loss_of, metrics_of
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
    """A GPT, what it learns, and its optimizer. The network is built once the data say what the vocabulary is."""

    def __init__(self, config: GPTModelConfig, objective: Objective) -> None:
        if not 0 <= config.ema < 1:
            raise TrainingError(f"--model.ema must be from 0 to below 1, got {config.ema:g}")
        super().__init__(config)
        self.config, self.ema, self.objective = config, config.ema, objective
        self.network: Network | None = None
        self._sums: dict[str, Sums] = {}  # figure -> its sum, over how much

    @property
    def data(self) -> SequenceData:
        """The data module that is trained on."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, SequenceData)
        return data

    @property
    def gpt(self) -> GPT:
        """The model itself, once it is built."""
        assert self.network is not None, "configure_model() comes first"
        return self.network.gpt

    def configure_model(self) -> None:
        """Builds the GPT for the data's vocabulary, with the weights of `--data.adopt` copied by token name.

        The objective builds last, so that what it copies of the GPT is what the training begins with.
        """
        if self.network is not None:
            return
        self.check_expected("network", lambda: self._built(self._made()), self.config.layers)
        torch.manual_seed(self.data.seed)
        gpt = self._made()
        if self.data.init_bundle is not None:
            init_weights_from(gpt, self.data.sequencer.schema, self.data.init_bundle)
        network = self._built(gpt)
        network.gpt.checkpoint = self.config.recompute
        if self.config.recompute:
            return_freed_memory()
        if self.device_mesh is not None:
            shard(network.gpt, self.device_mesh["data_parallel"])
        self.network = network

    def _made(self) -> GPT:
        """Freshly initialised."""
        return make_gpt(self.config.gpt, self.data.sequencer.schema)

    def _built(self, gpt: GPT) -> Network:
        """With what the objective needs beyond it."""
        try:
            return build_network(self.objective, self._bundled(gpt))
        except PluginError:
            raise
        except ValueError as error:
            raise TrainingError(str(error)) from error

    def _bundled(self, gpt: GPT, notes: dict[str, Any] | None = None) -> Bundle:
        return Bundle(
            gpt=gpt, sequencer=self.data.sequencer, tokenizer_names=self.data.tokenizer_names, notes=notes or {},
            reading=self.data.reading, objective=self.objective, labels=self.data.labels,
        )  # fmt: skip

    def bundle(self, notes: dict[str, Any]) -> Bundle:
        """The model as it stands, whole."""
        assert self.network is not None
        bundle = self._bundled(self.gpt, notes)
        bundle.network = self.network
        return bundle

    def save(self, folder: Path, notes: dict[str, Any]) -> None:
        """Writes the bundle."""
        bundle = self.bundle(notes)
        bundle.gpt = unsharded(bundle.gpt, self._made, self.global_rank == 0)
        if self.global_rank == 0:
            save_bundle(bundle, folder)

    def plugins(self) -> list[Plugin]:
        """Those that its media, tokenizers, patterns and objective come from."""
        return plugins_of_model(self.config.gpt, self.data.sequencer, self.data.tokenizer_names, self.objective)

    def write_samples(self, path: Path) -> None:
        """Writes one item of each layout."""
        write_samples(self.bundle({}), path, self.global_step)

    def throughput_units(self, batch: Batch) -> int:
        """Tokens fed, padding aside."""
        return int(batch.lengths.sum())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective's loss of a batch; logs its figures, over all processes."""
        loss, figures = self._loss(batch)
        # Over all processes, so that each logs the same and all of them stop where one would
        sums = [(loss.detach(), 1), *figures.values()]
        found = torch.stack([torch.stack([total.to(loss), loss.new_tensor(number)]) for total, number in sums])
        found = self.trainer.strategy.reduce(found, reduce_op="sum") if self.trainer.world_size > 1 else found
        self.stop_unless_finite(self._loss_title, found[:, 0].sum(), batch_idx)
        for name, (total, count) in zip(figures, found[1:]):
            self.log(f"train/{name}", total / count.clamp(min=1), batch_size=1)
        return loss

    @property
    def _loss_title(self) -> str:
        """The loss in messages, with file and line of an objective that is somebody's own."""
        own = plugin_of(self.objective)
        return f"{OBJECTIVES.title(name_of(self.objective))}: its loss" if own else "loss"

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Mean]]:
        assert self.network is not None
        return loss_of(self.objective, self.network, self._rolled_out(batch))

    def _rolled_out(self, batch: Batch) -> Batch | Rollouts:
        """What the model makes of a batch's conditions, where the objective learns from that; else the batch."""
        if self.objective.examples != "rollouts":
            return batch
        if self.device_mesh is not None:
            raise TrainingError("--trainer.strategy: rollouts need a whole model in each process; ddp is accepted")
        # The same of each validation, so that they can be compared
        seed = np.random.SeedSequence((self.data.seed, self.global_step if self.training else 0))
        return roll_out(self.bundle({}), self.data.corpora, batch, int(seed.generate_state(1)[0]))

    def on_validation_epoch_start(self) -> None:
        """Starts adding up the objective's figures."""
        assert self.network is not None
        # In the same order on all processes, whatever batches each of them gets
        self._sums = {name: Sums(2, self.device) for name in sorted(metrics_of(self.objective, self.network))}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch's figures."""
        for name, (total, count) in self._loss(batch)[1].items():
            self._sums[name].update(total, count)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean of each figure over all that is held out, and `val/loss`, which models are compared by."""
        assert self.network is not None
        found = {name: sums.compute().tolist() for name, sums in self._sums.items()}
        means = {name: total / count for name, (total, count) in found.items() if count}
        for name, mean in means.items():
            self.log(f"val/{name}", mean, rank_zero_only=True)
        if means:
            self.log("val/loss", held_out_loss_of(self.objective, self.network, means), rank_zero_only=True)

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        """Matrices of the layers apart from embeddings, norms, biases, and what the objective adds."""
        kinds = ("tokens", "places")
        decayed = [p for n, p in self.gpt.named_parameters() if p.dim() > 1 and not n.startswith(kinds)]
        ids = {id(p) for p in decayed}
        return self.scheduled_optimizer(decayed, [p for p in self.parameters() if id(p) not in ids])
