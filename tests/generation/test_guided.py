"""Decoding with a guide, and with texts that slide, is the whole forward pass of the windows that training packs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from guided_worlds import FINE, model, sequencer_of
from watching import uniforms, watched

from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.generation.feed import CacheRow, Feed
from helicon.generation.lane import Lane
from helicon.gpt.model import GPT
from helicon.gpt.sampler import logits_processors
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

pytestmark = pytest.mark.usefixtures("one_thread")

CHAIN = logits_processors(SamplingOptions(temperature=1.5))


def coarse(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, size=count)


@torch.inference_mode()
def whole_forward(gpt: GPT, sequencer: Sequencer, layout: Layout, example: dict, window: int, length: int):
    """Logits after `length` tokens of a finished piece, in the window as training packs it."""
    packed = sequencer.pack(layout, example, window, plan=True)
    hidden = gpt(torch.from_numpy(packed.ids)[None], torch.from_numpy(packed.coord_ids)[None], layout.frame)
    return gpt.logits(hidden[0, layout.prefix - 1 + length - window], sequencer.schema.vocab_slice(layout.target))


def check(gpt, sequencer, layout, prompts, made, steps) -> set[int]:
    """Compares every step of every row that was going on; gives the window starts that were seen."""
    seen = set()
    for step in steps:
        for row, (logits, length, window) in step.items():
            example = {**prompts[row].conditions, layout.target.name: made[row]}
            expected = whole_forward(gpt, sequencer, layout, example, window, length)
            torch.testing.assert_close(logits, expected, atol=1e-9, rtol=0)
            seen.add(window)
    return seen


SPECS = ["audio@above", "text[2] audio@above", "lyrics[3] text[1] audio@above"]


@pytest.mark.parametrize("positions", ["flat", "rope"])
@pytest.mark.parametrize("pattern", ["dense", "strided:3"])
@pytest.mark.parametrize("spec", SPECS)
def test_cached_decoding_is_the_whole_forward(monkeypatch, spec, pattern, positions):
    sequencer, gpt = model(spec, context=14, pattern=pattern, positions=positions)
    (layout,) = sequencer.schema.layouts
    said = {"text": np.array([1]), "lyrics": np.arange(30) % 5}
    given = {slot: said[slot] for slot in layout.all_slots if slot in said}
    lengths, primes = (9, 5, 3, 9), (0, 3, 12, 30)  # guides of these lengths, and tokens that there are already
    prompts = [
        Prompt({**given, "above": coarse(n, seed)}, np.arange(m) % 5)
        for seed, (n, m) in enumerate(zip(lengths, primes))
    ]
    steps = watched(monkeypatch)
    made = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, seed=1, overlap=0.4))
    assert [len(ids) for ids in made] == [36, 20, 12, 36]
    for prompt, ids in zip(prompts, made):
        assert np.array_equal(ids[: len(prompt.prime)], prompt.prime)
    assert len(check(gpt, sequencer, layout, prompts, made, steps)) > 4  # the window moved


@pytest.mark.parametrize("spec", ["audio[20]@above", "lyrics[3] audio[20]@above"])
def test_a_fixed_slot_is_guided_too(monkeypatch, spec):
    sequencer, gpt = model(spec)
    (layout,) = sequencer.schema.layouts
    prompts = [Prompt({"above": coarse(n), "lyrics": np.arange(9) % 5}, np.arange(n)) for n in (2, 5, 3)]
    prompts = [
        Prompt({slot: p.conditions[slot] for slot in layout.all_slots if slot in p.conditions}, p.prime)
        for p in prompts
    ]
    steps = watched(monkeypatch)
    made = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, seed=2))
    assert [len(ids) for ids in made] == [8, 20, 12]
    check(gpt, sequencer, layout, prompts, made, steps)


@pytest.mark.parametrize(
    ("count", "wishes", "prime", "tokens", "made"),
    [
        (4, {}, 0, None, 16),
        (4, {"seconds": 1.5}, 0, None, 12),
        (4, {"seconds": 1.51}, 0, None, 13),
        (4, {"seconds": 30.0}, 0, None, 16),
        (4, {"seconds": 1.5}, 5, None, 12),
        (4, {}, 16, None, 16),
        (4, {}, 19, None, 19),
        (4, {}, 2, 3, 5),
    ],
)
def test_as_many_tokens_are_made_as_the_guide_stands_for_or_less_if_asked(count, wishes, prime, tokens, made):
    sequencer, gpt = model("audio@above")
    (layout,) = sequencer.schema.layouts
    prompt = Prompt({"above": coarse(count)}, np.arange(prime) % 5, wishes)
    found = decode(gpt, sequencer, layout, [prompt] * 3, Sampling(chain=CHAIN, max_tokens=tokens))
    assert [len(ids) for ids in found] == [made] * 3


def test_items_that_share_a_prime_have_lengths_of_their_own():
    sequencer, gpt = model("audio@above")
    (layout,) = sequencer.schema.layouts
    prime, wishes = np.arange(3), {"seconds": 3.0}
    prompts = [Prompt({"above": coarse(n)}, prime, wishes) for n in (2, 5, 0, 9)]
    made = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN))
    assert [len(ids) for ids in made] == [8, 20, 24, 24]


def test_what_is_made_depends_on_the_guide_and_an_item_on_its_own():
    sequencer, gpt = model("audio@above")
    (layout,) = sequencer.schema.layouts
    prompts = [Prompt({"above": coarse(6, seed)}, np.arange(3)) for seed in range(4)]
    together = decode(gpt, sequencer, layout, prompts, Sampling(chain=CHAIN, seed=5), items=[7] * 4)
    assert len({tuple(ids) for ids in together}) == 4
    (alone,) = decode(gpt, sequencer, layout, [prompts[2]], Sampling(chain=CHAIN, seed=5), items=[7])
    assert np.array_equal(alone, together[2])


@torch.inference_mode()
def test_guidance_moves_away_from_what_no_guide_and_no_text_would_give():
    sequencer, gpt = model("lyrics[3] audio@above", context=14)
    (layout,) = sequencer.schema.layouts
    given = {"above": coarse(7), "lyrics": np.arange(28) % 5}
    (ids,) = decode(gpt, sequencer, layout, [Prompt(given)], Sampling(chain=CHAIN, seed=2, guidance=3.0, overlap=0.5))
    assert len(ids) == 28
    drawn_with, room = uniforms(2, 0, 28), sequencer.target_capacity(layout)
    window = 0
    for length, token in enumerate(ids):
        window = length - room // 2 if length - window > room else window
        known, free = (
            whole_forward(gpt, sequencer, layout, {**more, "audio": ids}, window, length)[:-1] for more in (given, {})
        )
        shares = ((free + 3 * (known - free)) / 1.5).softmax(-1).cumsum(-1)
        assert int((shares <= drawn_with[length]).sum()) == token
    assert window > 0


def test_without_a_guide_a_piece_ends_when_it_likes():
    sequencer, gpt = model("audio@above")
    (layout,) = sequencer.schema.layouts
    for given in ({}, {"above": coarse(0)}):
        made = decode(gpt, sequencer, layout, [Prompt(given)] * 8, Sampling(chain=CHAIN, max_tokens=15))
        assert len({len(ids) for ids in made}) > 1
        assert max(map(len, made)) <= 15


def test_ids_of_a_guide_are_refused_before_the_embedding():
    sequencer, gpt = model("audio@above")
    (layout,) = sequencer.schema.layouts
    with pytest.raises(ValueError, match=r"slot above: ids must be 0 .. 2, got 3 .. 3"):
        decode(gpt, sequencer, layout, [Prompt({"above": np.array([3])})], Sampling(chain=CHAIN))


# Texts that slide

LYRICS = np.arange(40) % 5


def without_stop(logits_BV: torch.Tensor, seen_BV: torch.Tensor) -> torch.Tensor:
    """`eos` only where nothing else is allowed."""
    return torch.cat([logits_BV[:, :-1], logits_BV[:, -1:] - 1e9], dim=1)


@pytest.mark.parametrize(
    ("wishes", "prime", "tokens", "total", "windows"),
    [
        ({"seconds": 3.0}, 0, None, 24, 6),
        ({"seconds": 3.0}, 0, 20, 24, 5),
        ({}, 4, 20, 24, 6),
        ({}, 0, 6, 6, 1),
    ],
)
def test_a_window_shows_what_it_does_in_training(monkeypatch, wishes, prime, tokens, total, windows):
    sequencer, gpt = model("lyrics[3] audio", context=10)
    (layout,) = sequencer.schema.layouts
    prompts = [Prompt({"lyrics": LYRICS}, np.arange(prime), wishes)] * 2
    prefixes, prefix = [], Feed.sliding_prefix

    def heard(feed: Feed, row: CacheRow, first: int):
        found = prefix(feed, row, first)
        prefixes.append((first, *found))
        return found

    monkeypatch.setattr(Feed, "sliding_prefix", heard)
    decode(gpt, sequencer, layout, prompts, Sampling(chain=(without_stop,), seed=1, max_tokens=tokens))
    example = {"lyrics": LYRICS, "audio": np.zeros(total, np.int64)}
    for start, ids, rows in prefixes:
        packed = sequencer.pack(layout, example, start)
        assert ids.tolist() == packed.ids[:4].tolist()
        assert rows.tolist() == packed.coord_ids[:4].tolist()
    starts = {start for start, _, _ in prefixes}
    assert len(prefixes) == 2 * len(starts)  # once a window, not once a token
    assert len(starts) == windows


def test_a_text_of_a_piece_of_unknown_length_is_that_of_one_window(monkeypatch):
    sequencer, gpt = model("lyrics[3] audio", context=10)
    (layout,) = sequencer.schema.layouts
    verses = sequencer.tokenizers["lyrics"]
    monkeypatch.setattr(Lane, "_sample", lambda *args: torch.tensor([5]))  # `eos` at once
    decode(gpt, sequencer, layout, [Prompt({"lyrics": LYRICS})], Sampling(chain=CHAIN))
    assert verses.told == [(0.0, 7 / FINE, 7 / FINE)]  # type: ignore[attr-defined]


def test_a_long_piece_is_not_looked_at_from_its_beginning_again(monkeypatch):
    """Rows that are made for the coordinates of tokens: few times as many as there are tokens."""
    sequencer, gpt = model("audio@above", context=20)
    (layout,) = sequencer.schema.layouts
    made, last_rows = [], Sequencer.last_rows

    def counted(self, layout, coords, origin, places):
        made.append(len(places))
        return last_rows(self, layout, coords, origin, places)

    monkeypatch.setattr(Sequencer, "last_rows", counted)
    (ids,) = decode(gpt, sequencer, layout, [Prompt({"above": coarse(150)})], Sampling(chain=CHAIN))
    assert len(ids) == 600
    assert sum(made) < 3 * 600


def test_a_layout_without_guides_has_none():
    sequencer = sequencer_of("text[2] audio")
    assert sequencer.upsampling_coords(sequencer.schema.layouts[0], [{}]) is None
