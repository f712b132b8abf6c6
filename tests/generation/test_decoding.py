"""Sampling a token at a time is the whole forward pass, whatever the pattern, the batch and the window."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch
from watching import uniforms, watched

from helicon.bundle.bundle import make_gpt
from helicon.demos.composer import compose
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.generation.stream import TokenStream
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.native.build import compiler
from helicon.gpt.numbers import cast
from helicon.gpt.sampler import PerItemRNG, logits_processors
from helicon.modalities.music import MUSIC
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

PATTERNS = [
    "dense",
    "local:7",
    "block:8",
    "previous:8",
    "column:5",
    "summary:8,3",
    "strided:6",
    "fixed:8,2",
    "dense,local:7",
]
CHAIN = logits_processors(SamplingOptions(temperature=1.5))
NATIVE = pytest.param("native", marks=pytest.mark.skipif(compiler() is None, reason="no C compiler"))
ENGINES = ["eager", NATIVE]


@pytest.fixture(scope="module")
def pieces() -> list[dict[str, np.ndarray]]:
    """Four pieces as ids of the slots `style` and `music`."""
    tokenizers = music_tokenizers()
    return [{slot: t.encode(compose(seed)) for slot, t in tokenizers.items()} for seed in range(4)]


@cache
def music_tokenizers() -> dict[str, Tokenizer]:
    surveys = [MUSIC.survey(compose(seed)) for seed in range(4)]
    return {slot: next(iter(kinds.values())).fit(surveys, siblings={}) for slot, kinds in MUSIC.slots.items()}


def sequencer_of(*layouts: str, context: int = 40, positions: str = "flat") -> Sequencer:
    tokenizers = {**music_tokenizers(), "text": BytesTokenizer(), "image": BytesTokenizer()}  # a byte a pixel
    parsed = [Layout.parse(layout) for layout in layouts]
    slots = {slot.name for layout in parsed for slot in layout.slots}
    return Sequencer(parsed, {slot: tokenizers[slot] for slot in slots}, context, positions)


def untrained(
    sequencer: Sequencer, pattern: str = "dense", dtype: torch.dtype = torch.float32, attention_ratio: float = 1.0
) -> GPT:
    """With weights large enough that hidden states depend on everything."""
    torch.manual_seed(3)
    shape = GPTConfig(layers=2, width=32, heads=2, pattern=pattern, attention_ratio=attention_ratio)
    gpt = make_gpt(shape, sequencer.schema).to(dtype)
    for parameter in gpt.parameters():
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    return gpt


def check_against_the_whole_forward(gpt, sequencer, layout, prompts, made, steps, tolerance) -> set[int]:
    """Compares 50 random positions; gives the window starts that were seen."""
    places = [(row, *seen) for step in steps for row, seen in step.items()]
    for row, logits, length, window in random.Random(0).sample(places, min(50, len(places))):
        example = {**prompts[row].conditions, layout.target.name: made[row][:length]}
        packed = sequencer.pack(layout, example, start=window, plan=False)
        assert len(packed.ids) == layout.prefix + length - window <= sequencer.context
        with torch.no_grad():
            whole = gpt(torch.from_numpy(packed.ids)[None], torch.from_numpy(packed.coord_ids)[None], layout.frame)
            expected = gpt.logits(whole[0, -1], sequencer.schema.vocab_slice(layout.target))
        torch.testing.assert_close(logits, expected, atol=tolerance, rtol=0)
    return {window for *_, window in places}


# One sparse pattern is enough for the other tables of positions
CASES = [(p, "flat") for p in PATTERNS] + [(p, q) for p in ("dense", "strided:6") for q in ("grid:6", "rope")]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("pattern", "positions"), CASES)
def test_cached_decoding_is_the_whole_forward(monkeypatch, pieces, pattern, positions, engine):
    sequencer = sequencer_of("style[3] music", positions=positions)
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer, pattern)
    primes = [piece["music"][:n] for piece, n in zip(pieces, (0, 1, 21, 90))]
    prompts = [Prompt({"style": piece["style"]}, prime) for piece, prime in zip(pieces, primes)]
    steps = watched(monkeypatch)
    sampling = Sampling(chain=CHAIN, seed=1, max_tokens=60, overlap=0.4)
    made = decode(gpt, sequencer, layout, prompts, sampling, backend=engine)
    starts = check_against_the_whole_forward(gpt, sequencer, layout, prompts, made, steps, 1e-4)
    assert len(starts) > 4  # the window moved, also during the decoding
    for prime, ids in zip(primes, made):
        assert np.array_equal(ids[: len(prime)], prime)
        assert len(prime) < len(ids) <= len(prime) + 60


@pytest.mark.parametrize("spec", ["text", "text[30]", "style[3] text[20]", "text[5] style[3] music"])
def test_every_kind_of_layout_decodes_as_it_was_trained(monkeypatch, pieces, spec):
    sequencer = sequencer_of(spec, "text" if spec != "text" else "music")
    layout, gpt = sequencer.schema.layout(spec), untrained(sequencer, "strided:6", attention_ratio=0.5)
    given = {"style": pieces[0]["style"], "text": np.frombuffer(b"ode", np.uint8).astype(np.int64)}
    given = {slot.name: given[slot.name] for slot in layout.slots[:-1]}
    primes = (
        [np.arange(n) + 60 for n in (0, 3, 11)]
        if layout.target.name == "text"
        else [pieces[0]["music"][:n] for n in (0, 9)]
    )
    prompts = [Prompt(given, prime) for prime in primes]
    steps = watched(monkeypatch)
    most = 60 if layout.target.length is None else None
    made = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, max_tokens=most))
    check_against_the_whole_forward(gpt, sequencer, layout, prompts, made, steps, 1e-4)
    for prime, ids in zip(primes, made):
        assert np.array_equal(ids[: len(prime)], prime)
        assert ids.min() >= 0
        assert ids.max() < len(sequencer.tokenizers[layout.target.name].block)
        assert len(ids) <= min(layout.target.length or 999, len(prime) + 60)
    if layout.target.length is not None:
        assert max(map(len, made)) == layout.target.length


@pytest.mark.parametrize("pattern", ["row", "column", "conv:3", "block,conv:5"])
@pytest.mark.parametrize("spec", ["image[4x4]", "text[5] image[4x4]", "text[5] image[3x2x3]", "text[5] image[9]"])
def test_a_grid_decodes_as_it_was_trained(monkeypatch, spec, pattern):
    sequencer = sequencer_of(spec)
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer, pattern)
    given = {"text": np.frombuffer(b"ode", np.uint8).astype(np.int64)} if "text" in spec else {}
    prompts = [Prompt(given, np.arange(n) + 60) for n in (0, 3, 7)]
    steps = watched(monkeypatch)
    made = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, seed=2))
    check_against_the_whole_forward(gpt, sequencer, layout, prompts, made, steps, 1e-4)
    assert max(map(len, made)) == layout.target.length


@pytest.mark.parametrize("spec", ["style[3] music", "text", "text[40]"])
def test_an_item_is_the_same_alone_and_among_others(pieces, spec):
    sequencer = sequencer_of(spec)
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer, "fixed:8,2", torch.float64)
    given = {"style": pieces[1]["style"]} if "style" in spec else {}
    primes = [pieces[i % 4]["music"][: 9 * i] if "music" in spec else np.arange(3 * i) + 60 for i in range(8)]
    most = 70 if layout.target.length is None else None
    sampling = Sampling(chain=CHAIN, seed=5, max_tokens=most, overlap=0.3)
    together = decode(gpt, sequencer, layout, [Prompt(given, prime) for prime in primes], sampling)
    (alone,) = decode(gpt, sequencer, layout, [Prompt(given, primes[3])], sampling, items=[3])
    assert np.array_equal(alone, together[3])
    (other,) = decode(gpt, sequencer, layout, [Prompt(given, primes[3])], sampling, items=[4])
    assert not np.array_equal(other, alone)


def test_the_same_prompt_for_all_is_stepped_through_once(monkeypatch, pieces):
    sequencer = sequencer_of("music")
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer)
    automaton = type(sequencer.automaton(layout))
    calls, step = [], automaton.step
    monkeypatch.setattr(automaton, "step", lambda *args: (calls.append(1), step(*args))[1])
    prompt = Prompt({}, pieces[0]["music"][:200])
    made = decode(gpt, sequencer, layout, [prompt] * 8, Sampling(chain=CHAIN, max_tokens=40))
    assert len(calls) <= 240
    assert len({tuple(ids) for ids in made}) > 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_items_of_one_prompt_share_its_prefill(monkeypatch, pieces, engine, guidance):
    """Then not even rounding depends on who else is made."""
    sequencer = sequencer_of("style[3] music", context=300)
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer, "dense,local:7")
    prefills, forward = [], GPT.forward

    def heard(self: GPT, ids: torch.Tensor, *rest):
        prefills.append(ids.shape)
        return forward(self, ids, *rest)

    monkeypatch.setattr(GPT, "forward", heard)
    prompt = Prompt({"style": pieces[0]["style"]}, pieces[0]["music"][:50])
    sampling = Sampling(chain=CHAIN, seed=3, max_tokens=60, guidance=guidance)
    together = decode(gpt, sequencer, layout, [prompt] * 5, sampling, backend=engine)
    assert prefills == [(1, 54)] * (1 if guidance == 1 else 2)
    assert len({tuple(ids) for ids in together}) == 5
    (alone,) = decode(gpt, sequencer, layout, [prompt], sampling, items=[3], backend=engine)
    assert np.array_equal(alone, together[3])


@pytest.mark.parametrize("number", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_format_makes_whole_pieces(number, engine):
    sequencer = sequencer_of("music")
    (layout,), gpt = sequencer.schema.layouts, cast(untrained(sequencer, "dense,strided:6"), number)
    prompts, tokenizer = [Prompt({}, constraints={"seconds": 2.0})] * 3, sequencer.tokenizers["music"]
    for ids in decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN), backend=engine):
        assert np.array_equal(tokenizer.encode(tokenizer.decode(ids)), ids)
        assert tokenizer.decode(ids).seconds == pytest.approx(2.0, abs=0.011)


@pytest.mark.parametrize(("wish", "tokens"), [({"seconds": 2.0}, None), ({}, 12), ({"instruments": ("piano",)}, 40)])
def test_any_weights_give_whole_pieces(wish, tokens):
    sequencer = sequencer_of("music")
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer)
    for ids in decode(
        gpt, sequencer, layout, [Prompt({}, constraints=wish)] * 4, Sampling(chain=CHAIN, max_tokens=tokens)
    ):
        tokenizer = sequencer.tokenizers["music"]
        assert np.array_equal(tokenizer.encode(tokenizer.decode(ids)), ids)
        assert len(ids) <= (tokens or 10**9)
        if "seconds" in wish:
            assert tokenizer.decode(ids).seconds == pytest.approx(2.0, abs=0.011)


def test_steps_are_told_as_they_come(pieces):
    sequencer = sequencer_of("music")
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer)
    heard: list[list[int]] = [[], []]

    def on_step(streams: Sequence[TokenStream]) -> None:
        for told, stream in zip(heard, streams):
            if stream.new_tokens > len(told):
                told.append(int(stream.ids[-1]))

    prompts = [Prompt({}), Prompt({}, pieces[0]["music"][:6])]
    made = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, max_tokens=30), on_step=on_step)
    assert [ids.tolist() for ids in made] == [heard[0], [*pieces[0]["music"][:6].tolist(), *heard[1]]]


def test_step_t_draws_with_entry_t_of_the_items_noise(monkeypatch):
    sequencer = sequencer_of("text")
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer)
    heard = []

    def drawn(logits, allowed, seen, uniform, chain):
        heard.append(uniform.tolist())
        return torch.zeros(2, dtype=torch.int64)

    monkeypatch.setattr("helicon.generation.lane.sample", drawn)
    monkeypatch.setattr(PerItemRNG, "CHUNK", 8)
    prompts = [Prompt({}), Prompt({}, np.arange(30))]
    decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, seed=9, max_tokens=20), items=[4, 2])
    assert heard == [list(pair) for pair in zip(uniforms(9, 4, 20), uniforms(9, 2, 20))]
    assert len({tuple(uniform) for uniform in heard}) == 20


def test_repetition_is_counted_from_the_prime_on():
    sequencer = sequencer_of("text")
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer)
    seen: list[set[int]] = []

    def look(logits_BV: torch.Tensor, seen_BV: torch.Tensor) -> torch.Tensor:
        seen.append(set(seen_BV[0].nonzero().flatten().tolist()))
        return logits_BV

    (ids,) = decode(gpt, sequencer, layout, [Prompt({}, np.array([65, 66]))], Sampling(chain=(look,), max_tokens=4))
    assert seen == [{65, 66}, *({*ids[: 2 + n].tolist()} for n in range(1, len(seen)))]
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("spec", "given", "prime", "message"),
    [
        ("style[3] music", {"style": np.arange(4)}, [], r"slot style\[3\] takes 3 tokens, got 4"),
        ("style[3] music", {"style": np.array([999])}, [], "slot style: ids must be 0 .. "),
        ("text[8]", {}, range(9), r"slot text\[8\] takes 8 tokens, got 9"),
        ("text", {}, [256], r"slot text: ids must be 0 .. 255, got 256 .. 256"),
        ("text", {}, [3, -1], r"slot text: ids must be 0 .. 255, got -1 .. 3"),
    ],
)
def test_ids_that_cannot_be_are_refused_before_the_embedding(spec, given, prime, message):
    sequencer = sequencer_of(spec)
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer)
    with pytest.raises(ValueError, match=message):
        decode(gpt, sequencer, layout, [Prompt(given, np.array(prime, np.int64))], Sampling(chain=CHAIN, max_tokens=2))


@pytest.mark.parametrize("setting", [{"overlap": 0.0}, {"overlap": 1.0}, {"max_tokens": 0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match="must be"):
        Sampling(**setting)


@pytest.mark.parametrize("overlap", [0.01, 0.99])
def test_the_window_moves_whatever_is_kept_of_it(overlap):
    sequencer = sequencer_of("text", context=8)
    (layout,), gpt = sequencer.schema.layouts, untrained(sequencer)
    (ids,) = decode(gpt, sequencer, layout, [Prompt({})], Sampling(chain=CHAIN, seed=2, max_tokens=30, overlap=overlap))
    assert len(ids) > 8
