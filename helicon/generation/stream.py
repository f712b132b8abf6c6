"""Token stream of one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from helicon.formats.quantities import quantity
from helicon.generation.decode_request import DecodeRequest
from helicon.gpt.sampler import PerItemRNG


class RequestCancelled(RuntimeError):
    """Result of a request that was cancelled before it was done."""


class TokenStream:
    """Request in an engine, which alone changes the stream.

    Attributes:
        id: argument of `Engine.cancel`.
        status: `waiting` for a cache row, `running`, `done` or `cancelled`.
        length: tokens so far, the prime included. On a GPU it may run past the end until the next check.
        window: first token of the window that is fed.
        drawn: uniform numbers used so far.
    """

    def __init__(self, request_id: str, request: DecodeRequest, step: Callable[[], None]) -> None:
        """Queue a stream.

        Args:
            request_id: of the request.
            request: checked request.
            step: steps the engine, which samples the next token of every request.
        """
        self.id, self.request, self._step = request_id, request, step
        self.status: Literal["waiting", "running", "done", "cancelled"] = "waiting"
        self.rng = PerItemRNG(request.sampling.seed, request.item)
        self._ids = request.prompt.prime.copy()
        self.length, self.window, self.drawn = len(self._ids), 0, 0
        self._so_far: Callable[[TokenStream], np.ndarray] | None = None

    @property
    def done(self) -> bool:
        """True once no more tokens come."""
        return self.status in ("done", "cancelled")

    @property
    def ids(self) -> np.ndarray:
        """Local ids NumPy int64 [T] so far, the prime included, without `eos`; synchronises with a GPU."""
        return self._ids if self._so_far is None else self._so_far(self)

    @property
    def new_tokens(self) -> int:
        """Number of tokens so far, without the prime."""
        return self.length - len(self.request.prompt.prime)

    def __iter__(self) -> Iterator[int]:
        """Yield each id after the prime as soon as it is sampled, stepping the engine for more."""
        yielded = len(self.request.prompt.prime)
        while True:
            ids = self.ids
            yield from ids[yielded:].tolist()
            yielded = len(ids)
            if self.done:
                return
            self._step()

    def result(self) -> np.ndarray:
        """Step the engine until the request is done; return all local ids, NumPy int64 [T], the prime included.

        Raises:
            RequestCancelled: it was cancelled first.
        """
        while not self.done:
            self._step()
        if self.status == "cancelled":
            raise RequestCancelled(f"request {self.id} was cancelled after {quantity(self.new_tokens, 'token')}")
        return self._ids

    def begin(self, so_far: Callable[[TokenStream], np.ndarray]) -> None:
        """Mark the request as running; `so_far(stream)` returns its ids so far, NumPy int64 [T], from the batch."""
        self.status, self._so_far = "running", so_far

    def end(self, status: Literal["done", "cancelled"]) -> None:
        """Set the final status, `done` or `cancelled`, and keep a copy of the ids, before the cache row is freed."""
        self._ids, self._so_far, self.status = self.ids, None, status
        self.length = len(self._ids)
