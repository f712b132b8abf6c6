"""Presets are the published shapes, every one of them is accepted by `fit`, and every tiny twin learns."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from helicon.demos.composer import write_folder
from helicon.gpt.model import GPT, Shape
from helicon.gpt.patterns import parse_patterns
from helicon.modalities import registry
from helicon.presets import FOLDER, preset_names, preset_path
from helicon.sequence.layout import Layout, Schema
from helicon.training.data import SequenceData
from helicon.training.metrics import read_metrics
from helicon.training.module import GPTModule
from helicon.training.plan import Wanted, make_plan
from helicon.training.run import DEFAULTS, HeliconCLI, HeliconTrainer, Parser, read_arguments, run_lightning

# preset -> layers, width, heads, context, rows of the vocabulary, millions of parameters: papers, and the released
# weights of GPT-1 and GPT-2. MuseNet's width and size are not published.
PUBLISHED: dict[str, tuple[int, int | None, int, int, int, float | None]] = {
    "gpt1": (12, 768, 12, 512, 40_478, 116.53),
    "gpt2": (12, 768, 12, 1024, 50_257, 124.44),
    "gpt2-medium": (24, 1024, 16, 1024, 50_257, 354.82),
    "gpt2-large": (36, 1280, 20, 1024, 50_257, 774.03),
    "gpt2-xl": (48, 1600, 25, 1024, 50_257, 1557.61),
    "gpt3": (96, 12288, 96, 2048, 50_257, 175_000.0),
    "sparse-enwik8": (30, 512, 8, 12288, 256, 95.0),
    "musenet": (72, None, 24, 4096, 4836, None),
}
TINY = sorted(name for name in preset_names() if name.endswith("-tiny"))


class ParseOnly(HeliconCLI):
    """The parser of `fit`, which then does nothing."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@cache
def parsed(name: str) -> Any:
    """Configuration of `helicon fit --config NAME --data.path DIR`; shapes need a task beside them."""
    task = [] if "layouts" in (config(name).get("data") or {}) else ["--config", str(preset_path("text"))]
    cli = ParseOnly(
        GPTModule, SequenceData, trainer_class=HeliconTrainer, trainer_defaults=DEFAULTS, save_config_callback=None,
        seed_everything_default=False, parser_class=Parser, auto_configure_optimizers=False,
        args=["fit", *task, "--config", str(preset_path(name)), "--data.path", "nowhere"],
    )  # fmt: skip
    return cli.config.fit


def config(name: str) -> dict[str, Any]:
    return yaml.safe_load(preset_path(name).read_text(encoding="utf-8"))


def shape_of(model: Any) -> Shape:
    return GPTModule(**model.as_dict()).shape


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_shape_and_size(name):
    layers, width, heads, context, rows, millions = PUBLISHED[name]
    model = parsed(name).model
    shape = shape_of(model)
    assert (shape.layers, shape.heads, model.context) == (layers, heads, context)
    assert shape.width == width or width is None
    places = sum(Schema((), {}, {}, context, model.positions).axes.values())
    with torch.device("meta"):
        count = GPT(shape, rows, places, rope=model.positions == "rope").parameter_count() / 1e6
    print(f"{name}: {count:,.2f} M, published {millions}")
    assert millions is None or count == pytest.approx(millions, rel=0.01)


def test_published_patterns():
    patterns = {name: [str(p) for p in parse_patterns(parsed(name).model.pattern, 4)] for name in PUBLISHED}
    assert patterns["gpt3"] == ["dense", "local:128", "dense", "local:128"]
    assert patterns["sparse-enwik8"] == ["fixed:128,32"] * 4
    assert all(patterns[name] == ["dense"] * 4 for name in PUBLISHED if name not in ("gpt3", "sparse-enwik8"))


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_accepted_by_fit(name):
    fit = parsed(name)
    shape_of(fit.model)
    for spec in fit.data.layouts:
        layout = Layout.parse(spec)
        layout.room(fit.model.context)
        for slot in layout.slots:
            chosen = (fit.data.tokenizers or {}).get(slot.name)
            assert chosen is None or registry.factory(slot.name, chosen)
    for slot in fit.model.slot_weights or {}:
        assert registry.for_slot(slot)


def test_every_preset_says_what_it_is():
    for path in FOLDER.glob("*.yaml"):
        assert path.read_text(encoding="utf-8").startswith("# "), path.name


def test_every_published_preset_has_a_tiny_twin():
    for name in PUBLISHED:
        words = preset_path(name).read_text(encoding="utf-8").split()
        twins = [twin for twin in TINY if twin in words]
        assert len(twins) == 1, name
        assert f"{name.partition('-')[0]}" in twins[0]


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_twin_learns(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "files"
    if name == "musenet-tiny":
        write_folder(folder, 6, seed=1)
    else:
        folder.mkdir()
        words = [f"{bird} {verb} {place}" for bird in ("wren", "owl", "swift") for verb in ("sings", "flies", "sleeps")
                 for place in ("here", "there", "in the ivy")]  # fmt: skip
        for i in range(6):
            (folder / f"{i}.txt").write_text(". ".join(words[i:] * 20), encoding="utf-8")
    run = run_lightning(
        "fit",
        ["--config", name, "--data.path", str(folder), "--runs", str(tmp_path), "--name", "run", "--samples", "false",
         "--trainer.max_steps", "3", "--trainer.log_every_n_steps", "1", "--trainer.accelerator", "cpu",
         "--data.batch_size", "4"],
    )  # fmt: skip
    _, losses = read_metrics(run)["train/music" if name == "musenet-tiny" else "train/text"]
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


def test_a_published_shape_learns_what_the_task_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "files", 4, seed=2)
    plan = make_plan(Wanted("music", tmp_path / "files", size="gpt3-tiny", runs=tmp_path), lambda line: None)
    fit = read_arguments("fit", plan.arguments)
    assert [str(layout) for layout in fit.datamodule.layouts] == ["style[3] music"]
    assert fit.model.shape.pattern == "dense,local:32"


def test_a_preset_that_is_not_known():
    with pytest.raises(ValueError, match=r"'gpt-2'; nearest: .*gpt2"):
        preset_path("gpt-2")


def test_a_file_of_ones_own_is_a_preset(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("task: gpt\n")
    assert preset_path(str(mine)) == Path(mine)
