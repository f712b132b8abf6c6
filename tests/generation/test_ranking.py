"""Scores of items against log-softmax by hand, and which candidate is the best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from image_bundles import image_bundle, picture

from helicon.bundle.bundle import Bundle
from helicon.generation import ranking
from helicon.generation.ranking import fit_to_conditions, item_nats
from helicon.sequence.layout import Layout

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = np.frombuffer(b"red", np.uint8).astype(np.int64)


def pictures(bundle: Bundle, count: int) -> list[np.ndarray]:
    """Ids of some pictures."""
    return [bundle.sequencer.tokenizers["image"].encode(picture(seed)) for seed in range(count)]


@torch.inference_mode()
def nats_by_hand(bundle: Bundle, layout: Layout, example: Mapping[str, np.ndarray], slot: str) -> float:
    """A token at a time: -log softmax, over the rows of the slot, of what comes next."""
    packed, vocabulary = bundle.sequencer.pack(layout, example), bundle.schema.vocabulary
    hidden = bundle.gpt(torch.from_numpy(packed.ids)[None], torch.from_numpy(packed.coord_ids)[None], layout.frame)[0]
    rows, total = vocabulary.slice(slot), 0.0
    for state, target in zip(hidden.double(), packed.targets.tolist()):
        if rows.start <= target < rows.stop:
            logits = bundle.gpt.head_weight.double()[rows] @ state
            if slot == "image":
                logits = logits[:-1]  # a picture has no end to predict
            total -= float(logits.log_softmax(0)[target - rows.start])
    return total


CASES = [
    ("text[4] image[]", "image", 5), ("text[4] image[]", "text", 3), ("image[] text[4]", "text", 5),
    ("image[] text", "text", 5),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "slot", "different"), CASES)
def test_nats_are_those_of_log_softmax_by_hand(monkeypatch, spec, slot, different):
    monkeypatch.setattr(ranking, "BATCH_SIZE", 2)
    bundle = image_bundle(spec)
    (layout,) = bundle.schema.layouts
    examples = [{"text": WORDS, "image": ids} for ids in pictures(bundle, 3)]
    examples += [{**examples[0], "text": WORDS[:1]}, {layout.target.name: examples[0][layout.target.name]}]
    found = item_nats(bundle, layout, examples, slot)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([nats_by_hand(bundle, layout, x, slot) for x in examples], rel=1e-5)
    assert len(set(found.tolist())) == different


def test_a_model_without_a_preference_costs_the_logarithm_of_its_choices():
    bundle = image_bundle("text[4] image[]")
    torch.nn.init.zeros_(bundle.gpt.tokens.weight)
    (layout,) = bundle.schema.layouts
    (ids,) = pictures(bundle, 1)
    examples = [{"text": WORDS, "image": ids}, {"text": np.zeros(0, np.int64), "image": ids}, {"image": ids}]
    assert item_nats(bundle, layout, examples, "image").tolist() == pytest.approx([16 * np.log(4)] * 3)
    # Three letters and a stop; only a stop; nothing, of a caption that is left out
    assert item_nats(bundle, layout, examples, "text").tolist() == pytest.approx([4 * np.log(257), np.log(257), 0])


def test_fit_is_how_likely_the_reverse_layout_finds_what_was_given():
    bundle = image_bundle("text", "text[4] image[]", "image[] text[4]")  # the first knows no pictures
    _, layout, reverse = bundle.schema.layouts
    made = pictures(bundle, 4)
    fits = fit_to_conditions(bundle, layout, {"text": WORDS}, made)
    expected = [-nats_by_hand(bundle, reverse, {"text": WORDS, "image": ids}, "text") for ids in made]
    assert fits.tolist() == pytest.approx(expected, rel=1e-5)
    assert len(set(fits.tolist())) == 4


@pytest.mark.parametrize("spec", ["text[4] image[]", "image[] text[4]"])
def test_fit_is_by_bayes_rule_without_a_reverse_layout(spec):
    bundle = image_bundle(spec)
    (layout,) = bundle.schema.layouts
    if layout.target.name == "image":
        given, made = {"text": WORDS}, pictures(bundle, 4)
    else:
        given, made = {"image": pictures(bundle, 1)[0]}, [WORDS[:n] for n in (1, 3, 2)]
    name = layout.target.name
    expected = [
        nats_by_hand(bundle, layout, {name: ids}, name) - nats_by_hand(bundle, layout, {**given, name: ids}, name)
        for ids in made
    ]
    assert fit_to_conditions(bundle, layout, given, made).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)
