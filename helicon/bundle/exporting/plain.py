"""Plain decoder: a bundle with one slot, dense attention, and coordinates that depend on the position only.

Shapes: V tokens of the slot and one more, P positions, C width, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from helicon.bundle.bundle import Bundle
from helicon.gpt.config import GPTConfig
from helicon.objectives.classify import Classifier
from helicon.sequence.layout import TASK
from helicon.tokenizers.base import Tokenizer


@dataclass(frozen=True, kw_only=True)
class PlainGPT:
    """Float32 weights of a GPT, with tables that are independent of our vocabulary and layouts.

    The last row of the token tables has two meanings, like GPT-2's end-of-text: as an input it is the task token before
    a sequence, as an output `eos`, which a model of one slot never takes as an input.

    Args:
        config: of the GPT.
        layers: Helicon's tensor name -> tensor, of the layers and the last norm.
        tokens_VC: embeddings of width C, of the slot's tokens and one more, V in all.
        head_VC: output matrix; equal to `tokens_VC` if tied.
        positions_PC: position embeddings; None with rotary positions.
        context: tokens fed at most, P.
        tokenizer: of the slot.
        score_LC: classification head on the last token's hidden state, without bias; None for a language model.
        labels: of the classification head.
    """

    config: GPTConfig
    layers: dict[str, Tensor]
    tokens_VC: Tensor
    head_VC: Tensor
    positions_PC: Tensor | None
    context: int
    tokenizer: Tokenizer
    score_LC: Tensor | None = None
    labels: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """Id of the token before and after a sequence, V - 1, the last row of the token tables."""
        return len(self.tokens_VC) - 1

    @property
    def tied(self) -> bool:
        """True if the output matrix equals the token embeddings."""
        return torch.equal(self.tokens_VC, self.head_VC)

    @property
    def outputs(self) -> dict[str, Tensor]:
        """Name in transformers -> output matrix: classification head, language model head, or {} if tied."""
        if self.score_LC is not None:
            return {"score.weight": self.score_LC}
        return {} if self.tied else {"lm_head.weight": self.head_VC}

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the layers by its name, such as `layers.0.norm_1.bias`; zeros for a bias it lacks."""
        module, _, part = name.rpartition(".")
        if part == "bias" and name not in self.layers:
            return torch.zeros(len(self.layers[f"{module}.weight"]))
        return self.layers[name]

    @staticmethod
    @torch.no_grad()
    def of(bundle: Bundle) -> PlainGPT:
        """Convert a `Bundle`, which must belong to an `ExportFamily`, to a `PlainGPT` on the CPU."""
        gpt, schema = bundle.gpt, bundle.schema
        slot = schema.layouts[0].target
        rows, weights = schema.vocabulary.slice(slot.name), {n: _plain(w) for n, w in gpt.state_dict().items()}
        tokens_VC = weights["tokens.weight"][rows].clone()
        tokens_VC[-1] = weights["tokens.weight"][schema.vocabulary.slice(TASK).start]
        places_PC = weights["places.weight"][_coordinates(bundle)].sum(1)
        if gpt.rope:
            tokens_VC += places_PC[0]  # with rotary positions, the coordinates are the same everywhere
        layers, score_LC = {n: w for n, w in weights.items() if n.startswith(("layers.", "norm."))}, None
        if isinstance(network := bundle.network, Classifier):
            score_LC = _plain(network.head.weight)
            if (bias_L := _plain(network.head.bias)).any():
                # transformers' head has no bias: that of the last norm, which feeds nothing else, is shifted instead
                norm_C = layers.get("norm.bias", torch.zeros(gpt.config.width))
                layers["norm.bias"] = norm_C + (torch.linalg.pinv(score_LC.double()) @ bias_L.double()).float()
        return PlainGPT(
            config=gpt.config, layers=layers, score_LC=score_LC,
            labels=() if score_LC is None else bundle.labels,
            tokens_VC=tokens_VC, head_VC=_plain(gpt.head_weight)[rows].clone(),
            positions_PC=None if gpt.rope else places_PC, context=schema.context,
            tokenizer=bundle.sequencer.tokenizers[slot.name],
        )  # fmt: skip


def _plain(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", torch.float32)


def _coordinates(bundle: Bundle) -> Tensor:
    """Return the coordinate rows at each position, int64 [P, A]."""
    layout, context = bundle.schema.layouts[0], bundle.schema.context
    rows = bundle.sequencer.pack(layout, {layout.target.name: np.zeros(context, np.int64)}).coord_ids
    return torch.from_numpy(rows)
