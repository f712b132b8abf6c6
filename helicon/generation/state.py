"""State of a batch that is decoded: histories, grammar, coordinates, windows and the cache.

Each row is fed what training would feed for the same tokens, whatever the other rows are at.

Shapes: B rows, T tokens of a window, A coordinate axes, V tokens of the slot, `stop` included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.generation.decode_request import Prompt, Sampling
from helicon.gpt.model import GPT
from helicon.gpt.stepping import Engine, make_step
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Coords, State, stepped
from helicon.tokenizers.guides import sliding
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.timing import tokens_in


class DecodeState:
    """State of a batch: histories, grammar, positions, cache. Finished rows stand still."""

    def __init__(
        self, gpt: GPT, sequencer: Sequencer, layout: Layout, prompts: Sequence[Prompt], sampling: Sampling,
        engine: Engine = "auto",
    ) -> None:  # fmt: skip
        self.gpt, self.sequencer, self.layout, self.overlap = gpt, sequencer, layout, sampling.overlap
        self.rows = sequencer.schema.rows(layout.last)
        self.stop = len(sequencer.schema.blocks[layout.last.name])
        self.automaton, self.room = sequencer.automaton(layout), sequencer.room(layout)
        self.prompts, self.max_tokens = prompts, sampling.max_tokens
        self.slides = bool(sliding(layout, sequencer.tokenizers))
        self.prefixes = [] if self.slides else [sequencer.prefix(layout, prompt.conditions) for prompt in prompts]
        self.guided = sequencer.guided(layout, [prompt.conditions for prompt in prompts])
        weights = gpt.tokens.weight
        # Where tokens are drawn, in float64, which MPS does not have; and where rows are kept: beside their grammar
        self.device = torch.device("cpu") if weights.device.type == "mps" else weights.device
        self.home = self.device if self.automaton is None else torch.device("cpu")
        primes = [self._prime(prompt) for prompt in prompts]
        self.length = torch.tensor([len(prime) for prime in primes], device=self.home)
        # Bounds on the tokens of any row and of any window, so that a GPU need not be asked
        self.most = self.longest = max(len(prime) for prime in primes)
        self.each = torch.arange(len(prompts), device=self.home)
        self.window = torch.zeros_like(self.length)  # first token of each row's window
        self.ids = torch.zeros(len(prompts), self.most + 1, dtype=torch.int64, device=self.home)
        width = self.rows.stop - self.rows.start
        self.seen = torch.zeros(len(prompts), width, dtype=torch.bool, device=self.device)
        self.state: State = {}
        self.coords: dict[str, Tensor] = {}
        for row, prime in enumerate(primes):
            self.ids[row, : len(prime)] = prime
            self.seen[row, prime.to(self.device)] = True
        if self.automaton is not None:
            self._start()
        else:  # where a token stands is all there is to know
            places = sequencer.last_rows(layout, {}, {}, np.arange(self.room))
            self.places = torch.as_tensor(places, device=weights.device)
        length = min(sequencer.context, layout.prefix + self.room)
        self.cache = gpt.new_cache(len(prompts), length)
        self.step = make_step(gpt, self.cache, layout.frame, engine)

    def _prime(self, prompt: Prompt) -> Tensor:
        last = self.layout.last
        if last.length is not None and len(prompt.prime) > last.length:
            raise ValueError(f"slot {last} takes {last.length} tokens, got {len(prompt.prime)}")
        return torch.as_tensor(self.sequencer.checked(last.name, np.asarray(prompt.prime, np.int64)))

    def _start(self) -> None:
        """Steps each row's grammar through its prime, keeping the coordinates."""
        assert self.automaton is not None
        # Often those of all rows are the same
        keys = [(id(prompt.prime), id(prompt.constraints), prompt.length) for prompt in self.prompts]
        found: dict[Any, tuple[State, dict[str, Tensor]]] = {}
        for row, (key, prompt) in enumerate(zip(keys, self.prompts)):
            if key not in found:
                length = {} if prompt.length is None else {"length": prompt.length}
                state = self.automaton.constrain(self.automaton.start(1), **prompt.constraints, **length)
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
        ids = self.ids.cpu().numpy()
        return [ids[row, :n].copy() for row, n in enumerate(self.length.tolist())]

    def most_steps(self) -> int | None:
        """Steps after which no row goes on, as far as that is known."""
        length, shortest = self.layout.last.length, int(self.length.min())
        known = [self.max_tokens, None if length is None else length - shortest]
        return min((steps for steps in known if steps is not None), default=None)

    def full(self) -> Tensor:
        """bool [B]: rows whose fixed slot has all its tokens."""
        length = self.layout.last.length
        return torch.zeros_like(self.length, dtype=torch.bool) if length is None else self.length >= length

    def allowed(self, count: int) -> Tensor | None:
        """bool [count, V]: what the grammar lets follow in the first rows."""
        if self.automaton is None:
            return None
        state = {name: values[:count] for name, values in self.state.items()}
        return self.automaton.allowed(state)[:, : self.seen.shape[1]].to(self.device)

    def prefill(self) -> Tensor:
        """Logits [B, V] of what follows each row."""
        return self._read(range(len(self.length)))

    def _read(self, chosen: Sequence[int]) -> Tensor:
        """Logits of what follows the chosen rows; windows that are full are first cut to the kept share.

        Rows with the same window, as all have at the start of items of one request, are computed once. On a CPU
        different ones go one by one, so that what a row gets does not depend on the others; on a GPU together.
        """
        keep = max(1, int(self.room * self.overlap))
        over = self.length - self.window > self.room
        self.window = torch.where(over, self.length - keep, self.window)
        self.longest = int((self.length - self.window).max())
        windows = [self._window(row) for row in chosen]
        different: dict[bytes, int] = {}
        which = [different.setdefault(ids.tobytes() + rows.tobytes(), len(different)) for ids, rows in windows]
        fed = [windows[which.index(number)] for number in range(len(different))]
        device = self.gpt.tokens.weight.device
        if device.type != "cpu":
            return self._fill(fed, chosen, which)[torch.tensor(which, device=device)].to(self.device)
        logits = []
        for number, window in enumerate(fed):
            rows = [row for row, other in zip(chosen, which) if other == number]
            logits.append(self._fill([window], rows, [0] * len(rows)))
        return torch.cat(logits)[which]

    def _fill(self, fed: Sequence[tuple[np.ndarray, np.ndarray]], to: Sequence[int], which: Sequence[int]) -> Tensor:
        """Logits [windows, V] of what follows windows, whose keys and values go to rows of the cache."""
        longest, device = max(len(ids) for ids, _ in fed), self.gpt.tokens.weight.device
        ids = torch.zeros(len(fed), longest, dtype=torch.int64)
        rows = torch.zeros(len(fed), longest, fed[0][1].shape[1], dtype=torch.int64)
        for row, (row_ids, row_rows) in enumerate(fed):
            ids[row, : len(row_ids)] = torch.as_tensor(row_ids)
            rows[row, : len(row_ids)] = torch.as_tensor(row_rows)
        last = torch.tensor([len(row_ids) - 1 for row_ids, _ in fed], device=device)
        whole = len(fed) == len(to) == len(self.length)
        cache = self.cache if whole else self.gpt.new_cache(len(fed), longest)
        hidden = self.gpt(ids.to(device), rows.to(device), self.layout.frame, cache)
        logits = self.gpt.logits(hidden[torch.arange(len(fed), device=device), last], self.rows)
        if cache is not self.cache:
            self.cache.copy_rows(cache, which, to)
        return logits

    def _window(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        first, end = int(self.window[row]), int(self.length[row])
        ids = self.ids[row, first:end].cpu().numpy() + self.rows.start
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
        seen = self.sequencer.seen(self.layout, prompt.conditions, first, self._total(prompt))
        return self.sequencer.prefix(self.layout, seen)

    def _total(self, prompt: Prompt) -> int:
        """Tokens that the last slot will have as far as one knows: as asked for, or else as a window has."""
        seconds, rate = prompt.constraints.get("seconds"), self.sequencer.tokenizers[self.layout.last.name].rate  # type: ignore[attr-defined]
        known = [self.layout.last.length, prompt.length, None if seconds is None else tokens_in(seconds, rate)]
        asked = self.room + 1 if self.max_tokens is None else len(prompt.prime) + self.max_tokens
        return min((tokens for tokens in known if tokens is not None), default=asked)

    def append(self, ids: Tensor, going: Tensor) -> None:
        """Adds a token to each row that goes on."""
        self._grow()
        # What a row that has ended has beyond its length is never read
        self.ids[self.each, self.length] = ids
        here = going.to(self.seen.device)
        self.seen[self.each.to(here.device), ids.clamp(max=self.stop).to(here.device)] |= here
        self.length = self.length + going
        self.most, self.longest = self.most + 1, self.longest + 1
        if self.automaton is not None:
            stepped = self.automaton.step(self.state, ids.clamp(max=self.stop - 1))
            if not bool(going.all()):
                stepped = {name: _where(going, stepped[name], old) for name, old in self.state.items()}
            self.state = stepped
            for axis, values in self.automaton.coords(self.state).items():
                self.coords[axis][self.each, self.length] = values

    def advance(self, ids: Tensor, going: Tensor) -> Tensor:
        """Logits [B, V] of what follows the tokens just added. Rows that have ended stand where one that goes on does.

        Rows whose window is full get a new one, the others a step, as each would alone.
        """
        place = self.length - self.window - 1
        if self.longest > self.room and bool((over := going & (place >= self.room)).any()):
            moved = over.nonzero()[:, 0].tolist()
            logits = self._step(ids, place, going & ~over) if bool((going & ~over).any()) else None
            filled = self._read(moved)
            if logits is None:
                logits = filled.new_zeros(len(ids), filled.shape[1])
            logits[moved] = filled.to(logits.dtype)  # that of the C step is wider
            return logits
        return self._step(ids, place, going)

    def _step(self, ids: Tensor, place: Tensor, going: Tensor) -> Tensor:
        """A step of the rows that go on; the others are fed anything, at the last place of those."""
        place = torch.where(going, place, place.masked_fill(~going, 0).amax())
        device, prefix = self.gpt.tokens.weight.device, self.layout.prefix
        fed = (ids.clamp(max=self.stop) + self.rows.start).to(device)
        reach = prefix + min(self.longest, self.room)
        return self.step(fed, self._rows(place), (place + prefix).to(device), self.rows, reach).to(self.device)

    def _rows(self, place: Tensor) -> Tensor:
        """Coordinate rows [B, A] of each row's last token, on the model's device."""
        if self.automaton is None:
            return self.places[place.to(self.places.device)]
        coords: Coords = {axis: values[self.each, self.length].numpy() for axis, values in self.coords.items()}
        origin: Coords = {axis: values[self.each, self.window].numpy() for axis, values in self.coords.items()}
        rows = self.sequencer.last_rows(self.layout, coords, origin, place.numpy())
        if self.guided:
            self.guided.mark(rows, self.each.numpy(), self.length.numpy())
        return torch.as_tensor(rows).to(self.gpt.tokens.weight.device)

    def _grow(self) -> None:
        if self.most + 1 >= self.ids.shape[1]:
            more = max(256, self.ids.shape[1])
            self.ids = torch.nn.functional.pad(self.ids, (0, more))
            self.coords = {axis: torch.nn.functional.pad(values, (0, more)) for axis, values in self.coords.items()}


def _where(going: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(going.view(-1, *[1] * (new.dim() - 1)), new, old)
