"""Requests join and leave between two tokens; what each makes is what it makes alone."""

from __future__ import annotations

import gc
import random
import weakref

import numpy as np
import pytest
import torch
from test_decoding import NATIVE, sequencer_of, untrained

from helicon.generation.decode_request import DecodeRequest, Prompt, Sampling
from helicon.generation.engine import Engine
from helicon.generation.stream import RequestCancelled, TokenStream
from helicon.gpt.model import GPT
from helicon.gpt.sampler import PerItemRNG, logits_processors
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUTS = ("text", "text[6] image[4x4]", "style[3] music", "image[4x4] text[6]")


@pytest.fixture(scope="module")
def world() -> tuple[Sequencer, GPT]:
    """A model of several layouts, whose windows soon move."""
    sequencer = sequencer_of(*LAYOUTS, context=24)
    return sequencer, untrained(sequencer, "dense,strided:6")


def anything(lot: random.Random, layouts: tuple[Layout, ...]) -> DecodeRequest:
    """A request of random options."""
    layout, noise = lot.choice(layouts), np.random.default_rng(lot.randrange(1 << 30))
    given = {"text": noise.integers(97, 123, 3), "image": noise.integers(256, size=16), "style": np.zeros(0, np.int64)}
    conditions = {slot.name: given[slot.name] for slot in layout.slots[:-1]}
    music = layout.target.name == "music"
    prime = [] if music else noise.integers(256, size=lot.randrange(0, layout.target.length or 30))
    constraints = {"seconds": lot.choice([0.1, 2.0])} if music and lot.random() < 0.5 else {}
    chain = logits_processors(
        SamplingOptions(
            temperature=lot.choice([0.7, 1.0, 1.5]), top_k=lot.choice([None, 20]), top_p=lot.choice([None, 0.9])
        )
    )
    guidance = lot.choice([1.0, 1.0, 2.5]) if conditions else 1.0
    sampling = Sampling(
        chain=chain,
        seed=lot.randrange(99),
        max_tokens=lot.randrange(1, 30 if layout.target.length is None else layout.target.length - len(prime) + 1),
        overlap=lot.choice([0.3, 0.5]),
        guidance=guidance,
    )
    return DecodeRequest(
        layout, Prompt(conditions, np.asarray(prime, np.int64), constraints), sampling, lot.randrange(99)
    )


def joined(
    engine: Engine, requests: list[DecodeRequest], lot: random.Random, cancels: float = 0.0
) -> list[TokenStream]:
    """Requests that join at random moments, some of which are cancelled on their way."""
    streams = []
    for request in requests:
        streams.append(engine.submit(request))
        for _ in range(lot.choice([0, 0, 1, 5])):
            engine.step()
        if lot.random() < cancels and not streams[-1].done:
            engine.cancel(streams[-1].id)
    while engine.busy:
        engine.step()
    return streams


def alone(world: tuple[Sequencer, GPT], request: DecodeRequest, backend: str = "auto") -> list[int]:
    return Engine(*reversed(world), max_rows=2, backend=backend).submit(request).result().tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["eager", NATIVE])
def test_whoever_joins_when_makes_what_it_makes_alone(monkeypatch, world, backend):
    """Of 40 requests at random moments, for fewer rows than they are; some are cancelled on their way."""
    monkeypatch.setattr(PerItemRNG, "CHUNK", 8)
    sequencer, gpt = world
    lot = random.Random(3)
    requests = [anything(lot, sequencer.schema.layouts) for _ in range(40)]
    streams = joined(Engine(gpt, sequencer, max_rows=7, backend=backend), requests, lot, cancels=0.1)
    cancelled = [stream for stream in streams if stream.status == "cancelled"]
    assert len(cancelled) > 1
    for request, stream in zip(requests, streams):
        whole = alone(world, request, backend)
        assert stream.ids.tolist() == (whole[: len(stream.ids)] if stream in cancelled else whole)
    assert {str(request.layout) for request in requests} == set(LAYOUTS)
    assert len({len(stream.ids) for stream in streams}) > 8


def text_request(world: tuple[Sequencer, GPT], tokens: int, item: int = 0) -> DecodeRequest:
    """Of bytes that never stop before they have to."""
    return DecodeRequest(
        world[0].schema.layouts[0], Prompt({}), Sampling(chain=(endless,), seed=1, max_tokens=tokens), item
    )


def endless(logits_BV: torch.Tensor, seen_BV: torch.Tensor) -> torch.Tensor:
    """Without `eos`."""
    return torch.cat([logits_BV[:, :-1], logits_BV[:, -1:] - 1e9], dim=1)


def engine_of(world: tuple[Sequencer, GPT], slots: int) -> Engine:
    return Engine(world[1], world[0], max_rows=slots)


def test_requests_wait_in_turn_for_rows_that_others_leave(world):
    engine = engine_of(world, 2)
    streams = [engine.submit(text_request(world, tokens, item)) for item, tokens in enumerate((3, 5, 2, 4))]
    lengths = []
    while engine.busy:
        engine.step()
        lengths.append([len(stream.ids) for stream in streams])
    assert lengths == [[1, 1, 0, 0], [2, 2, 0, 0], [3, 3, 0, 0], [3, 4, 1, 0], [3, 5, 2, 0], [3, 5, 2, 1]] + [
        [3, 5, 2, n] for n in (2, 3, 4)
    ]
    assert [stream.status for stream in streams] == ["done"] * 4
    assert [stream.ids.tolist() for stream in streams] == [
        alone(world, text_request(world, tokens, item)) for item, tokens in enumerate((3, 5, 2, 4))
    ]


def test_a_stream_gives_tokens_as_they_are_drawn_while_others_go_on(world):
    engine = engine_of(world, 4)
    one, other = (engine.submit(text_request(world, 40, item)) for item in (0, 1))
    heard = []
    for token in one:
        heard.append(token)
        assert len(other.ids) == len(heard)
    assert heard == one.ids.tolist() == alone(world, text_request(world, 40, 0))
    assert other.result().tolist() == alone(world, text_request(world, 40, 1))


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_a_cancelled_request_leaves_its_row_and_says_so(world, steps):
    engine = engine_of(world, 2)
    gone, stays, waits = (engine.submit(text_request(world, 12, item)) for item in range(3))
    for _ in range(steps):
        engine.step()
    engine.cancel(gone.id)
    assert (gone.status, len(gone.ids)) == ("cancelled", steps)
    with pytest.raises(RequestCancelled, match=f"^request {gone.id} was cancelled after {steps} tokens?$"):
        gone.result()
    assert list(gone) == gone.ids.tolist() == alone(world, text_request(world, 12))[:steps]
    engine.step()
    assert len(waits.ids) == 1  # it has that row now
    for stream, item in ((stays, 1), (waits, 2)):
        assert stream.result().tolist() == alone(world, text_request(world, 12, item))
    for request_id in (gone.id, "nobody"):
        with pytest.raises(ValueError, match=f"^no request '{request_id}' is running or waiting$"):
            engine.cancel(request_id)


def test_what_cannot_be_is_refused_before_it_joins_and_hurts_nobody(world):
    engine = engine_of(world, 1)
    running = engine.submit(text_request(world, 6))
    engine.step()
    captioned, music = (next(y for y in world[0].schema.layouts if str(y) == spec) for spec in LAYOUTS[1:3])
    wrong: list[tuple[DecodeRequest, str]] = [
        (
            DecodeRequest(Layout.parse("image[2]"), Prompt({}), Sampling()),
            r"layout 'image\[2\]': this model has text; ",
        ),
        (DecodeRequest(captioned, Prompt({}, np.arange(17)), Sampling()), "takes 16 tokens, got 17"),
        (DecodeRequest(captioned, Prompt({}, np.array([300])), Sampling()), "slot image: ids must be 0 .. 255"),
        (DecodeRequest(captioned, Prompt({"text": np.arange(9)}), Sampling()), r"slot text\[6\] takes 6 tokens, got 9"),
        (DecodeRequest(music, Prompt({}, constraints={"seconds": -1.0}), Sampling()), "seconds must be at least"),
        (DecodeRequest(captioned, Prompt({}), Sampling(guidance=2.0)), "takes 2 rows, this engine has 1"),
        (DecodeRequest(captioned, Prompt({"txt": np.arange(3)}), Sampling()), "unknown condition 'txt'; nearest: text"),
        (DecodeRequest(captioned, Prompt({}, constraints={"seconds": 3.0}), Sampling()), "takes no seconds"),
        (DecodeRequest(captioned, Prompt({}, np.arange(4), length=3), Sampling()), "a length of 3 tokens"),
        (DecodeRequest(captioned, Prompt({}, np.arange(4)), Sampling(max_tokens=13)), "got 4 and 13 to make"),
        (DecodeRequest(captioned, Prompt({}, np.array([0.5])), Sampling()), r"in a row, got float64 \(1,\)"),
        (DecodeRequest(captioned, Prompt({}, np.zeros((1, 3), int)), Sampling()), r"in a row, got int64 \(1, 3\)"),
        (DecodeRequest(captioned, Prompt({"text": np.array(["a"])}), Sampling()), "slot text: ids must be whole"),
    ]
    for request, message in wrong:
        with pytest.raises(ValueError, match=message):
            engine.submit(request)
    assert running.result().tolist() == alone(world, text_request(world, 6))


def test_a_row_is_used_again_without_a_trace_of_who_had_it(world, monkeypatch):
    """Also where the one before was longer, had two rows, or moved its window."""
    engine = engine_of(world, 2)
    lot = random.Random(8)
    requests = [anything(lot, world[0].schema.layouts[:2]) for _ in range(12)]
    for request in requests:
        assert engine.submit(request).result().tolist() == alone(world, request)
    assert all(lane.cache.kv.shape[2] == 2 for lane in engine._lanes.values())


def test_a_step_computes_the_rows_that_are_in_use_alone(world, monkeypatch):
    engine, widths = engine_of(world, 6), []
    for item, tokens in enumerate((2, 4, 6)):
        engine.submit(text_request(world, tokens, item))
    engine.step()
    (lane,) = engine._lanes.values()
    inner = lane.decode_step
    lane.decode_step = lambda ids, *rest: (widths.append(len(ids)), inner(ids, *rest))[1]  # type: ignore[assignment]
    while engine.busy:
        engine.step()
    assert widths == [3, 2, 2, 1, 1]


def test_nothing_is_kept_of_those_who_left_while_others_wait(world):
    layout = next(layout for layout in world[0].schema.layouts if layout.target.name == "music")
    engine, primes = engine_of(world, 1), []
    for _ in range(10):
        prime = np.zeros(0, np.int64)
        primes.append(weakref.ref(prime))
        engine.submit(DecodeRequest(layout, Prompt({"style": prime}, prime), Sampling(max_tokens=3)))
        del prime
        if len(primes) > 2:  # one runs and two wait, from now on
            for _ in range(3):
                engine.step()
    assert engine.busy
    gc.collect()
    assert sum(prime() is not None for prime in primes) <= 4


def test_a_request_that_is_refused_takes_no_cache(world):
    engine = engine_of(world, 1)
    layout = next(layout for layout in world[0].schema.layouts if str(layout) == LAYOUTS[1])
    for request in (
        DecodeRequest(layout, Prompt({}, np.arange(17)), Sampling()),
        DecodeRequest(layout, Prompt({}), Sampling(guidance=2.0)),
    ):
        with pytest.raises(ValueError, match="takes"):
            engine.submit(request)
    assert engine._lanes == {}


def test_a_length_holds_for_every_slot(world):
    for layout in world[0].schema.layouts[:2]:
        request = DecodeRequest(layout, Prompt({}, np.arange(2), length=5), Sampling(max_tokens=10))
        assert len(engine_of(world, 1).submit(request).result()) == 5


def test_what_an_engine_cannot_be(world):
    with pytest.raises(ValueError, match="max_rows must be 1 or more, got 0"):
        engine_of(world, 0)
    with pytest.raises(ValueError, match=r"a whole number, got 2\.5"):
        Sampling(max_tokens=2.5)  # type: ignore[arg-type]


def test_a_whole_prime_is_done_at_once(world):
    layout = next(layout for layout in world[0].schema.layouts if str(layout) == LAYOUTS[1])
    engine = engine_of(world, 2)
    stream = engine.submit(DecodeRequest(layout, Prompt({}, np.arange(16)), Sampling()))
    assert (stream.status, engine.busy, list(stream)) == ("done", False, [])
    assert stream.result().tolist() == list(range(16))


def test_a_stream_waits_for_its_first_token(world):
    stream: TokenStream = engine_of(world, 1).submit(text_request(world, 3))
    assert (stream.status, stream.new_tokens, stream.ids.tolist()) == ("waiting", 0, [])
    assert len(list(stream)) == 3
