"""An item is the same to the token alone and among others: in every format, with a compiler and without.

Others join and leave at any moment; what they are depends on nothing, so neither may what they make.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from test_decoding import NATIVE, sequencer_of
from test_engine import LAYOUTS, anything, joined

from helicon.bundle.bundle import make_gpt
from helicon.generation import lane
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import Engine, decode
from helicon.gpt.linear import linear
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.numbers import cast
from helicon.gpt.quantized import Int8Linear
from helicon.gpt.sampler import logits_processors
from helicon.gpt.stepping import DecodeBackend, EagerStep, make_step
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout, PatternContext
from helicon.tokenizers.sequencer import Sequencer

pytestmark = pytest.mark.usefixtures("one_thread")

NUMBERS = ["fp32", "bf16", "int8", "fp64"]
MANY = 64
COUNTS = (1, 4, 17, 33)  # each beside MANY
SHAPES = [
    {"width": 32},
    {"width": 48, "mlp": "swiglu", "norm": "rms", "qk_norm": True, "pattern": "dense,strided:6"},
    {"width": 72, "mlp": "quick_gelu", "mlp_ratio": 1.3, "pattern": "local:7,dense"},
    {"width": 72, "heads": 4, "attention_ratio": 0.5, "pattern": "fixed:8,2"},  # heads of nine numbers
    {"width": 90, "mlp": "relu2", "tied": False},
]


def combinations(numbers: list[str]) -> list[pytest.param]:
    """Engines and the formats that they have."""
    return [
        pytest.param(engine, number, marks=marks, id=f"{engine}-{number}")
        for number in numbers
        for engine, marks in (("eager", ()), ("native", NATIVE.marks))
        if (engine, number) != ("native", "fp64")
    ]


def model(sequencer: Sequencer, number: str, shape: dict) -> GPT:
    """Untrained, with weights large enough that rounding comes to be heard."""
    torch.manual_seed(len(str(shape)))
    gpt = make_gpt(GPTConfig(**{"layers": 2, "heads": 2, **shape}), sequencer.schema)
    for parameter in gpt.parameters():
        parameter.data.mul_(6 if parameter.dim() > 1 else 1)
    return cast(gpt.eval(), number)


def request(seed: int) -> tuple[Sequencer, Layout, dict, list[Prompt], Sampling]:
    """Anything that may be asked for: one prompt for all items or one each, guidance, windows that move."""
    lot = random.Random(seed)
    spec, ragged = lot.choice(["text", "text[6] image[4x4]", "text[40]"]), lot.random() < 0.15
    sequencer = sequencer_of(spec, context=lot.choice([24, 40]), positions=lot.choice(["flat", "rope"]))
    (layout,) = sequencer.schema.layouts
    words = np.frombuffer(b"an ode"[: lot.randint(1, 6)], np.uint8).astype(np.int64)
    given, longest = ({"text": words}, 6) if "image" in spec else ({}, 30)
    primes = [np.array([lot.randrange(256) for _ in range(lot.randint(0, longest))], np.int64) for _ in range(MANY)]
    prompts = [Prompt(given, prime) for prime in primes] if ragged else [Prompt(given, primes[0])] * MANY
    guidance = lot.choice([1.0, 2.5]) if given else 1.0
    chain = logits_processors(SamplingOptions(temperature=lot.choice([0.7, 1.0, 1.5]), top_k=lot.choice([None, 20])))
    return (
        sequencer,
        layout,
        lot.choice(SHAPES),
        prompts,
        Sampling(chain=chain, seed=seed, max_tokens=10, overlap=lot.choice([0.3, 0.5]), guidance=guidance),
    )


def check(seed: int, number: str, engine: DecodeBackend, many: int, counts: tuple[int, ...]) -> None:
    sequencer, layout, shape, prompts, sampling = request(seed)
    gpt = model(sequencer, number, shape)
    together = decode(gpt, sequencer, layout, prompts[:many], sampling, backend=engine)
    for count in counts:
        items = [(seed * 7 + 5 * i) % many for i in range(count)]  # others beside them, and in another order
        some = decode(gpt, sequencer, layout, [prompts[i] for i in items], sampling, items, backend=engine)
        different = [i for i, ids in zip(items, some) if not np.array_equal(ids, together[i])]
        assert not different, f"request {seed}, {count} items"


@pytest.mark.parametrize(("engine", "number"), combinations(["bf16", "int8"]))
def test_items_do_not_depend_on_how_many_are_made(engine, number):
    for seed in (2, 7):
        check(seed, number, engine, 36, (1, 17))


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "number"), combinations(NUMBERS))
def test_two_hundred_requests_of_many_items(engine, number):
    for seed in range(200):
        check(seed, number, engine, MANY, COUNTS)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("engine", "number"), combinations(NUMBERS))
def test_two_hundred_requests_at_random_moments(monkeypatch, engine, number, threads):
    """Each among forty of all layouts, for which there are too few rows at times, and alone."""
    monkeypatch.setattr("helicon.gpt.native.step.WEIGHTS_PER_THREAD", 1)  # small models have all threads, too
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for seed, shape in enumerate(SHAPES):
            lot = random.Random(seed)
            sequencer = sequencer_of(*LAYOUTS, context=lot.choice([24, 40]), positions=lot.choice(["flat", "rope"]))
            gpt = model(sequencer, number, shape)
            requests = [anything(lot, sequencer.schema.layouts) for _ in range(40)]
            streams = joined(Engine(gpt, sequencer, lot.choice([5, 20, 64]), engine), requests, lot)
            for i, (request, stream) in enumerate(zip(requests, streams)):
                alone = Engine(gpt, sequencer, 2, engine).submit(request)
                assert np.array_equal(stream.ids, alone.result()), f"shape {seed}, request {i}"
    finally:
        torch.set_num_threads(before)


def logits_of(gpt: GPT, rows: slice, position: torch.Tensor, engine: DecodeBackend) -> torch.Tensor:
    """Of a step of some of 65 rows, against keys and values that each row has of its own."""
    count, length, lot = 65, 80, torch.Generator().manual_seed(1)
    ids, coords = (torch.randint(n, (count, 2), generator=lot) for n in (150, 40))
    cache = gpt.new_cache(count, length)
    cache.kv.copy_(torch.randn(cache.kv.shape, generator=lot))
    mine = gpt.new_cache(len(ids[rows]), length)
    step = make_step(gpt, mine, PatternContext(5, 6), engine)
    (step.cache if isinstance(step, EagerStep) else mine).copy_rows(cache, list(range(count))[rows])
    return step(ids[rows, 0], coords[rows], position[rows], slice(10, 141), int(position[rows].max()) + 1)


@pytest.mark.parametrize(("engine", "number"), combinations(["fp32", "bf16", "int8"]))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.inference_mode()
def test_logits_of_a_step_are_equal_to_the_bit(shape, engine, number):
    """Whatever the other rows are, wherever they stand, whichever threads there are."""
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(**{"layers": 2, "heads": 2, **shape}), 150, 40, rope=True).eval()
    for parameter in gpt.parameters():
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    gpt = cast(gpt, number)
    same, apart = torch.full((65,), 30), 20 + torch.arange(65) % 3 * 10
    whole = logits_of(gpt, slice(None), same, engine)
    third = torch.arange(65) % 3 == 1  # who stand at 30, too
    assert torch.equal(logits_of(gpt, slice(None), apart, engine)[third], whole[third])
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            for rows in (slice(1), slice(64, 65), slice(3, 5), slice(20, 37), slice(64)):
                assert torch.equal(logits_of(gpt, rows, same, engine), whole[rows]), (threads, rows)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("number", ["fp32", "bf16", "int8"])
@torch.inference_mode()
def test_rows_of_a_product_are_equal_to_the_bit(number):
    """That of oneDNN in float32 and bfloat16, the packed one in int8: what the step without a compiler rests on."""
    torch.manual_seed(0)
    for outputs, inputs in ((96, 32), (513, 520), (288, 72), (512, 1024)):
        weight, x = torch.randn(outputs, inputs), torch.randn(65, inputs)
        if number == "int8":
            layer, x = Int8Linear(weight), x.bfloat16()
            products, most = layer, 16
        else:
            dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[number]
            weight, x, most = weight.to(dtype), x.to(dtype), 65
            products = lambda rows, weight=weight: linear(rows, weight)  # noqa: E731
        whole = products(x[:most])
        for count in {1, 2, 3, 4, 8, 15, 16, 33, 64} & set(range(most + 1)):
            assert torch.equal(products(x[:count]), whole[:count]), (outputs, inputs, count)
            assert torch.equal(products(x[most - count : most]), whole[most - count :]), (outputs, inputs, count)


def test_rows_that_have_ended_hold_up_nobody(monkeypatch):
    """Their rows are the others' at once, and none is given a new window for them."""
    sequencer = sequencer_of("text", context=24)
    (layout,) = sequencer.schema.layouts
    gpt, groups, stop = model(sequencer, "fp32", SHAPES[0]), [], sequencer.target_capacity(layout)
    inner = EagerStep._aligned_step

    def watched(self, ids, *rest):
        groups.append(len(ids))
        return inner(self, ids, *rest)

    def drawn(logits, *rest):  # the first row ends at once
        ids = logits[:, :-1].argmax(-1)
        if len(ids) == 3:
            ids[0] = len(sequencer.schema.blocks["text"])
        return ids

    monkeypatch.setattr(EagerStep, "_aligned_step", watched)
    monkeypatch.setattr(lane, "sample", drawn)
    made = decode(
        gpt, sequencer, layout, [Prompt({})] * 3, Sampling(chain=(), seed=0, max_tokens=stop + 9), backend="eager"
    )
    assert [len(ids) for ids in made] == [0, stop + 9, stop + 9]
    assert set(groups) == {2}


@pytest.mark.parametrize("number", NUMBERS)
def test_the_engine_is_not_chosen_by_how_many_rows_there_are(number):
    sequencer = sequencer_of("text")
    gpt = model(sequencer, number, SHAPES[0])
    assert len({type(make_step(gpt, gpt.new_cache(rows, 8), PatternContext())) for rows in (1, 17, 33, 64)}) == 1
