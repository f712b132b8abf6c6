"""The tokens of one request, as they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from helicon.generation.decode_request import DecodeRequest
from helicon.gpt.sampler import PerItemRNG


class RequestCancelled(RuntimeError):
    """A request was cancelled before all of it was made."""


class TokenStream:
    """A request on its way through an engine, which alone changes it.

    Attributes:
        id: what `Engine.cancel` takes.
        length: tokens so far, the prime included. On a GPU it may be ahead of the end by the steps between two looks.
        window: first token of the window that is fed.
        drawn: uniform numbers used so far.
    """

    def __init__(self, request_id: str, request: DecodeRequest, step: Callable[[], None]) -> None:
        """step: makes the next token of every request of the engine."""
        self.id, self.request, self._step = request_id, request, step
        self.status: Literal["waiting", "running", "done", "cancelled"] = "waiting"
        self.rng = PerItemRNG(request.sampling.seed, request.item)
        self._ids = request.prompt.prime.copy()
        self.length, self.window, self.drawn = len(self._ids), 0, 0
        self._so_far: Callable[[TokenStream], np.ndarray] | None = None

    @property
    def done(self) -> bool:
        """Whether no more tokens come."""
        return self.status in ("done", "cancelled")

    @property
    def ids(self) -> np.ndarray:
        """Local ids so far, the prime included and `eos` not; a GPU is waited for."""
        return self._ids if self._so_far is None else self._so_far(self)

    @property
    def made(self) -> int:
        """Tokens made so far."""
        return self.length - len(self.request.prompt.prime)

    def __iter__(self) -> Iterator[int]:
        """Each id after the prime, as soon as it is drawn: the engine is stepped where there is none yet."""
        given = len(self.request.prompt.prime)
        while True:
            ids = self.ids
            yield from ids[given:].tolist()
            given = len(ids)
            if self.done:
                return
            self._step()

    def result(self) -> np.ndarray:
        """All ids, the prime included.

        Raises:
            RequestCancelled: it was cancelled before all of it was made.
        """
        while not self.done:
            self._step()
        if self.status == "cancelled":
            raise RequestCancelled(f"request {self.id} was cancelled after {self.made} tokens")
        return self._ids

    def begin(self, so_far: Callable[[TokenStream], np.ndarray]) -> None:
        """It has a row now; `so_far` gives its ids."""
        self.status, self._so_far = "running", so_far

    def end(self, status: Literal["done", "cancelled"]) -> None:
        """Keeps its ids; its row goes to others."""
        self._ids, self._so_far, self.status = self.ids, None, status
        self.length = len(self._ids)
