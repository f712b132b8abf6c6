"""Model inputs of a layout's cache rows: complete windows and single tokens, packed as in training.

Shapes: B items, M cache rows, A coordinate axes, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helicon.generation.batch import DecodeBatch
from helicon.generation.decode_request import DecodeRequest
from helicon.generation.prefill import Window
from helicon.generation.stream import TokenStream
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Coords
from helicon.tokenizers.guides import sliding
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.timing import tokens_in


class CacheRow(NamedTuple):
    """Row of the KV cache.

    Attributes:
        stream: request that it belongs to.
        conditions: slot -> local ids, int64 [T].
        prefix: packed prefix, see `Sequencer.prefix`; None when conditions slide and it changes with the window.
        uncond: True for the second row of a request with guidance, whose conditions are null.
    """

    stream: TokenStream
    conditions: Mapping[str, np.ndarray]
    prefix: tuple[np.ndarray, np.ndarray] | None
    uncond: bool


class Feed:
    """Inputs of the model for the rows of one layout.

    Args:
        sequencer: packs the rows.
        layout: layout of the rows.
        device: device of the model.
    """

    def __init__(self, sequencer: Sequencer, layout: Layout, device: torch.device) -> None:
        self.sequencer, self.layout, self.device = sequencer, layout, device
        self.automaton, self.target_capacity = sequencer.automaton(layout), sequencer.target_capacity(layout)
        self.first_id = sequencer.schema.vocab_slice(layout.target).start
        self.slides = bool(sliding(layout, sequencer.tokenizers))
        # Without a grammar coordinates depend on the position alone, so they are computed once
        positions = np.arange(self.target_capacity)
        coord_ids = sequencer.last_rows(layout, {}, {}, positions) if self.automaton is None else ()
        self.target_coord_ids = torch.as_tensor(coord_ids, device=device)
        self.arrange([])

    def rows_of(self, stream: TokenStream) -> list[CacheRow]:
        """Make the `CacheRow`s of a request: the conditional one, and with guidance the unconditional one.

        Args:
            stream: `TokenStream` of the request.

        Raises:
            ValueError: ids that a slot does not have.
        """
        conditions = stream.request.prompt.conditions
        self.sequencer.upsampling_coords(self.layout, [conditions])
        guided = stream.request.cache_rows > 1
        row_conditions = [conditions, self.sequencer.null_conditions(conditions)] if guided else [conditions]
        prefixes = [None if self.slides else self.sequencer.prefix(self.layout, cond) for cond in row_conditions]
        return [
            CacheRow(stream, cond, prefix, uncond)
            for cond, prefix, uncond in zip(row_conditions, prefixes, (False, True))
        ]

    def arrange(self, rows: Sequence[CacheRow], item_of_row: Tensor | None = None) -> None:
        """Set the rows in use.

        Args:
            rows: M `CacheRow`s in the order of the cache.
            item_of_row: index of the item of each row, tensor int64 [M]; None when row i belongs to item i.
        """
        self.rows = rows
        conditions = [row.conditions for row in rows]
        self.upsampling = self.sequencer.upsampling_coords(self.layout, conditions) if rows else None
        self.item_of_row = item_of_row

    def coordinates(self, batch: DecodeBatch, position_B: Tensor) -> Tensor:
        """Compute the coordinate rows of each row's last token.

        Args:
            batch: `DecodeBatch`, histories of the items.
            position_B: position of each item's last token within the target slot of its window, from 0, int64 [B].

        Returns:
            Rows of the coordinate table for M cache rows and A axes, int64 [M, A], on the model's device.
        """
        item_M = self.item_of_row
        if self.automaton is None:
            rows_BA = self.target_coord_ids[position_B.to(self.device)]
            return rows_BA if item_M is None else rows_BA[item_M.to(self.device)]
        item_B = torch.arange(len(batch))
        coords: Coords = {axis: values[item_B, batch.length_B].numpy() for axis, values in batch.coords.items()}
        origin: Coords = {axis: values[item_B, batch.window_B].numpy() for axis, values in batch.coords.items()}
        rows = self.sequencer.last_rows(self.layout, coords, origin, position_B.numpy())
        rows = rows if item_M is None else rows[item_M.numpy()]
        if self.upsampling:
            self.upsampling.mark(rows, np.arange(len(rows)), np.array([row.stream.length for row in self.rows]))
        return torch.as_tensor(rows).to(self.device)

    def window(self, batch: DecodeBatch, item: int, number: int) -> Window:
        """Pack all that a row is fed: its prefix and the target tokens of its window.

        Args:
            batch: `DecodeBatch`, histories of the items.
            item: index in the batch.
            number: cache row of that item.

        Returns:
            A `Window` of vocabulary rows and coordinate rows.
        """
        row = self.rows[number]
        first, end = row.stream.window, row.stream.length
        ids = batch.ids_BT[item, first:end].cpu().numpy() + self.first_id
        coords: Coords = {axis: values[item, first + 1 : end + 1].numpy() for axis, values in batch.coords.items()}
        origin: Coords = {axis: values[item, first].numpy() for axis, values in batch.coords.items()}
        rows = self.sequencer.last_rows(self.layout, coords, origin, np.arange(end - first))
        prefix_ids, prefix_rows = row.prefix or self.sliding_prefix(row, first)
        rows = np.concatenate([prefix_rows, rows])
        if self.upsampling:
            following = np.arange(first, end + 1)
            self.upsampling.mark(rows[self.layout.prefix - 1 :], np.full_like(following, number), following)
        return Window(np.concatenate([prefix_ids, ids]), rows)

    def sliding_prefix(self, row: CacheRow, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Pack the prefix of a window whose conditions slide, such as lyrics.

        Args:
            row: the `CacheRow`.
            first: number of the window's first target token, from 0.

        Returns:
            (vocabulary rows NumPy int64 [prefix], coordinate rows int64 [prefix, A axes]), as `Sequencer.prefix`.
        """
        windowed = self.sequencer.window_conditions(self.layout, row.conditions, first, self._total(row.stream.request))
        return self.sequencer.prefix(self.layout, windowed)

    def _total(self, request: DecodeRequest) -> int:
        """Return the expected length of the target slot, in tokens: as requested, else what fits in a window."""
        prompt, most = request.prompt, request.sampling.max_tokens
        seconds, rate = prompt.constraints.get("seconds"), self.automaton.rate if self.automaton else None
        timed = None if seconds is None or rate is None else tokens_in(seconds, rate)
        lengths = [self.layout.target.length, prompt.length, timed]
        fallback = self.target_capacity + 1 if most is None else len(prompt.prime) + most
        return min((tokens for tokens in lengths if tokens is not None), default=fallback)
