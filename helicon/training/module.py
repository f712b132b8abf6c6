"""The Lightning module that trains a GPT on batches of sequences.

Shapes: B sequences, T tokens, N positions of one slot that have a target.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import Tensor

from helicon.bundle import Bundle, make_gpt
from helicon.data.batches import Batch
from helicon.evaluate import slot_nats
from helicon.gpt.model import GPT, Shape
from helicon.tokenizers.names import unknown
from helicon.training.data import SequenceData
from helicon.training.errors import TrainingError
from helicon.training.grow import adopt_weights
from helicon.training.optimizers import MuonAdamW


class GPTModule(pl.LightningModule):
    """A GPT, its loss and its optimizer. The network is built once the data say what the vocabulary is.

    Args:
        context: tokens fed at most.
        positions: `flat`, `grid:L` or `rope`.
        layers: number of layers.
        width: width of the residual stream.
        heads: attention heads; must divide the width.
        pattern: attention patterns tiled over the layers, e.g. `dense,local:128`, `strided:128`, `fixed:128,32`.
        mlp: activation of the feed-forward layers.
        norm: normalisation of each residual branch's input.
        tied: whether the output matrix is the token embedding.
        bias: whether linear layers have biases.
        qk_norm: whether queries and keys are normalised per head.
        dropout: at the end of each residual branch.
        optimizer: `muon` for the matrices of the layers with AdamW for the rest, or `adamw` for all.
        lr: highest learning rate, reached after the warm-up, from where a cosine leads to `final_lr` of it.
        final_lr: share of `lr` at the end.
        warmup: share of the training that the rate rises linearly.
        weight_decay: of weight matrices; embeddings, norms and biases have none.
        beta2: AdamW's second decay rate (the first is .9).
        slot_weights: weight of each slot's loss; the slot that is made has 1 and conditions 0 unless named.
        recompute: whether activations are recomputed in backward, to save memory.
    """

    def __init__(
        self,
        context: int = 512,
        positions: str = "flat",
        layers: int = 6,
        width: int = 256,
        heads: int = 4,
        pattern: str = "dense",
        mlp: Literal["gelu", "quick_gelu", "relu2", "swiglu"] = "gelu",
        norm: Literal["layer", "rms"] = "layer",
        tied: bool = True,
        bias: bool = True,
        qk_norm: bool = False,
        dropout: float = 0.1,
        optimizer: Literal["muon", "adamw"] = "muon",
        lr: float = 3e-3,
        final_lr: float = 0.05,
        warmup: float = 0.05,
        weight_decay: float = 0.1,
        beta2: float = 0.98,
        slot_weights: dict[str, float] | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.shape = Shape(layers, width, heads, pattern, mlp, norm, tied, bias, qk_norm, dropout)
        self.context, self.positions, self.recompute = context, positions, recompute
        self.optimizer, self.lr, self.final_lr, self.warmup = optimizer, lr, final_lr, warmup
        self.weight_decay, self.beta2 = weight_decay, beta2
        self.slot_weights = dict(slot_weights or {})
        self.gpt: GPT | None = None
        self._sums: dict[str, Tensor] = {}

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
        torch.manual_seed(self.data.seed)
        self.gpt = make_gpt(self.shape, self.data.sequencer.schema)
        self.gpt.checkpoint = self.recompute
        if self.data.adopted is not None:
            adopt_weights(self.gpt, self.data.sequencer.schema, self.data.adopted)

    def bundle(self, notes: dict[str, Any]) -> Bundle:
        """The model as it stands, whole."""
        assert self.gpt is not None
        return Bundle(self.gpt, self.data.sequencer, self.data.choices, notes)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout depends on (seed, batch, process) alone, so a resumed run repeats the uninterrupted one."""
        several = self.trainer.accumulate_grad_batches
        number = self.global_step * several + batch_idx % several
        torch.manual_seed((self.data.seed * 1_000_003 + number) * 1009 + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum of the slots' weighted losses over a constant, the positions a full batch has."""
        assert self.gpt is not None
        layout = self.data.sequencer.schema.layouts[batch.layout]
        nats = slot_nats(self.gpt, self.data.sequencer, batch, self._weighted(layout))
        loss = sum((self._weight(layout, slot) * total for slot, (total, _) in nats.items()), self._nothing())
        loss = loss / (batch.ids.shape[0] * self.context)
        # Over all processes, so that each logs the same and all of them stop where one would
        sums = torch.stack([torch.stack([total.detach(), total.new_tensor(count)]) for total, count in nats.values()])
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum") if self.trainer.world_size > 1 else sums
        self._stop_unless_finite("loss", sums[:, 0].sum(), batch_idx)
        for slot, (total, count) in zip(nats, sums):
            self.log(f"train/{slot}", total / count.clamp(min=1), batch_size=1)
        return loss

    def _nothing(self) -> Tensor:
        return torch.zeros((), device=self.device)

    def _stop_unless_finite(self, what: str, value: Tensor, batch_idx: int) -> None:
        if not torch.isfinite(value):
            raise TrainingError(
                f"{what} is {value.item()} at step {self.global_step}, batch {batch_idx}: training stops, the last "
                f"checkpoint is kept. A lower --model.lr usually helps"
            )

    def _weight(self, layout: Any, slot: str) -> float:
        return self.slot_weights.get(slot, 1.0 if slot == layout.last.name else 0.0)

    def _weighted(self, layout: Any) -> list[str]:
        return [slot.name for slot in layout.slots if self._weight(layout, slot.name)]

    def on_validation_epoch_start(self) -> None:
        """Starts counting nats and tokens of each slot."""
        layouts = self.data.sequencer.schema.layouts
        slots = {slot for layout in layouts for slot in self._weighted(layout)}
        # In the same order on all processes, whatever batches each of them gets
        self._sums = {slot: torch.zeros(2, dtype=torch.float64) for slot in sorted(slots)}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch's nats and tokens."""
        assert self.gpt is not None
        layout = self.data.sequencer.schema.layouts[batch.layout]
        for slot, (total, count) in slot_nats(self.gpt, self.data.sequencer, batch, self._weighted(layout)).items():
            self._sums[slot] += torch.stack([total.double().cpu(), torch.tensor(float(count), dtype=torch.float64)])

    def on_validation_epoch_end(self) -> None:
        """Logs nats a token of each slot, and `val/loss`, their weighted sum: over all processes' tokens."""
        loss = 0.0
        made = {layout.last.name for layout in self.data.sequencer.schema.layouts}
        scored = False
        for slot, sums in self._sums.items():
            kept = sums.float() if self.device.type == "mps" else sums  # which has no float64
            total, count = self.trainer.strategy.reduce(kept.to(self.device), reduce_op="sum").tolist()
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
        """The optimizer, with a warm-up and a cosine over the steps or the minutes that the run has."""
        assert self.gpt is not None
        decayed = [p for n, p in self.gpt.named_parameters() if p.dim() > 1 and not n.startswith(("tokens", "places"))]
        ids = {id(p) for p in decayed}
        rest = [p for p in self.gpt.parameters() if id(p) not in ids]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        if self.optimizer == "muon":
            optimizer: torch.optim.Optimizer = MuonAdamW(decayed, rest, self.lr, self.weight_decay, self.beta2)
        else:
            optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, self.beta2), fused=True)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by the norm of all gradients. Lightning's own hook refuses fused optimizers under mixed precision."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val or math.inf)
        if self.trainer.precision != "16-mixed":  # whose scaler skips such a step by itself
            self._stop_unless_finite("gradient norm", norm, self.trainer.fit_loop.epoch_loop.batch_idx)

    def _rate(self, step: int) -> float:
        done = self.progress(step)
        if done < self.warmup:
            return (done + 1e-3) / (self.warmup + 1e-3)
        fall = min(1.0, (done - self.warmup) / max(1e-9, 1 - self.warmup))
        return self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * fall))

    def progress(self, step: int | None = None) -> float:
        """Share of the run that is done: of its steps, or of its time, whichever is further."""
        trainer, shares = self.trainer, [0.0]
        if trainer.max_steps and trainer.max_steps > 0:
            shares.append((self.global_step if step is None else step) / trainer.max_steps)
        timer = next((c for c in trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]
        if timer is not None and timer._duration:
            shares.append(timer.time_elapsed() / timer._duration)
        return min(1.0, max(shares))
