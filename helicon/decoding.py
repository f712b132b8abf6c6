"""The sampling loop: prefill, then one token a step, a new window when the context is full; ids in, ids out.

Shapes: B items, N tokens of the longest history, V tokens of the slot, `stop` included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.gpt.cache import Cache
from helicon.gpt.model import GPT
from helicon.gpt.sampler import Method, Noise, draw
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Coords, State, stepped
from helicon.tokenizers.guides import sliding
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.timing import tokens_in


@dataclass(frozen=True)
class Prompt:
    """What one item starts from: ids of the fixed slots, ids of the last slot's beginning, wishes for its grammar.

    given: of a guided slot also its guide, from the beginning of the piece to its end. length: tokens that the last
    slot is to have in all, its prime included; a guided one has as many as its guide stands for unless it is to be
    shorter.
    """

    given: Mapping[str, np.ndarray]
    prime: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    wishes: Mapping[str, Any] = field(default_factory=dict)
    length: int | None = None


@dataclass(frozen=True)
class Sampling:
    """How to draw: the chain of methods, the seed, the most tokens to make, the share of a full window that is kept.

    guidance: how much further than from the model without its conditions to the model with them (arXiv:2207.12598,
    eq. 6, where w is one less); 1 is the model with them.
    """

    chain: tuple[Method, ...] = ()
    seed: int = 0
    max_tokens: int | None = None
    overlap: float = 0.5
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.overlap < 1:
            raise ValueError(f"overlap must be above 0 and below 1, got {self.overlap}")
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be 0 or more, got {self.guidance}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"tokens must be 1 or more, got {self.max_tokens}")


OnStep = Callable[[Tensor, Tensor], None]  # ids [B] drawn this step, bool [B] whether each is a token of its item


@torch.inference_mode()
def decode(
    gpt: GPT, sequencer: Sequencer, layout: Layout, prompts: Sequence[Prompt], sampling: Sampling,
    items: Sequence[int] | None = None, on_step: OnStep | None = None,
) -> list[np.ndarray]:  # fmt: skip
    """Local ids of each item's last slot, its prime included, without `stop`.

    Noise depends on (seed, item) alone; `items` are the items' numbers, 0, 1, ... unless told. ValueError for ids that
    the slots do not have, or more of them than a slot takes.
    """
    prompts = [_as_long_as_guided(sequencer, layout, prompt) for prompt in prompts]
    # With guidance each prompt is there twice, the second time without its conditions; both are fed the same tokens
    count, copies = len(prompts), 1 if sampling.guidance == 1 else 2
    bare = [replace(prompt, given=sequencer.unsaid(prompt.given)) for prompt in prompts] if copies == 2 else []
    run = _Run(gpt.eval(), sequencer, layout, [*prompts, *bare], sampling)
    noise = Noise(sampling.seed, range(count) if items is None else items)
    done = run.full()[:count]
    hidden, step = run.prefill(), 0
    while not bool(done.all()):
        if step == sampling.max_tokens:
            break
        logits, allowed = gpt.logits(hidden, run.rows).to(run.device), run.allowed()
        if copies == 2:
            given, free = logits.float().chunk(2)
            logits, allowed = torch.lerp(free, given, sampling.guidance), None if allowed is None else allowed[:count]
        ids = draw(logits, allowed, run.seen[:count], noise[step].to(run.device), sampling.chain).cpu()
        done = done | (ids == run.stop)
        if on_step:
            on_step(ids, ~done)
        run.append(ids.repeat(copies), ~done.repeat(copies))
        done = done | run.full()[:count]
        if not bool(done.all()):
            hidden, step = run.advance(ids.repeat(copies)), step + 1
    return run.histories()[:count]


def _as_long_as_guided(sequencer: Sequencer, layout: Layout, prompt: Prompt) -> Prompt:
    """The prompt, with the length that its guide is for where it has one."""
    guide = sequencer.guides[layout.last.name].length(prompt.given) if layout.last.guide else None
    lengths = [length for length in (guide, layout.last.length, prompt.length) if length is not None]
    return prompt if guide is None else replace(prompt, length=min(lengths))


class _Run:
    """State of a batch: histories, grammar, positions, cache. Finished rows stand still."""

    def __init__(
        self, gpt: GPT, sequencer: Sequencer, layout: Layout, prompts: Sequence[Prompt], sampling: Sampling
    ) -> None:
        self.gpt, self.sequencer, self.layout, self.overlap = gpt, sequencer, layout, sampling.overlap
        self.rows = sequencer.schema.rows(layout.last)
        self.stop = len(sequencer.schema.blocks[layout.last.name])
        self.automaton, self.room = sequencer.automaton(layout), sequencer.room(layout)
        self.prompts, self.max_tokens = prompts, sampling.max_tokens
        self.slides = bool(sliding(layout, sequencer.tokenizers))
        self.prefixes = [] if self.slides else [sequencer.prefix(layout, prompt.given) for prompt in prompts]
        self.guided = sequencer.guided(layout, [prompt.given for prompt in prompts])
        primes = [self._prime(prompt) for prompt in prompts]
        self.length = torch.tensor([len(prime) for prime in primes])
        self.each = torch.arange(len(prompts))
        self.window = torch.zeros_like(self.length)  # first token of each row's window
        self.ids = torch.zeros(len(prompts), int(self.length.max()) + 1, dtype=torch.int64)
        weight = gpt.head_weight
        # Where tokens are drawn, in float64, which MPS does not have
        self.device = torch.device("cpu") if weight.device.type == "mps" else weight.device
        width = self.rows.stop - self.rows.start
        self.seen = torch.zeros(len(prompts), width, dtype=torch.bool, device=self.device)
        self.state: State = {}
        self.coords: dict[str, Tensor] = {}
        for row, prime in enumerate(primes):
            self.ids[row, : len(prime)] = prime
            self.seen[row, prime.to(self.device)] = True
        if self.automaton is not None:
            self._start()
        shape, length = gpt.shape, min(sequencer.context, layout.prefix + self.room)
        head = shape.head_width
        self.cache = Cache(shape.layers, len(prompts), shape.heads, length, head, weight.device, weight.dtype)

    def _prime(self, prompt: Prompt) -> Tensor:
        last = self.layout.last
        if last.length is not None and len(prompt.prime) > last.length:
            raise ValueError(f"slot {last} takes {last.length} tokens, got {len(prompt.prime)}")
        return torch.as_tensor(self.sequencer.checked(last.name, np.asarray(prompt.prime, np.int64)))

    def _start(self) -> None:
        """Steps each row's grammar through its prime, keeping the coordinates."""
        assert self.automaton is not None
        # Often those of all rows are the same
        keys = [(id(prompt.prime), id(prompt.wishes), prompt.length) for prompt in self.prompts]
        found: dict[Any, tuple[State, dict[str, Tensor]]] = {}
        for row, (key, prompt) in enumerate(zip(keys, self.prompts)):
            if key not in found:
                length = {} if prompt.length is None else {"length": prompt.length}
                state = self.automaton.constrain(self.automaton.start(1), **prompt.wishes, **length)
                state, coords = stepped(self.automaton, state, self.ids[row, : int(self.length[row])])
                found[key] = self.automaton.constrain(state, tokens=self.max_tokens), coords
        self.state = {name: torch.cat([found[key][0][name] for key in keys]) for name in found[keys[0]][0]}
        # coords[axis][row, i] belongs to the first i tokens, so entry 0 is the start of the piece
        rows, length = self.ids.shape
        self.coords = {axis: torch.zeros(rows, length + 1, dtype=torch.int64) for axis in found[keys[0]][1]}
        for row, key in enumerate(keys):
            for axis, values in found[key][1].items():
                self.coords[axis][row, : len(values)] = values

    def histories(self) -> list[np.ndarray]:
        """Ids of each row."""
        return [self.ids[row, : int(n)].numpy().copy() for row, n in enumerate(self.length)]

    def full(self) -> Tensor:
        """bool [B]: rows whose fixed slot has all its tokens."""
        length = self.layout.last.length
        return torch.zeros(len(self.length), dtype=torch.bool) if length is None else self.length >= length

    def allowed(self) -> Tensor | None:
        """bool [B, V]: what the grammar lets follow."""
        if self.automaton is None:
            return None
        return self.automaton.allowed(self.state)[:, : self.seen.shape[1]].to(self.device)

    def prefill(self) -> Tensor:
        """Hidden states [B, C] at each row's last token; windows that are full are first cut to the kept share."""
        keep = max(1, int(self.room * self.overlap))
        over = self.length - self.window > self.room
        self.window = torch.where(over, self.length - keep, self.window)
        fed = [self._window(row) for row in range(len(self.length))]
        longest, device = max(len(ids) for ids, _ in fed), self.gpt.head_weight.device
        ids = torch.zeros(len(fed), longest, dtype=torch.int64)
        rows = torch.zeros(len(fed), longest, fed[0][1].shape[1], dtype=torch.int64)
        for row, (row_ids, row_rows) in enumerate(fed):
            ids[row, : len(row_ids)] = torch.as_tensor(row_ids)
            rows[row, : len(row_ids)] = torch.as_tensor(row_rows)
        last = torch.tensor([len(row_ids) - 1 for row_ids, _ in fed], device=device)
        hidden = self.gpt(ids.to(device), rows.to(device), self.layout.frame, self.cache)
        return hidden[torch.arange(len(fed), device=device), last]

    def _window(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        first, end = int(self.window[row]), int(self.length[row])
        ids = self.ids[row, first:end].numpy() + self.rows.start
        coords: Coords = {axis: values[row, first + 1 : end + 1].numpy() for axis, values in self.coords.items()}
        origin: Coords = {axis: values[row, first].numpy() for axis, values in self.coords.items()}
        rows = self.sequencer.last_rows(self.layout, coords, origin, np.arange(end - first))
        prefix_ids, prefix_rows = self._prefix(row, first)
        rows = np.concatenate([prefix_rows, rows])
        if self.guided:
            following = np.arange(first, end + 1)
            self.guided.mark(rows[self.layout.prefix - 1 :], np.full_like(following, row), following)
        return np.concatenate([prefix_ids, ids]), rows

    def _prefix(self, row: int, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and rows of what comes before a row's window that begins with token `first`."""
        if not self.slides:
            return self.prefixes[row]
        prompt = self.prompts[row]
        seen = self.sequencer.seen(self.layout, prompt.given, first, self._total(prompt))
        return self.sequencer.prefix(self.layout, seen)

    def _total(self, prompt: Prompt) -> int:
        """Tokens that the last slot will have as far as one knows: as asked for, or else as a window has."""
        seconds, rate = prompt.wishes.get("seconds"), self.sequencer.tokenizers[self.layout.last.name].rate  # type: ignore[attr-defined]
        known = [self.layout.last.length, prompt.length, None if seconds is None else tokens_in(seconds, rate)]
        asked = self.room + 1 if self.max_tokens is None else len(prompt.prime) + self.max_tokens
        return min((tokens for tokens in known if tokens is not None), default=asked)

    def append(self, ids: Tensor, going: Tensor) -> None:
        """Adds a token to each row that goes on."""
        self._grow()
        self.ids[self.each[going], self.length[going]] = ids[going]
        self.seen[self.each[going].to(self.seen.device), ids[going].to(self.seen.device)] = True
        self.length = self.length + going
        if self.automaton is not None:
            stepped = self.automaton.step(self.state, ids.clamp(max=self.stop - 1))
            self.state = {key: _where(going, stepped[key], old) for key, old in self.state.items()}
            for axis, values in self.automaton.coords(self.state).items():
                self.coords[axis][self.each, self.length] = values

    def advance(self, ids: Tensor) -> Tensor:
        """Hidden states [B, C] that follow the tokens just added. A row that has ended is fed its last place again."""
        if bool((self.length - self.window > self.room).any()):
            return self.prefill()
        coords: Coords = {axis: values[self.each, self.length].numpy() for axis, values in self.coords.items()}
        origin: Coords = {axis: values[self.each, self.window].numpy() for axis, values in self.coords.items()}
        place = (self.length - self.window - 1).clamp(min=0)
        rows = self.sequencer.last_rows(self.layout, coords, origin, place.numpy())
        if self.guided:
            self.guided.mark(rows, self.each.numpy(), self.length.numpy())
        device, frame = self.gpt.head_weight.device, self.layout.frame
        fed = (ids.clamp(max=self.stop) + self.rows.start).to(device)
        return self.gpt.step(
            fed, torch.as_tensor(rows).to(device), (place + frame.prefix).to(device), frame, self.cache
        )

    def _grow(self) -> None:
        if int(self.length.max()) + 1 >= self.ids.shape[1]:
            more = max(256, self.ids.shape[1])
            self.ids = torch.nn.functional.pad(self.ids, (0, more))
            self.coords = {axis: torch.nn.functional.pad(values, (0, more)) for axis, values in self.coords.items()}


def _where(going: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(going.view(-1, *[1] * (new.dim() - 1)), new, old)
