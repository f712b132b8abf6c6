"""Decoding engine with continuous batching: requests of any length, layout and settings, one token each a step.

Requests join and leave between two tokens. An item is a function of the weights, its request and its number: alone or
among many, on a CPU to the bit, on a GPU with equal uniform numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import torch

from helicon.generation.decode_request import DecodeRequest, Prompt, Sampling
from helicon.generation.lane import Lane
from helicon.generation.stream import TokenStream
from helicon.gpt.model import GPT
from helicon.gpt.stepping import DecodeBackend
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

MAX_ROWS = 256  # cache rows of a layout: more bring little throughput even on a GPU, so further requests wait

OnStep = Callable[[Sequence[TokenStream]], None]  # progress hook: called after each step with all streams


class Engine:
    """Decoding engine. Requests wait for free cache rows; each step samples one token of every running request.

    One thread submits, steps and cancels. A layout's KV cache of `max_rows` rows is allocated at its first request.
    """

    def __init__(
        self, gpt: GPT, sequencer: Sequencer, max_rows: int = MAX_ROWS, backend: DecodeBackend = "auto"
    ) -> None:  # fmt: skip
        """Set up an engine without requests.

        Args:
            gpt: model, put into eval mode; it must not be trained while it decodes.
            sequencer: the model's layouts and tokenizers.
            max_rows: cache rows of each layout; a request takes one, with guidance two.
            backend: decode backend; `auto` takes the fastest.

        Raises:
            ValueError: max_rows below 1.
        """
        if max_rows < 1:
            raise ValueError(f"max_rows must be 1 or more, got {max_rows}")
        self.gpt, self.sequencer, self.max_rows = gpt.eval(), sequencer, max_rows
        self.backend: DecodeBackend = backend
        self._lanes: dict[Layout, Lane] = {}
        self._numbers = count()

    @property
    def busy(self) -> bool:
        """True while a request is running or waiting."""
        return any(lane.streams or lane.waiting for lane in self._lanes.values())

    @torch.inference_mode()
    def submit(self, request: DecodeRequest) -> TokenStream:
        """Queue a request; it joins in the first step that has free rows.

        Returns:
            `TokenStream` of the request; its `id` is that of `cancel`.

        Raises:
            ValueError: an unknown layout, ids that it does not take, or guidance with a single row.
        """
        if request.layout not in self.sequencer.schema.layouts:
            available = "; ".join(map(str, self.sequencer.schema.layouts))
            raise ValueError(f"layout {str(request.layout)!r}: this model has {available}")
        if request.cache_rows > self.max_rows:
            raise ValueError(
                f"a request with guidance takes {request.cache_rows} rows, this engine has {self.max_rows}"
            )
        stream = TokenStream(str(next(self._numbers)), request.checked(self.sequencer), self.step)
        if request.layout not in self._lanes:
            self._lanes[request.layout] = Lane(self.gpt, self.sequencer, request.layout, self.max_rows, self.backend)
        self._lanes[request.layout].submit(stream)
        return stream

    @torch.inference_mode()
    def step(self) -> None:
        """Sample one token of every running request, waiting ones joining first; their streams have the tokens."""
        for lane in self._lanes.values():
            lane.step()

    @torch.inference_mode()
    def cancel(self, request_id: str) -> None:
        """Cancel a request by the `id` of its stream: its rows are freed, its stream keeps the tokens so far.

        Raises:
            ValueError: no request with that id is running or waiting.
        """
        if not any(lane.cancel(request_id) for lane in self._lanes.values()):
            raise ValueError(f"no request {request_id!r} is running or waiting")


def decode(
    gpt: GPT, sequencer: Sequencer, layout: Layout, prompts: Sequence[Prompt], sampling: Sampling,
    items: Sequence[int] | None = None, on_step: OnStep | None = None, backend: DecodeBackend = "auto",
    max_rows: int = MAX_ROWS,
) -> list[np.ndarray]:  # fmt: skip
    """Decode items of one layout with an engine of their own.

    Args:
        gpt: `GPT`, model, put into eval mode.
        sequencer: `Sequencer`, its layouts and tokenizers.
        layout: `Layout` of all items.
        prompts: a `Prompt` for each item.
        sampling: `Sampling`, settings of all items.
        items: numbers of the items, which seed their uniform numbers; None for 0, 1, ...
        on_step: called after each step with the `TokenStream`s of all items.
        backend: decode backend; `auto` takes the fastest.
        max_rows: cache rows, and thereby items decoded at a time.

    Returns:
        A list of one array an item: ids within the target slot's vocabulary, int64 [T], the prime included, without
        `eos`.

    Raises:
        ValueError: ids outside a slot's block, or more of them than a slot takes.
    """
    numbers = range(len(prompts)) if items is None else items
    requests = [DecodeRequest(layout, prompt, sampling, item) for prompt, item in zip(prompts, numbers)]
    engine = Engine(
        gpt, sequencer, min(max(max_rows, 2), sum(request.cache_rows for request in requests) or 1), backend
    )
    streams = [engine.submit(request) for request in requests]
    while engine.busy:
        engine.step()
        if on_step:
            on_step(streams)
    return [stream.result() for stream in streams]
