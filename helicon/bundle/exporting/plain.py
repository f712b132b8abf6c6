"""A bundle as a plain decoder: one slot, dense attention, and coordinates that follow from the position alone.

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
    """A GPT's weights, float32, with tables that need no vocabulary or layouts of ours.

    The last row of the tables is one token for two things, as GPT-2's end-of-text is: fed, it is the task token before
    a sequence; predicted, it is `eos`, which one slot alone never feeds.

    Args:
        config: of the GPT.
        layers: our name of a tensor -> tensor, of the layers and the last norm.
        tokens_VC: embeddings of the tokens.
        head_VC: rows of the output matrix; equal to `tokens_VC` where the two are one.
        positions_PC: embeddings of the positions; None where they are told by rotation.
        context: tokens fed at most, P.
        tokenizer: of the slot.
        score_LC: classification head on the last token's state, which has no bias; None of a model of tokens.
        labels: what its rows stand for.
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
        """Id of the token that stands before a sequence and after it."""
        return len(self.tokens_VC) - 1

    @property
    def tied(self) -> bool:
        """Whether embeddings and output matrix are one."""
        return torch.equal(self.tokens_VC, self.head_VC)

    @property
    def outputs(self) -> dict[str, Tensor]:
        """What stands after the last norm, as transformers names it; nothing where that is the embeddings."""
        if self.score_LC is not None:
            return {"score.weight": self.score_LC}
        return {} if self.tied else {"lm_head.weight": self.head_VC}

    def tensor(self, name: str) -> Tensor:
        """A tensor of the layers by our name; a bias that there is not adds nothing."""
        module, _, part = name.rpartition(".")
        if part == "bias" and name not in self.layers:
            return torch.zeros(len(self.layers[f"{module}.weight"]))
        return self.layers[name]

    @staticmethod
    @torch.no_grad()
    def of(bundle: Bundle) -> PlainGPT:
        """The plain decoder that a model is which belongs to a family."""
        gpt, schema = bundle.gpt, bundle.schema
        slot = schema.layouts[0].target
        rows, weights = schema.vocabulary.slice(slot.name), {n: _plain(w) for n, w in gpt.state_dict().items()}
        tokens_VC = weights["tokens.weight"][rows].clone()
        tokens_VC[-1] = weights["tokens.weight"][schema.vocabulary.slice(TASK).start]
        places_PC = weights["places.weight"][_coordinates(bundle)].sum(1)
        if gpt.rope:
            tokens_VC += places_PC[0]  # the same at every position
        layers, score_LC = {n: w for n, w in weights.items() if n.startswith(("layers.", "norm."))}, None
        if isinstance(network := bundle.network, Classifier):
            score_LC = _plain(network.head.weight)
            if (bias_L := _plain(network.head.bias)).any():
                # transformers' head has none: the last norm's, which nothing else is fed with, moves by what gives it
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
    """Rows of the table of coordinates at each position: int64 [P, axes]."""
    layout, context = bundle.schema.layouts[0], bundle.schema.context
    rows = bundle.sequencer.pack(layout, {layout.target.name: np.zeros(context, np.int64)}).coord_ids
    return torch.from_numpy(rows)
