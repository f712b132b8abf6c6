"""Continuous batching of one layout's requests: they join and leave between two tokens.

A request has a row of the KV cache, with guidance two. Rows in use are always the first ones: when a row is freed, the
last one is moved to its place.

Shapes: B items, M cache rows, V tokens of the target slot, its `eos` included.
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
from helicon.gpt.sampler import LogitsProcessor, PerItemRNG, sample
from helicon.gpt.stepping import DecodeBackend, make_step
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import State, stepped
from helicon.tokenizers.sequencer import Sequencer

CHECK_INTERVAL = 16  # GPU steps between two checks for ended items, since each check synchronises

Start = tuple[State, dict[str, Tensor]]  # grammar state and raw coordinates after a prime


class Waiting(NamedTuple):
    """Request that waits for free cache rows."""

    stream: TokenStream
    rows: tuple[CacheRow, ...]
    start: Start


class Lane:
    """Requests of one layout, waiting and running, and the KV cache of the running ones.

    Args:
        gpt: model in eval mode.
        sequencer: its layouts and tokenizers.
        layout: layout of all requests.
        max_rows: rows of the cache.
        backend: decode backend.
    """

    def __init__(
        self, gpt: GPT, sequencer: Sequencer, layout: Layout, max_rows: int, backend: DecodeBackend = "auto"
    ) -> None:  # fmt: skip
        self.gpt, self.layout, self.max_rows = gpt, layout, max_rows
        self.vocabulary = sequencer.schema.vocab_slice(layout.target)
        self.eos = len(sequencer.schema.blocks[layout.target.name])
        weights = gpt.tokens.weight
        self.feed = Feed(sequencer, layout, weights.device)
        self.automaton, self.target_capacity = self.feed.automaton, self.feed.target_capacity
        # Sampling is in float64, which MPS lacks. Histories are beside the grammar, which runs on the CPU
        self.device = torch.device("cpu") if weights.device.type == "mps" else weights.device
        self.history_device = self.device if self.automaton is None else torch.device("cpu")
        self.check_interval = CHECK_INTERVAL if self.history_device.type == "cuda" else 1
        self.cache = gpt.new_cache(max_rows, min(sequencer.context, layout.prefix + self.target_capacity))
        self.decode_step = make_step(gpt, self.cache, layout.frame, backend)
        self.waiting: deque[Waiting] = deque()
        # Key and result of the last `_start`, and the prompt, kept alive because the key has its id
        self._last_start: tuple[Any, Prompt, Start] | None = None
        self.rows: list[CacheRow] = []
        self.streams: list[TokenStream] = []  # of the items, in the order of their conditional rows
        self.batch: DecodeBatch | None = None
        self.steps = 0

    def submit(self, stream: TokenStream) -> None:
        """Queue the request of a `TokenStream`; ValueError for ids or constraints that the layout does not take."""
        waiting = Waiting(stream, tuple(self.feed.rows_of(stream)), self._start(stream.request))
        if stream.request.token_limit == 0:
            stream.end("done")
        else:
            self.waiting.append(waiting)

    def cancel(self, request_id: str) -> bool:
        """Cancel the request whose stream has that id; return True, or False when none such waits or runs."""
        for waiting in self.waiting:
            if waiting.stream.id == request_id:
                self.waiting.remove(waiting)
                waiting.stream.end("cancelled")
                return True
        matches = [stream for stream in self.streams if stream.id == request_id]
        self.leave(matches, "cancelled")
        return bool(matches)

    def step(self) -> None:
        """Sample one token of every request, waiting ones joining first where rows are free; finished ones leave."""
        parts = [self._advance()] if self.rows else []
        before = len(self.rows)
        self._join()
        if len(self.rows) > before:
            parts.append(self._prefill_rows(range(before, len(self.rows))))
        if not parts:
            return
        logits = torch.cat(parts) if len(parts) > 1 else parts[0]
        assert self.batch is not None
        self.steps += 1
        check = self.steps % self.check_interval == 0
        if check or self.steps == 1:  # damaged weights fail at the first step
            check_finite(logits)
        ids = self._sample(self.batch, self.guidance(logits) if self.guidance else logits).to(self.history_device)
        self.batch.append(ids, self.eos, max(stream.length for stream in self.streams), self.automaton)
        for item, stream in enumerate(self.streams):
            stream.length, stream.drawn = stream.length + 1, stream.drawn + 1
            if stream.drawn % PerItemRNG.CHUNK == 0:
                self.batch.renew_uniforms(item, stream.rng)
        read_ended = check or any(map(self._full, self.streams))  # an ended item must not move its window
        ended = self.batch.ended_B.tolist() if read_ended else [False] * len(self.streams)
        self.leave([s for s, end in zip(self.streams, ended) if end or s.drawn == s.request.token_limit])

    def leave(self, leaving: Sequence[TokenStream], status: Literal["done", "cancelled"] = "done") -> None:
        """End requests: their streams keep their ids, their cache rows are freed.

        Args:
            leaving: `TokenStream`s, running requests.
            status: new status of their streams.
        """
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
            fed = min(stream.length - stream.window, self.target_capacity)
            self.cache.move_row(number, hole, self.layout.prefix + fed)
            rows[hole] = rows[number]
        self._arrange(rows[:left])

    def _ids_of(self, stream: TokenStream) -> np.ndarray:
        assert self.batch is not None
        return self.batch.history(self.streams.index(stream)).numpy().copy()

    def _full(self, stream: TokenStream) -> bool:
        """Return True if the window has to move before the token sampled last can be fed."""
        return stream.length - stream.window > self.target_capacity

    def _join(self) -> None:
        """Move waiting requests into free rows, in order; their unconditional rows come behind all conditional ones."""
        joining: list[tuple[CacheRow, ...]] = []
        parts = [] if self.batch is None else [self.batch]
        free = self.max_rows - len(self.rows)
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
        """Compute grammar state and coordinates after a prime, cached for equal prompts that follow each other."""
        prompt, most = request.prompt, request.sampling.max_tokens
        if self.automaton is None:
            if prompt.constraints:
                raise ValueError(f"{self.layout}: without a grammar, so it takes no {', '.join(prompt.constraints)}")
            return {}, {}
        key = id(prompt.prime), id(prompt.constraints), prompt.length, most
        if self._last_start is None or self._last_start[0] != key:
            length = {} if prompt.length is None else {"length": prompt.length}
            state = self.automaton.constrain(self.automaton.start(1), **prompt.constraints, **length)
            state, coords = stepped(self.automaton, state, torch.as_tensor(prompt.prime))
            self._last_start = key, prompt, (self.automaton.constrain(state, tokens=most), coords)
        return self._last_start[2]

    def _item(self, stream: TokenStream, start: Start) -> DecodeBatch:
        """Make the batch of one item before its first new token."""
        prime = torch.as_tensor(stream.request.prompt.prime)
        width = self.vocabulary.stop - self.vocabulary.start
        return DecodeBatch.start(prime, *start, stream.rng, width, self.history_device, self.device)

    def _arrange(self, rows: list[CacheRow]) -> None:
        """Set the rows in use, and with them the order of the items, their guidance and their logits processors."""
        cond_rows = [number for number, row in enumerate(rows) if not row.uncond]
        streams = [rows[number].stream for number in cond_rows]
        if streams != self.streams:
            assert self.batch is not None
            self.batch = self.batch.select([self.streams.index(stream) for stream in streams]) if streams else None
        self.rows, self.streams = rows, streams
        items = {stream: item for item, stream in enumerate(streams)}
        uncond_rows = {items[row.stream]: number for number, row in enumerate(rows) if row.uncond}
        scales = [streams[item].request.sampling.guidance for item in uncond_rows]
        self.guidance = Guidance.of(cond_rows, uncond_rows, scales, self.device) if uncond_rows else None
        row_items = [items[row.stream] for row in rows]
        self.item_of_row = torch.tensor(row_items, device=self.history_device) if uncond_rows else None
        self.feed.arrange(rows, self.item_of_row)
        chains: dict[tuple[LogitsProcessor, ...], list[int]] = {}
        for item, stream in enumerate(streams):
            chains.setdefault(stream.request.sampling.chain, []).append(item)
        self.chains = [(chain, torch.tensor(of_chain, device=self.device)) for chain, of_chain in chains.items()]

    def _sample(self, batch: DecodeBatch, logits_BV: Tensor) -> Tensor:
        """Sample tokens [B]; items with equal logits processors are sampled together."""
        seen_BV, uniform_B, allowed_BV = batch.seen_BV, batch.uniform(), None
        if self.automaton is not None:
            allowed_BV = self.automaton.allowed(batch.grammar)[:, : seen_BV.shape[1]].to(self.device)
        if len(self.chains) == 1:
            return sample(logits_BV, allowed_BV, seen_BV, uniform_B, self.chains[0][0])
        ids_B = torch.empty_like(uniform_B, dtype=torch.int64)
        for chain, items in self.chains:
            allowed = None if allowed_BV is None else allowed_BV[items]
            ids_B[items] = sample(logits_BV[items], allowed, seen_BV[items], uniform_B[items], chain)
        return ids_B

    def _advance(self) -> Tensor:
        """Compute logits [M, V] that follow the tokens sampled last; rows with a full window get a new one."""
        full = [number for number, row in enumerate(self.rows) if self._full(row.stream)]
        if len(full) == len(self.rows):
            return self._prefill_rows(full)
        logits = self._step()  # full rows are computed too; the prefill below overwrites them
        if full:
            prefilled = self._prefill_rows(full)
            logits[full] = prefilled.to(logits.dtype)  # logits of the native step are float32
        return logits

    def _step(self) -> Tensor:
        """Compute logits [M, V] by one decode step of all rows."""
        batch, device = self.batch, self.gpt.tokens.weight.device
        assert batch is not None
        item_B = torch.arange(len(batch), device=self.history_device)
        ids = batch.ids_BT[item_B, batch.length_B - 1] + self.vocabulary.start
        target_position = (batch.length_B - batch.window_B - 1).clamp(max=self.target_capacity - 1)
        coordinates = self.feed.coordinates(batch, target_position)
        if self.item_of_row is not None:
            ids, target_position = ids[self.item_of_row], target_position[self.item_of_row]
        position = (target_position + self.layout.prefix).to(device)
        longest = max(stream.length - stream.window for stream in self.streams)
        kv_length = self.layout.prefix + min(self.target_capacity, longest)
        return self.decode_step(ids.to(device), coordinates, position, self.vocabulary, kv_length).to(self.device)

    def _prefill_rows(self, chosen: Sequence[int]) -> Tensor:
        """Compute logits after complete windows of some rows; full windows are first cut to the share `overlap`."""
        batch = self.batch
        assert batch is not None
        for number in chosen:
            stream = self.rows[number].stream
            if self._full(stream):
                stream.window = stream.length - max(1, int(self.target_capacity * stream.request.sampling.overlap))
        batch.window_B = torch.tensor([stream.window for stream in self.streams], device=self.history_device)
        items = {stream: item for item, stream in enumerate(self.streams)}
        windows = [self.feed.window(batch, items[self.rows[number].stream], number) for number in chosen]
        return prefill(self.gpt, self.layout.frame, self.cache, windows, chosen, self.vocabulary).to(self.device)
