"""Classifier-free guidance against an oracle that runs the whole model with and without what is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from watching import uniforms

from helicon.bundle.bundle import make_gpt
from helicon.demos.composer import compose
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.generation.stream import TokenStream
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.sampler import logits_processors
from helicon.modalities.music import MUSIC
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = logits_processors(SamplingOptions(temperature=1.5))
COLOURS = np.array([[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [1, 1, 1]])


def model(*layouts: str, context: int = 40) -> tuple[Sequencer, GPT]:
    """Weights large enough that everything depends on everything, in float64."""
    names = {slot.name for spec in layouts for slot in Layout.parse(spec).slots}
    tokenizers = {slot: t for slot, t in tokenizers_of_all().items() if slot in names}
    sequencer = Sequencer([Layout.parse(spec) for spec in layouts], tokenizers, context)
    torch.manual_seed(3)
    gpt = make_gpt(GPTConfig(layers=2, width=32, heads=2), sequencer.schema).double()
    for parameter in gpt.parameters():
        parameter.data.mul_(8 if parameter.dim() > 1 else 1)
    return sequencer, gpt


def tokenizers_of_all() -> dict:
    surveys = [MUSIC.survey(compose(seed)) for seed in range(2)]
    music = {slot: next(iter(kinds.values())).fit(surveys, siblings={}) for slot, kinds in MUSIC.slots.items()}
    return {**music, "text": BytesTokenizer(), "image": PaletteTokenizer(COLOURS, 4)}


def text(words: str) -> dict[str, np.ndarray]:
    return {"text": BytesTokenizer().encode(words)}


@torch.inference_mode()
def logits_after(gpt: GPT, sequencer: Sequencer, layout: Layout, given: dict, made: np.ndarray) -> torch.Tensor:
    """Of the token that follows, by the whole forward pass of the sequence so far."""
    ids, rows = sequencer.prefix(layout, given)
    ids = np.concatenate([ids, made + sequencer.schema.vocabulary.slice(layout.target.name).start])
    rows = np.concatenate([rows, sequencer.last_rows(layout, {}, {}, np.arange(len(made)))])
    hidden = gpt(torch.from_numpy(ids)[None], torch.from_numpy(rows)[None], layout.frame)
    return gpt.logits(hidden[0, -1], sequencer.schema.vocab_slice(layout.target))


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("spec", ["text[6] image[]", "image[] text[5]"])
def test_each_token_is_drawn_from_logits_moved_away_from_those_without_conditions(spec, guidance):
    sequencer, gpt = model(spec)
    (layout,) = sequencer.schema.layouts
    given = [text("red"), text("blue!!")] if layout.target.name == "image" else [{"image": np.arange(16) % 4}, {}]
    primes = [np.array([1, 2, 3]), np.zeros(0, np.int64)]
    sampling = Sampling(chain=CHAIN, seed=2, guidance=guidance)
    made = decode(gpt, sequencer, layout, [Prompt(*pair) for pair in zip(given, primes)], sampling)
    for item, (ids, conditions, prime) in enumerate(zip(made, given, primes)):
        assert np.array_equal(ids[: len(prime)], prime)
        for step, token in enumerate(ids[len(prime) :]):
            so_far = ids[: len(prime) + step]
            known = logits_after(gpt, sequencer, layout, conditions, so_far)
            free = logits_after(gpt, sequencer, layout, {}, so_far)
            shares = ((free + guidance * (known - free)) / 1.5).softmax(-1).cumsum(-1)
            assert int((shares <= uniforms(2, item, step + 1)[step]).sum()) == token
        assert layout.target.name == "text" or len(ids) == 16


def test_a_guidance_of_1_is_plain_decoding():
    sequencer, gpt = model("text[6] image[]")
    (layout,) = sequencer.schema.layouts
    prompts = [Prompt(text("red")), Prompt(text("blue"), np.array([3, 3]))]
    plain, one, more = (
        decode(gpt, sequencer, layout, prompts, how)
        for how in (
            Sampling(chain=CHAIN, seed=1),
            Sampling(chain=CHAIN, seed=1, guidance=1.0),
            Sampling(chain=CHAIN, seed=1, guidance=4.0),
        )
    )
    assert [ids.tolist() for ids in one] == [ids.tolist() for ids in plain]
    assert [ids.tolist() for ids in more] != [ids.tolist() for ids in plain]


def test_an_item_is_the_same_alone_and_among_others():
    sequencer, gpt = model("text[6] image[]")
    (layout,) = sequencer.schema.layouts
    prompts = [Prompt(text("abcdef"[:n]), np.arange(n) % 4) for n in range(5)]
    sampling = Sampling(chain=CHAIN, seed=5, guidance=2.5)
    together = decode(gpt, sequencer, layout, prompts, sampling)
    (alone,) = decode(gpt, sequencer, layout, [prompts[3]], sampling, items=[3])
    (other,) = decode(gpt, sequencer, layout, [prompts[3]], sampling, items=[4])
    assert alone.tolist() == together[3].tolist() != other.tolist()


def test_steps_are_told_of_the_items_only():
    sequencer, gpt = model("text[6] image[]")
    (layout,) = sequencer.schema.layouts
    heard: list[list[int]] = [[], [], []]

    def on_step(streams: Sequence[TokenStream]) -> None:
        for told, stream in zip(heard, streams, strict=True):
            if stream.new_tokens > len(told):
                told.append(int(stream.ids[-1]))

    prompts = [Prompt(text("a"), np.zeros(n, np.int64)) for n in (0, 5, 16)]  # the last of them is whole already
    made = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, guidance=3), on_step=on_step)
    assert [ids.tolist()[n:] for ids, n in zip(made, (0, 5, 16))] == heard
    assert [len(ids) for ids in made] == [16, 16, 16]


def test_a_picture_never_stops_early_and_a_text_may():
    sequencer, gpt = model("text[6] image[]", "image[] text[6]")
    stop = len(sequencer.schema.blocks["text"])
    for layout in sequencer.schema.layouts:
        widths = []

        def look(logits_BV: torch.Tensor, seen_BV: torch.Tensor, widths: list[int] = widths) -> torch.Tensor:
            widths.append(logits_BV.shape[1])
            return logits_BV

        made = decode(gpt, sequencer, layout, [Prompt({})] * 8, Sampling(chain=(look, *CHAIN), guidance=2))
        assert set(widths) == {4 if layout.target.name == "image" else stop + 1}
        assert max(map(len, made)) == layout.target.length
        assert layout.target.name == "text" or min(map(len, made)) == 16


def test_the_grammar_holds_and_style_words_are_left_open_as_in_training(monkeypatch):
    sequencer, gpt = model("style[3] music")
    (layout,), tokenizers = sequencer.schema.layouts, sequencer.tokenizers
    style = tokenizers["style"].encode(compose(0))
    unsaid = sequencer.null_conditions({"style": style})["style"]
    assert tokenizers["style"].to_words(unsaid) == ["any-label", "any-instruments", "any-tempo"]  # type: ignore[attr-defined]
    prefixes, prefix = [], sequencer.prefix
    monkeypatch.setattr(sequencer, "prefix", lambda y, given: (prefixes.append(given), prefix(y, given))[1])
    prompts = [Prompt({"style": style}, constraints={"instruments": ("piano",)})] * 2
    for ids in decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, max_tokens=40, guidance=3)):
        assert np.array_equal(tokenizers["music"].encode(tokenizers["music"].decode(ids)), ids)
        assert set(tokenizers["music"].decode(ids).program) <= set(range(8))  # pianos, whatever the weights
    assert [given["style"].tolist() for given in prefixes] == [style.tolist(), unsaid.tolist()] * 2
    with pytest.raises(ValueError, match=r"slot style: ids must be 0 \.\. "):
        decode(gpt, sequencer, layout, [Prompt({"style": np.array([999])})], Sampling(guidance=2))


def test_the_same_prime_for_all_is_stepped_through_once(monkeypatch):
    sequencer, gpt = model("style[3] music")
    (layout,) = sequencer.schema.layouts
    automaton = sequencer.automaton(layout)
    assert automaton is not None
    calls, step = [], type(automaton).step
    monkeypatch.setattr(type(automaton), "step", lambda *args: (calls.append(1), step(*args))[1])
    prompt = Prompt({}, sequencer.tokenizers["music"].encode(compose(0))[:100])
    decode(gpt, sequencer, layout, [prompt] * 4, Sampling(chain=CHAIN, max_tokens=10, guidance=2))
    assert len(calls) <= 110


@pytest.mark.parametrize("guidance", [-1.0, float("inf"), float("nan")])
def test_a_guidance_that_cannot_be_is_refused(guidance):
    with pytest.raises(ValueError, match="guidance must be 0 or more, got"):
        Sampling(guidance=guidance)
