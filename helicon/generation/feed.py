"""What the model is fed: windows and single tokens as training packs them, whatever the other rows are at.

Shapes: B items, M rows, A coordinate axes.
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
    """A row of the cache: whose it is, the conditions that it is fed, and their prefix unless that slides.

    free: whether it is the second row of a request with guidance, whose conditions are null.
    """

    stream: TokenStream
    conditions: Mapping[str, np.ndarray]
    prefix: tuple[np.ndarray, np.ndarray] | None
    free: bool


class Feed:
    """Inputs of a model for the rows of one layout."""

    def __init__(self, sequencer: Sequencer, layout: Layout, device: torch.device) -> None:
        self.sequencer, self.layout, self.device = sequencer, layout, device
        self.automaton, self.room = sequencer.automaton(layout), sequencer.target_capacity(layout)
        self.first_id = sequencer.schema.vocab_slice(layout.target).start
        self.slides = bool(sliding(layout, sequencer.tokenizers))
        # Without a grammar where a token stands is all there is to know
        places = sequencer.last_rows(layout, {}, {}, np.arange(self.room)) if self.automaton is None else ()
        self.places = torch.as_tensor(places, device=device)
        self.arrange([])

    def rows_of(self, stream: TokenStream) -> list[CacheRow]:
        """The row of a request, and with guidance a second one. ValueError for ids that the slots do not have."""
        given = stream.request.prompt.conditions
        self.sequencer.upsampling_coords(self.layout, [given])
        conditions = [given] if stream.request.rows == 1 else [given, self.sequencer.null_conditions(given)]
        prefixes = [None if self.slides else self.sequencer.prefix(self.layout, each) for each in conditions]
        return [CacheRow(stream, each, prefix, free) for each, prefix, free in zip(conditions, prefixes, (False, True))]

    def arrange(self, rows: Sequence[CacheRow], item_of_row: Tensor | None = None) -> None:
        """Rows as they are from now on; row i is of item i unless told."""
        self.rows = rows
        self.guides = self.sequencer.upsampling_coords(self.layout, [row.conditions for row in rows]) if rows else None
        self.item_of_row = item_of_row

    def coordinates(self, batch: DecodeBatch, place_B: Tensor) -> Tensor:
        """Rows [M, A] of the coordinate table for each row's last token, at `place_B` of its window."""
        item_M = self.item_of_row
        if self.automaton is None:
            rows_BA = self.places[place_B.to(self.device)]
            return rows_BA if item_M is None else rows_BA[item_M.to(self.device)]
        each_B = torch.arange(len(batch))
        coords: Coords = {axis: values[each_B, batch.length_B].numpy() for axis, values in batch.coords.items()}
        origin: Coords = {axis: values[each_B, batch.window_B].numpy() for axis, values in batch.coords.items()}
        rows = self.sequencer.last_rows(self.layout, coords, origin, place_B.numpy())
        rows = rows if item_M is None else rows[item_M.numpy()]
        if self.guides:
            self.guides.mark(rows, np.arange(len(rows)), np.array([row.stream.length for row in self.rows]))
        return torch.as_tensor(rows).to(self.device)

    def window(self, batch: DecodeBatch, item: int, number: int) -> Window:
        """All of row `number`, which is of `item`: its prefix, and its tokens from the start of its window on."""
        row = self.rows[number]
        first, end = row.stream.window, row.stream.length
        ids = batch.ids_BT[item, first:end].cpu().numpy() + self.first_id
        coords: Coords = {axis: values[item, first + 1 : end + 1].numpy() for axis, values in batch.coords.items()}
        origin: Coords = {axis: values[item, first].numpy() for axis, values in batch.coords.items()}
        rows = self.sequencer.last_rows(self.layout, coords, origin, np.arange(end - first))
        prefix_ids, prefix_rows = row.prefix or self.slid_prefix(row, first)
        rows = np.concatenate([prefix_rows, rows])
        if self.guides:
            following = np.arange(first, end + 1)
            self.guides.mark(rows[self.layout.prefix - 1 :], np.full_like(following, number), following)
        return Window(np.concatenate([prefix_ids, ids]), rows)

    def slid_prefix(self, row: CacheRow, first: int) -> tuple[np.ndarray, np.ndarray]:
        """The prefix of a window that begins with token `first`, whose conditions are those of its stretch."""
        seen = self.sequencer.window_conditions(self.layout, row.conditions, first, self._total(row.stream.request))
        return self.sequencer.prefix(self.layout, seen)

    def _total(self, request: DecodeRequest) -> int:
        """Tokens that the last slot will have as far as one knows: as asked for, or else as a window has."""
        prompt, most = request.prompt, request.sampling.max_tokens
        seconds, rate = prompt.constraints.get("seconds"), self.automaton.rate if self.automaton else None
        asked_for = None if seconds is None or rate is None else tokens_in(seconds, rate)
        lengths = [self.layout.target.length, prompt.length, asked_for]
        asked = self.room + 1 if most is None else len(prompt.prime) + most
        return min((tokens for tokens in lengths if tokens is not None), default=asked)
