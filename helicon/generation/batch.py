"""Tensors of the items that are decoded together: histories, grammar states, uniform numbers.

Shapes: B items, T tokens at most, V tokens of the target slot, its `eos` included.
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

MORE_TOKENS = 256  # least growth of a history: each growth copies all ids, so it is rare


@dataclass(kw_only=True)
class DecodeBatch:
    """Batch of items. The first dimension of each tensor is that of the items, which can be joined and selected.

    Attributes:
        ids_BT: local ids; entries past an item's length are never read.
        length_B: tokens so far, the prime included.
        window_B: first token of each item's window.
        ended_B: True once `eos` was sampled; such an item no longer changes.
        seen_BV: True for tokens that occurred in the slot so far.
        uniforms_BN: chunk of uniform numbers of each item.
        column_B: index of the next of them.
        grammar: state of the grammar, B items; {} without one.
        coords: raw coordinates [B, T + 1] by axis; entry i is that after i tokens, entry 0 the start of the piece.
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
        history_device: torch.device, device: torch.device,
    ) -> DecodeBatch:  # fmt: skip
        """Make a batch of one item after its prime.

        Args:
            prime: ids within the slot's vocabulary that the item begins with, int64 [T].
            grammar: state of the grammar after the prime, name -> tensor [1, ...]; {} without a grammar.
            coords: axis -> raw coordinates after 0 .. T tokens, [T + 1].
            rng: `PerItemRNG`, uniform numbers of the item.
            width: V, number of tokens of the slot with its `eos`.
            history_device: device of ids, lengths and coordinates, which is that of the grammar.
            device: device that samples.

        Returns:
            A `DecodeBatch` of one item.
        """
        zero = torch.zeros(1, dtype=torch.int64)
        seen = torch.zeros(1, width, dtype=torch.bool)
        seen[0, prime] = True
        coords = {axis: values[None].to(history_device) for axis, values in coords.items()}
        return cls(
            ids_BT=F.pad(prime[None], (0, MORE_TOKENS)).to(history_device),
            length_B=(zero + len(prime)).to(history_device),
            window_B=zero.to(history_device),
            ended_B=(zero > 0).to(history_device),
            seen_BV=seen.to(device),
            uniforms_BN=rng.chunk()[None].to(device),
            column_B=zero.to(device),
            grammar=grammar,
            coords=coords,
        )

    @classmethod
    def joined(cls, parts: Sequence[DecodeBatch]) -> DecodeBatch:
        """Concatenate `DecodeBatch`es, in their order, to a new one."""
        return cls(
            **{
                tensor_field.name: _joined([getattr(part, tensor_field.name) for part in parts])
                for tensor_field in fields(cls)
            }
        )

    def select(self, items: Sequence[int]) -> DecodeBatch:
        """Return a new batch of the items with these indices, in their order."""
        return DecodeBatch(
            **{tensor_field.name: _selected(getattr(self, tensor_field.name), items) for tensor_field in fields(self)}
        )

    def __len__(self) -> int:
        return len(self.length_B)

    def history(self, item: int) -> Tensor:
        """Return the local ids int64 [T] so far, prime included, of the item with this index, on the CPU."""
        return self.ids_BT[item, : int(self.length_B[item])].cpu()

    def uniform(self) -> Tensor:
        """Return numbers drawn uniformly from [0, 1), one an item, [B]; each call takes the next ones."""
        uniform_B = self.uniforms_BN.gather(1, self.column_B[:, None])[:, 0]
        self.column_B = self.column_B + 1
        return uniform_B

    def renew_uniforms(self, item: int, rng: PerItemRNG) -> None:
        """Replace the used-up chunk of uniform numbers of an item.

        Args:
            item: index in the batch.
            rng: `PerItemRNG`, uniform numbers of that item.
        """
        self.uniforms_BN[item] = rng.chunk().to(self.uniforms_BN.device)
        self.column_B[item] = 0

    def append(self, ids_B: Tensor, eos: int, max_length: int, automaton: Automaton | None) -> None:
        """Append the sampled tokens; an item that samples `eos` has ended.

        Args:
            ids_B: sampled token of each item, ids within the slot's vocabulary, int64 [B].
            eos: local id of `eos`.
            max_length: tokens of the longest item before this step; known on the host, so that no GPU is waited for.
            automaton: `Automaton`, grammar of the slot; None without one.
        """
        growth = max(MORE_TOKENS, self.ids_BT.shape[1]) if max_length + 1 >= self.ids_BT.shape[1] else 0
        item_B = torch.arange(len(ids_B), device=ids_B.device)
        self.ids_BT = _wider(self.ids_BT, self.ids_BT.shape[1] + growth)
        self.ids_BT[item_B, self.length_B] = ids_B
        self.ended_B = self.ended_B | (ids_B == eos)
        continues_B = ~self.ended_B
        device = self.seen_BV.device
        self.seen_BV[item_B.to(device), ids_B.clamp(max=eos - 1).to(device)] |= continues_B.to(device)
        self.length_B = self.length_B + continues_B
        if automaton is not None:
            self.grammar = automaton.step(self.grammar, ids_B)
            for axis, values_B in automaton.coords(self.grammar).items():
                self.coords[axis] = _wider(self.coords[axis], self.ids_BT.shape[1] + 1)
                self.coords[axis][item_B, self.length_B] = values_B


def _wider(values_BT: Tensor, length: int) -> Tensor:
    """Pad with zeros on the right."""
    missing = length - values_BT.shape[1]
    return F.pad(values_BT, (0, missing)) if missing > 0 else values_BT


def _joined(parts: Sequence[Any]) -> Any:
    """Concatenate tensors along the first dimension, narrower ones padded; dictionaries entry by entry."""
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
