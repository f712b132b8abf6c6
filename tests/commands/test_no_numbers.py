"""A model that computes no finite numbers is told by its name, whatever is asked of it; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_bundles import text_bundle

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.generation.decode_request import DecodeRequest, Prompt, Sampling
from helicon.generation.engine import Engine
from helicon.gpt.config import GPTConfig
from helicon.gpt.numbers import NotFiniteError
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer
from helicon.training.learning.samples import write_samples


@pytest.fixture(params=["nan", "inf"])
def damaged(request, tmp_path, monkeypatch):
    """A bundle of such weights, beside a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    bundle = text_bundle()
    with torch.no_grad():
        bundle.gpt.layers[0].mlp.out.weight.fill_(float(request.param))
    save_bundle(bundle, tmp_path / "damaged")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("an ode")
    return "damaged"


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "--tokens", "5"],
        ["generate", "--tokens", "5", "--temperature", "0", "--dtype", "bf16"],
        ["generate", "--tokens", "5", "--top-p", "0.9", "--dtype", "int8"],
        ["eval", "--data.path", "texts"],
        ["features", "texts", "--layer", "all"],
    ],
    ids=" ".join,
)
def test_a_damaged_model_is_named(damaged, command, tmp_path, capsys):
    assert main([command[0], damaged, *command[1:]]) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("helicon: damaged: this model computes no finite numbers")
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["damaged", "texts"]


def test_a_device_that_is_not_waited_for_is_looked_at_in_the_first_step(damaged):
    bundle = load_bundle(Path(damaged))
    engine = Engine(bundle.gpt, bundle.sequencer, 2, "eager")
    (layout,) = bundle.schema.layouts
    engine.submit(DecodeRequest(layout, Prompt({}), Sampling(max_tokens=5)))
    engine._lanes[layout].check_interval = 16
    with pytest.raises(NotFiniteError):
        engine.step()


def test_samples_are_as_long_as_the_shortest_layout_of_their_slot_allows(tmp_path):
    sequencer = Sequencer([Layout.parse("text[8]"), Layout.parse("text")], {"text": BytesTokenizer()}, 32)
    gpt = make_gpt(GPTConfig(layers=1, width=16, heads=2), sequencer.schema)
    write_samples(Bundle(gpt=gpt, sequencer=sequencer, tokenizer_names={"text": "bytes"}), tmp_path / "step", 0)
    assert (tmp_path / "step-text.txt").is_file()
