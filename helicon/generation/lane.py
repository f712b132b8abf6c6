"""Requests of one layout that are decoded together: each joins and leaves between two tokens.

A request has a row of the cache, two with guidance. Rows in use are always the first ones: where one leaves, the last
one takes its place.

Shapes: B items, M rows, V tokens of the slot, its `eos` included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from helicon.generation.batch import DecodeBatch
from helicon.generation.decode_request import DecodeRequest, Prompt
from helicon.generation.feed import CacheRow, Feed
from helicon.generation.guidance import Guidance
from helicon.generation.prefill import prefill
from helicon.generation.stream import TokenStream
from helicon.gpt.model import GPT
from helicon.gpt.numbers import check_finite
from helicon.gpt.sampler import LogitsProcessor, PerItemRNG, draw
from helicon.gpt.stepping import DecodeBackend, make_step
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import State, stepped
from helicon.tokenizers.sequencer import Sequencer

LOOKS = 16  # steps of a GPU between two looks at which items have ended, for each of which it is waited for

Start = tuple[State, dict[str, Tensor]]  # a grammar's state after a prime, and the coordinates of that


class Waiting(NamedTuple):
    """A request for which there are no rows yet."""

    stream: TokenStream
    rows: tuple[CacheRow, ...]
    start: Start


class Lane:
    """The requests of a layout: those that wait, those that have rows, and the cache that these rows are of."""

    def __init__(
        self, gpt: GPT, sequencer: Sequencer, layout: Layout, slots: int, backend: DecodeBackend = "auto"
    ) -> None:  # fmt: skip
        self.gpt, self.layout, self.slots = gpt, layout, slots
        self.vocabulary = sequencer.schema.vocab_slice(layout.target)
        self.eos = len(sequencer.schema.blocks[layout.target.name])
        weights = gpt.tokens.weight
        self.feed = Feed(sequencer, layout, weights.device)
        self.automaton, self.room = self.feed.automaton, self.feed.room
        # Where tokens are drawn, in float64, which MPS does not have; and where histories are: beside their grammar
        self.device = torch.device("cpu") if weights.device.type == "mps" else weights.device
        self.home = self.device if self.automaton is None else torch.device("cpu")
        self.every = LOOKS if self.home.type == "cuda" else 1
        self.cache = gpt.new_cache(slots, min(sequencer.context, layout.prefix + self.room))
        self.decode_step = make_step(gpt, self.cache, layout.frame, backend)
        self.waiting: deque[Waiting] = deque()
        self._started: tuple[Any, Prompt, Start] | None = None  # by whom the start was asked for last
        self.rows: list[CacheRow] = []
        self.streams: list[TokenStream] = []  # the items, in the order of their first rows
        self.batch: DecodeBatch | None = None
        self.steps = 0

    def submit(self, stream: TokenStream) -> None:
        """Lines a request up. ValueError for ids or constraints that cannot be."""
        waiting = Waiting(stream, tuple(self.feed.rows_of(stream)), self._start(stream.request))
        if stream.request.most_tokens == 0:
            stream.end("done")
        else:
            self.waiting.append(waiting)

    def cancel(self, request_id: str) -> bool:
        """Ends a request of that id, if there is one that waits or runs."""
        for waiting in self.waiting:
            if waiting.stream.id == request_id:
                self.waiting.remove(waiting)
                waiting.stream.end("cancelled")
                return True
        found = [stream for stream in self.streams if stream.id == request_id]
        self.leave(found, "cancelled")
        return bool(found)

    def step(self) -> None:
        """One token of every request, of those too for which there are rows now; those that are done leave."""
        parts = [self._advance()] if self.rows else []
        before = len(self.rows)
        self._join()
        if len(self.rows) > before:
            parts.append(self._read(range(before, len(self.rows))))
        if not parts:
            return
        logits = torch.cat(parts) if len(parts) > 1 else parts[0]
        assert self.batch is not None
        self.steps += 1
        looks = self.steps % self.every == 0
        if looks or self.steps == 1:  # a model that computes none does so from the first step on
            check_finite(logits)
        ids = self._sample(self.batch, self.guidance(logits) if self.guidance else logits).to(self.home)
        self.batch.append(ids, self.eos, max(stream.length for stream in self.streams), self.automaton)
        for item, stream in enumerate(self.streams):
            stream.length, stream.drawn = stream.length + 1, stream.drawn + 1
            if stream.drawn % PerItemRNG.CHUNK == 0:
                self.batch.renew_uniforms(item, stream.rng)
        look = looks or any(map(self._full, self.streams))  # nobody who ended moves a window
        ended = self.batch.ended_B.tolist() if look else [False] * len(self.streams)
        self.leave([s for s, end in zip(self.streams, ended) if end or s.drawn == s.request.most_tokens])

    def leave(self, leaving: Sequence[TokenStream], status: Literal["done", "cancelled"] = "done") -> None:
        """Ends requests: their streams keep their ids, their rows are free for others."""
        if not leaving:
            return
        for stream in leaving:
            stream.end(status)
        rows, gone = list(self.rows), set(leaving)
        left = sum(row.stream not in gone for row in rows)
        holes = [number for number in range(left) if rows[number].stream in gone]
        last = [number for number in range(left, len(rows)) if rows[number].stream not in gone]
        for hole, number in zip(holes, last):
            stream = rows[number].stream
            self.cache.move_row(number, hole, self.layout.prefix + min(stream.length - stream.window, self.room))
            rows[hole] = rows[number]
        self._arrange(rows[:left])

    def _ids_of(self, stream: TokenStream) -> np.ndarray:
        assert self.batch is not None
        return self.batch.history(self.streams.index(stream)).numpy().copy()

    def _full(self, stream: TokenStream) -> bool:
        """Whether the window has to be moved before the token drawn last can be fed."""
        return stream.length - stream.window > self.room

    def _join(self) -> None:
        """Gives those who wait the rows behind those of the others, in turn; second rows come behind first ones."""
        joining: list[tuple[CacheRow, ...]] = []
        parts = [] if self.batch is None else [self.batch]
        free = self.slots - len(self.rows)
        while self.waiting and len(self.waiting[0].rows) <= free:
            stream, rows, start = self.waiting.popleft()
            parts.append(self._item(stream, start))
            self.streams = [*self.streams, stream]
            stream.begin(self._ids_of)
            joining.append(rows)
            free -= len(rows)
        if not joining:
            return
        self.batch = DecodeBatch.joined(parts)
        self._arrange([*self.rows, *(rows[0] for rows in joining), *(row for rows in joining for row in rows[1:])])

    def _start(self, request: DecodeRequest) -> Start:
        """Grammar and coordinates after a prime; one that several ask for in a row is stepped through once."""
        prompt, most = request.prompt, request.sampling.max_tokens
        if self.automaton is None:
            if prompt.constraints:
                raise ValueError(f"{self.layout}: without a grammar, so it takes no {', '.join(prompt.constraints)}")
            return {}, {}
        key = id(prompt.prime), id(prompt.constraints), prompt.length, most
        if self._started is None or self._started[0] != key:
            length = {} if prompt.length is None else {"length": prompt.length}
            state = self.automaton.constrain(self.automaton.start(1), **prompt.constraints, **length)
            state, coords = stepped(self.automaton, state, torch.as_tensor(prompt.prime))
            self._started = key, prompt, (self.automaton.constrain(state, tokens=most), coords)
        return self._started[2]

    def _item(self, stream: TokenStream, start: Start) -> DecodeBatch:
        """An item before its first token."""
        prime = torch.as_tensor(stream.request.prompt.prime)
        width = self.vocabulary.stop - self.vocabulary.start
        return DecodeBatch.start(prime, *start, stream.rng, width, self.home, self.device)

    def _arrange(self, rows: list[CacheRow]) -> None:
        """Rows as they are from now on, and with them the order of the items."""
        known = [number for number, row in enumerate(rows) if not row.free]
        streams = [rows[number].stream for number in known]
        if streams != self.streams:
            assert self.batch is not None
            self.batch = self.batch.select([self.streams.index(stream) for stream in streams]) if streams else None
        self.rows, self.streams = rows, streams
        items = {stream: item for item, stream in enumerate(streams)}
        free = {items[row.stream]: number for number, row in enumerate(rows) if row.free}
        scales = [streams[item].request.sampling.guidance for item in free]
        self.guidance = Guidance.of(known, free, scales, self.device) if free else None
        self.item_of_row = torch.tensor([items[row.stream] for row in rows], device=self.home) if free else None
        self.feed.arrange(rows, self.item_of_row)
        chains: dict[tuple[LogitsProcessor, ...], list[int]] = {}
        for item, stream in enumerate(streams):
            chains.setdefault(stream.request.sampling.chain, []).append(item)
        self.chains = [(chain, torch.tensor(of_chain, device=self.device)) for chain, of_chain in chains.items()]

    def _sample(self, batch: DecodeBatch, logits_BV: Tensor) -> Tensor:
        """Tokens [B]; those of equal methods are drawn together."""
        seen_BV, uniform_B, allowed_BV = batch.seen_BV, batch.uniform(), None
        if self.automaton is not None:
            allowed_BV = self.automaton.allowed(batch.grammar)[:, : seen_BV.shape[1]].to(self.device)
        if len(self.chains) == 1:
            return draw(logits_BV, allowed_BV, seen_BV, uniform_B, self.chains[0][0])
        ids_B = torch.empty_like(uniform_B, dtype=torch.int64)
        for chain, some in self.chains:
            allowed = None if allowed_BV is None else allowed_BV[some]
            ids_B[some] = draw(logits_BV[some], allowed, seen_BV[some], uniform_B[some], chain)
        return ids_B

    def _advance(self) -> Tensor:
        """Logits [M, V] of what follows the tokens drawn last: rows whose window is full get a new one."""
        moved = [number for number, row in enumerate(self.rows) if self._full(row.stream)]
        if len(moved) == len(self.rows):
            return self._read(moved)
        logits = self._step()  # what it does to rows that are moved is overwritten
        if moved:
            filled = self._read(moved)
            logits[moved] = filled.to(logits.dtype)  # that of the C step is wider
        return logits

    def _step(self) -> Tensor:
        """Logits [M, V] of a step of all rows."""
        batch, device = self.batch, self.gpt.tokens.weight.device
        assert batch is not None
        each_B = torch.arange(len(batch), device=self.home)
        ids = batch.ids_BT[each_B, batch.length_B - 1] + self.vocabulary.start
        place = (batch.length_B - batch.window_B - 1).clamp(max=self.room - 1)
        coordinates = self.feed.coordinates(batch, place)
        if self.item_of_row is not None:
            ids, place = ids[self.item_of_row], place[self.item_of_row]
        position = (place + self.layout.prefix).to(device)
        reach = self.layout.prefix + min(self.room, max(stream.length - stream.window for stream in self.streams))
        return self.decode_step(ids.to(device), coordinates, position, self.vocabulary, reach).to(self.device)

    def _read(self, chosen: Sequence[int]) -> Tensor:
        """Logits of what follows chosen rows, read anew; windows that are full are first cut to the kept share."""
        batch = self.batch
        assert batch is not None
        for number in chosen:
            stream = self.rows[number].stream
            if self._full(stream):
                stream.window = stream.length - max(1, int(self.room * stream.request.sampling.overlap))
        batch.window_B = torch.tensor([stream.window for stream in self.streams], device=self.home)
        items = {stream: item for item, stream in enumerate(self.streams)}
        windows = [self.feed.window(batch, items[self.rows[number].stream], number) for number in chosen]
        return prefill(self.gpt, self.layout.frame, self.cache, windows, chosen, self.vocabulary).to(self.device)
