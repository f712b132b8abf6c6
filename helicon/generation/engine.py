"""The decoding engine: requests of any length, layout and options are decoded together, a token each a step.

Each joins and leaves between two tokens. What it makes is a function of the weights, the request and its item: alone
or among many, on a CPU to the bit, on a GPU with equal uniform numbers.
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

SLOTS = 256  # rows of a layout at most, of which more bring little even on a GPU: further requests wait

OnStep = Callable[[Sequence[TokenStream]], None]  # told of all requests of a call, after each step


class Engine:
    """Requests wait until there are rows for them; then each step makes one token of every one.

    One thread submits, steps and cancels. Memory is taken when a layout is first asked for: a cache of `slots` rows.
    """

    def __init__(
        self, gpt: GPT, sequencer: Sequencer, slots: int = SLOTS, backend: DecodeBackend = "auto"
    ) -> None:  # fmt: skip
        """
        Args:
            gpt: the model; nobody trains it while it decodes.
            sequencer: its layouts and tokenizers.
            slots: rows of the cache of each layout; a request takes one, two with guidance.
            backend: how a step is computed, the fastest unless told.

        Raises:
            ValueError: no slots.
        """
        if slots < 1:
            raise ValueError(f"slots must be 1 or more, got {slots}")
        self.gpt, self.sequencer, self.slots = gpt.eval(), sequencer, slots
        self.backend: DecodeBackend = backend
        self._lanes: dict[Layout, Lane] = {}
        self._numbers = count()

    @property
    def busy(self) -> bool:
        """Whether a request is running or waiting."""
        return any(lane.streams or lane.waiting for lane in self._lanes.values())

    @torch.inference_mode()
    def submit(self, request: DecodeRequest) -> TokenStream:
        """Lines a request up; it joins in the next step in which there is a row for it.

        Raises:
            ValueError: a layout, ids, or a number of rows that this engine does not have.
        """
        if request.layout not in self.sequencer.schema.layouts:
            found = "; ".join(map(str, self.sequencer.schema.layouts))
            raise ValueError(f"layout {str(request.layout)!r}: this model has {found}")
        if request.rows > self.slots:
            raise ValueError(f"a request with guidance takes {request.rows} rows, this engine has {self.slots}")
        stream = TokenStream(str(next(self._numbers)), request.checked(self.sequencer), self.step)
        if request.layout not in self._lanes:
            self._lanes[request.layout] = Lane(self.gpt, self.sequencer, request.layout, self.slots, self.backend)
        self._lanes[request.layout].submit(stream)
        return stream

    @torch.inference_mode()
    def step(self) -> None:
        """One token of every running request, of those too for which there is a row now."""
        for lane in self._lanes.values():
            lane.step()

    @torch.inference_mode()
    def cancel(self, request_id: str) -> None:
        """Ends a request where it is: its row goes to others, its stream keeps what was made.

        Raises:
            ValueError: no request of that id is running or waiting.
        """
        if not any(lane.cancel(request_id) for lane in self._lanes.values()):
            raise ValueError(f"no request {request_id!r} is running or waiting")


def decode(
    gpt: GPT, sequencer: Sequencer, layout: Layout, prompts: Sequence[Prompt], sampling: Sampling,
    items: Sequence[int] | None = None, on_step: OnStep | None = None, backend: DecodeBackend = "auto",
    slots: int = SLOTS,
) -> list[np.ndarray]:  # fmt: skip
    """Local ids of each item's last slot, its prime included, without `eos`: an engine of its own for some requests.

    Args:
        items: the items' numbers, by which and the seed their uniform numbers are drawn; 0, 1, ... unless told.
        on_step: called after each step, with the streams of all items.
        slots: rows that are decoded at a time.

    Raises:
        ValueError: ids that the slots do not have, or more of them than a slot takes.
    """
    numbers = range(len(prompts)) if items is None else items
    requests = [DecodeRequest(layout, prompt, sampling, item) for prompt, item in zip(prompts, numbers)]
    engine = Engine(gpt, sequencer, min(max(slots, 2), sum(request.rows for request in requests) or 1), backend)
    streams = [engine.submit(request) for request in requests]
    while engine.busy:
        engine.step()
        if on_step:
            on_step(streams)
    return [stream.result() for stream in streams]
