"""The Lightning module that trains a GPT on batches of sequences.

Shapes: B sequences, T tokens, N positions of one slot that have a target.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helicon.bundle.bundle import Bundle, make_gpt, plugins_of_model
from helicon.bundle.storage import save_bundle
from helicon.data.batches import Batch
from helicon.evaluation.losses import slot_nats
from helicon.formats.nearest import unknown
from helicon.gpt.model import GPT
from helicon.plugins.plugin import Plugin
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.learning.data import SequenceData
from helicon.training.learning.grow import adopt_weights
from helicon.training.learning.samples import write_samples
from helicon.training.learning.sharding import shard, whole
from helicon.training.learning.sums import Sums
from helicon.training.memory import return_freed_memory
from helicon.training.settings.config import GPTModelConfig


class GPTModule(RunModule):
    """A GPT, its loss and its optimizer. The network is built once the data say what the vocabulary is."""

    def __init__(self, config: GPTModelConfig) -> None:
        if not 0 <= config.ema < 1:
            raise TrainingError(f"--model.ema must be from 0 to below 1, got {config.ema:g}")
        super().__init__(config)
        self.config, self.ema = config, config.ema
        self.slot_weights = dict(config.slot_weights or {})
        self.gpt: GPT | None = None
        self._sums: dict[str, Sums] = {}  # slot -> nats, tokens

    @property
    def data(self) -> SequenceData:
        """The data module that is trained on."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, SequenceData)
        return data

    def configure_model(self) -> None:
        """Builds the GPT for the data's vocabulary, with the weights of `--data.adopt` copied by token name."""
        if self.gpt is not None:
            return
        for slot in self.slot_weights:
            if slot not in self.data.sequencer.tokenizers:
                raise TrainingError(f"--model.slot_weights: {unknown('slot', slot, self.data.sequencer.tokenizers)}")
        if not all(self._weighted(layout) for layout in self.data.sequencer.schema.layouts):
            raise TrainingError("--model.slot_weights: a layout without a slot that has a weight learns nothing")
        self.check_expected("gpt", lambda: make_gpt(self.config.gpt, self.data.sequencer.schema), self.config.layers)
        torch.manual_seed(self.data.seed)
        self.gpt = make_gpt(self.config.gpt, self.data.sequencer.schema)
        self.gpt.checkpoint = self.config.recompute
        if self.config.recompute:
            return_freed_memory()
        if self.data.adopted is not None:
            adopt_weights(self.gpt, self.data.sequencer.schema, self.data.adopted)
        if self.device_mesh is not None:
            shard(self.gpt, self.device_mesh["data_parallel"])

    def bundle(self, notes: dict[str, Any]) -> Bundle:
        """The model as it stands, whole."""
        assert self.gpt is not None
        return Bundle(
            gpt=self.gpt,
            sequencer=self.data.sequencer,
            tokenizer_names=self.data.choices,
            notes=notes,
            reading=self.data.reading,
        )

    def save(self, folder: Path, notes: dict[str, Any]) -> None:
        """Writes the bundle."""
        bundle = self.bundle(notes)
        bundle.gpt = whole(bundle.gpt, lambda: make_gpt(self.config.gpt, bundle.schema), self.global_rank == 0)
        if self.global_rank == 0:
            save_bundle(bundle, folder)

    def plugins(self) -> list[Plugin]:
        """Those that its media, tokenizers and patterns come from."""
        return plugins_of_model(self.config.gpt, self.data.sequencer.schema, self.data.choices)

    def write_samples(self, path: Path) -> None:
        """Writes one item of each layout."""
        write_samples(self.bundle({}), path, self.global_step)

    def amount(self, batch: Batch) -> int:
        """Tokens fed, padding aside."""
        return int(batch.lengths.sum())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum of the slots' losses by weight, each over a constant: the positions that full sequences have for it."""
        assert self.gpt is not None
        layout = self.data.sequencer.schema.layouts[batch.layout]
        nats = slot_nats(self.gpt, self.data.sequencer, batch, self._weighted(layout))
        lengths = {slot.name: slot.length or self.data.sequencer.room(layout) for slot in layout.slots}
        losses = (self._weight(layout, slot) * total / lengths[slot] for slot, (total, _) in nats.items())
        loss = sum(losses, self._nothing()) / (self.data.batch_size / self.trainer.world_size)
        # Over all processes, so that each logs the same and all of them stop where one would
        sums = torch.stack([torch.stack([total.detach(), total.new_tensor(count)]) for total, count in nats.values()])
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum") if self.trainer.world_size > 1 else sums
        self.stop_unless_finite("loss", sums[:, 0].sum(), batch_idx)
        for slot, (total, count) in zip(nats, sums):
            self.log(f"train/{slot}", total / count.clamp(min=1), batch_size=1)
        return loss

    def _nothing(self) -> Tensor:
        return torch.zeros((), device=self.device)

    def _weight(self, layout: Any, slot: str) -> float:
        return self.slot_weights.get(slot, 1.0 if slot == layout.last.name else 0.0)

    def _weighted(self, layout: Any) -> list[str]:
        return [slot.name for slot in layout.slots if self._weight(layout, slot.name)]

    def on_validation_epoch_start(self) -> None:
        """Starts counting nats and tokens of each slot."""
        layouts = self.data.sequencer.schema.layouts
        slots = {slot for layout in layouts for slot in self._weighted(layout)}
        # In the same order on all processes, whatever batches each of them gets
        self._sums = {slot: Sums(2, self.device) for slot in sorted(slots)}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch's nats and tokens."""
        assert self.gpt is not None
        layout = self.data.sequencer.schema.layouts[batch.layout]
        for slot, (total, count) in slot_nats(self.gpt, self.data.sequencer, batch, self._weighted(layout)).items():
            self._sums[slot].update(total, count)

    def on_validation_epoch_end(self) -> None:
        """Logs nats a token of each slot, and `val/loss`, their weighted sum: over all processes' tokens."""
        loss = 0.0
        made = {layout.last.name for layout in self.data.sequencer.schema.layouts}
        scored = False
        for slot, sums in self._sums.items():
            total, count = sums.compute().tolist()
            if count:
                self.log(f"val/{slot}", total / count, rank_zero_only=True)
                loss += self.slot_weights.get(slot, 1.0 if slot in made else 0.0) * total / count
                scored = True
        if scored:
            self.log("val/loss", loss, rank_zero_only=True)

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def configure_optimizers(self) -> Any:
        """Matrices of the layers apart from embeddings, norms and biases."""
        assert self.gpt is not None
        decayed = [p for n, p in self.gpt.named_parameters() if p.dim() > 1 and not n.startswith(("tokens", "places"))]
        ids = {id(p) for p in decayed}
        return self.scheduled(decayed, [p for p in self.gpt.parameters() if id(p) not in ids])
