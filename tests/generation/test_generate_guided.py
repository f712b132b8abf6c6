"""Requests of models whose slots are guided or whose texts slide."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from guided_worlds import media as media  # a fixture
from guided_worlds import model_of_media

from helicon.bundle.storage import load_bundle, save_bundle
from helicon.generation.generate import generate
from helicon.generation.prompts import make_prompt
from helicon.generation.request import Request, RequestError

pytestmark = pytest.mark.usefixtures("one_thread", "media")


def test_a_guide_says_how_much_is_made(tmp_path: Path):
    bundle = model_of_media("fine@coarse")
    (tmp_path / "a.tones").write_text("01234012340123401")
    given = {"coarse": str(tmp_path / "a.tones")}
    (layout,) = bundle.schema.layouts
    prompt, _ = make_prompt(bundle, layout, Request(conditions=given))
    assert prompt.conditions["coarse"].tolist() == [0, 1, 0, 2, 1]
    assert [len(item.ids) for item in generate(bundle, Request(count=2, conditions=given))] == [20, 20]
    assert [len(item.ids) for item in generate(bundle, Request(count=2, conditions=given, seconds=1.5))] == [12, 12]
    assert [len(item.ids) for item in generate(bundle, Request(count=2, conditions=given, tokens=7, guidance=2))] == [
        7,
        7,
    ]
    (item,) = generate(bundle, Request(conditions=given, prime=tmp_path / "a.tones"))
    assert (item.media[:17], len(item.ids)) == ("01234012340123401", 20)


def test_a_text_longer_than_its_slot_slides():
    bundle = model_of_media("verse[2] fine", "verse[2] words")
    fine, other = bundle.schema.layouts
    prompt, _ = make_prompt(bundle, fine, Request(conditions={"verse": "abcdeabcde"}))
    assert prompt.conditions["verse"].tolist() == [0, 1, 2, 3, 4] * 2
    (item,) = generate(bundle, Request(conditions={"verse": "abcdeabcde"}, seconds=3.0, to="fine"))
    assert len(item.ids) == 24
    with pytest.raises(RequestError, match="--verse: 10 tokens, this model takes 2"):
        make_prompt(bundle, other, Request(conditions={"verse": "abcdeabcde"}))


def test_a_bundle_keeps_the_guide(tmp_path: Path):
    bundle = model_of_media("verse[2] fine@coarse")
    save_bundle(bundle, tmp_path / "model")
    again = load_bundle(tmp_path / "model")
    assert again.schema.axes == bundle.schema.axes
    assert set(again.sequencer.tokenizers) == {"verse", "fine", "coarse"}
    assert torch.equal(again.gpt.places.weight, bundle.gpt.places.weight)


def test_what_is_not_a_source_is_named():
    with pytest.raises(RequestError, match=r"unknown slot 'rough'; .*\(this model: fine@coarse\)"):
        generate(model_of_media("fine@coarse"), Request(conditions={"rough": "a.tones"}))
