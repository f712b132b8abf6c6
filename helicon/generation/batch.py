"""Tensors of the items that are decoded together: what each has so far, its grammar, its uniform numbers.

Shapes: B items, T tokens at most, V tokens of the slot that is made, its `eos` included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.gpt.sampler import PerItemRNG
from helicon.tokenizers.base import Automaton, State

MORE_TOKENS = 256  # by which histories grow at least


@dataclass(kw_only=True)
class DecodeBatch:
    """One entry an item along the first dimension of each tensor, so that items can be joined and selected.

    ids_BT: local ids; what lies beyond a length is never read. window_B: first token of each item's window.
    coords[axis][b, i] belong to the first i tokens of item b, so that entry 0 is the start of the piece. column_B: the
    next of `uniforms_BN` to draw with. ended_B: whether `eos` was drawn, after which an item stands still.
    """

    ids_BT: Tensor
    length_B: Tensor
    window_B: Tensor
    ended_B: Tensor
    seen_BV: Tensor
    uniforms_BN: Tensor
    column_B: Tensor
    grammar: State
    coords: dict[str, Tensor]

    @classmethod
    def start(
        cls, prime: Tensor, grammar: State, coords: dict[str, Tensor], rng: PerItemRNG, width: int,
        home: torch.device, device: torch.device,
    ) -> DecodeBatch:  # fmt: skip
        """Of one item after its prime: on `home` what belongs to the grammar, on `device` what is drawn with."""
        zero = torch.zeros(1, dtype=torch.int64)
        seen = torch.zeros(1, width, dtype=torch.bool)
        seen[0, prime] = True
        coords = {axis: values[None].to(home) for axis, values in coords.items()}
        return cls(
            ids_BT=F.pad(prime[None], (0, MORE_TOKENS)).to(home),
            length_B=(zero + len(prime)).to(home),
            window_B=zero.to(home),
            ended_B=(zero > 0).to(home),
            seen_BV=seen.to(device),
            uniforms_BN=rng.chunk()[None].to(device),
            column_B=zero.to(device),
            grammar=grammar,
            coords=coords,
        )

    @classmethod
    def joined(cls, parts: Sequence[DecodeBatch]) -> DecodeBatch:
        """All items of the parts, in their order."""
        return cls(**{each.name: _joined([getattr(part, each.name) for part in parts]) for each in fields(cls)})

    def select(self, items: Sequence[int]) -> DecodeBatch:
        """Some of the items, in the order asked for."""
        return DecodeBatch(**{each.name: _selected(getattr(self, each.name), items) for each in fields(self)})

    def __len__(self) -> int:
        return len(self.length_B)

    def history(self, item: int) -> Tensor:
        """Ids of one item so far; a GPU is waited for."""
        return self.ids_BT[item, : int(self.length_B[item])].cpu()

    def uniform(self) -> Tensor:
        """Uniform numbers [B] of this step; each is given once."""
        uniform_B = self.uniforms_BN.gather(1, self.column_B[:, None])[:, 0]
        self.column_B = self.column_B + 1
        return uniform_B

    def renew_uniforms(self, item: int, rng: PerItemRNG) -> None:
        """The next chunk of an item that has drawn with all of the one before."""
        self.uniforms_BN[item] = rng.chunk().to(self.uniforms_BN.device)
        self.column_B[item] = 0

    def append(self, ids_B: Tensor, eos: int, longest: int, automaton: Automaton | None) -> None:
        """Adds the tokens that were drawn; an item that draws `eos` has ended.

        longest: tokens of no item are more, before these.
        """
        more = max(MORE_TOKENS, self.ids_BT.shape[1]) if longest + 1 >= self.ids_BT.shape[1] else 0
        each_B = torch.arange(len(ids_B), device=ids_B.device)
        self.ids_BT = _wider(self.ids_BT, self.ids_BT.shape[1] + more)
        self.ids_BT[each_B, self.length_B] = ids_B
        self.ended_B = self.ended_B | (ids_B == eos)
        going_B = ~self.ended_B
        device = self.seen_BV.device
        self.seen_BV[each_B.to(device), ids_B.clamp(max=eos - 1).to(device)] |= going_B.to(device)
        self.length_B = self.length_B + going_B
        if automaton is not None:
            self.grammar = automaton.step(self.grammar, ids_B)
            for axis, values_B in automaton.coords(self.grammar).items():
                self.coords[axis] = _wider(self.coords[axis], self.ids_BT.shape[1] + 1)
                self.coords[axis][each_B, self.length_B] = values_B


def _wider(values_BT: Tensor, length: int) -> Tensor:
    """Filled up with zeros."""
    missing = length - values_BT.shape[1]
    return F.pad(values_BT, (0, missing)) if missing > 0 else values_BT


def _joined(parts: Sequence[Any]) -> Any:
    """Tensors one below the other, the narrower ones filled up; of dictionaries each entry."""
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    if parts[0].dim() == 2:
        longest = max(part.shape[1] for part in parts)
        parts = [_wider(part, longest) for part in parts]
    return torch.cat(list(parts))


def _selected(value: Any, items: Sequence[int]) -> Any:
    if isinstance(value, dict):
        return {name: _selected(entry, items) for name, entry in value.items()}
    return value.index_select(0, torch.tensor(items, dtype=torch.int64, device=value.device))
