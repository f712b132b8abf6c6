"""Presets are the published shapes, every one of them is accepted by `fit`, and every one has a tiny twin."""

from __future__ import annotations

from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import torch

from helicon.demos.composer import write_folder
from helicon.gpt.attention.patterns import parse_patterns
from helicon.gpt.model import GPT
from helicon.modalities import registry
from helicon.presets import FOLDER, dotted, preset, preset_names, preset_path
from helicon.sequence.layout import Schema
from helicon.sequence.vocabulary import TokenBlock
from helicon.training.plan import plan_gpt
from helicon.training.run import HeliconCLI
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import is_task, trains_codec
from helicon.vqvae.config import AudioCodecConfig

# preset -> layers, width, heads, context, rows of the vocabulary, millions of parameters: papers, and the released
# weights or code of GPT-1, GPT-2, iGPT, minDALL-E and LlamaGen. MuseNet's width and size are not published.
PUBLISHED: dict[str, tuple[int, int | None, int, int, int, float | None]] = {
    "gpt1": (12, 768, 12, 512, 40_478, 116.53),
    "gpt2": (12, 768, 12, 1024, 50_257, 124.44),
    "gpt2-medium": (24, 1024, 16, 1024, 50_257, 354.82),
    "gpt2-large": (36, 1280, 20, 1024, 50_257, 774.03),
    "gpt2-xl": (48, 1600, 25, 1024, 50_257, 1557.61),
    "gpt3": (96, 12288, 96, 2048, 50_257, 175_000.0),
    "sparse-enwik8": (30, 512, 8, 12288, 256, 95.0),
    "musenet": (72, None, 24, 4096, 4836, None),
    "sparse-cifar10": (128, 256, 2, 3072, 256, 59.0),
    "igpt-s": (24, 512, 8, 1024, 512, 76.0),
    "igpt-m": (36, 1024, 8, 1024, 512, 455.0),
    "igpt-l": (48, 1536, 16, 1024, 512, 1360.0),
    "dalle": (64, 3968, 62, 256 + 1024, 16384 + 8192, 12_000.0),
    "minidalle": (42, 1536, 24, 64 + 256, 16384 + 16384, 1300.0),
    "llamagen-b": (12, 768, 12, 16 + 256, 512 + 16384, 111.0),
    "llamagen-l": (24, 1024, 16, 16 + 256, 512 + 16384, 343.0),
    # A layer of Jukebox has 3 times its width squared: m_attn .25, m_mlp 1 in its code. Published are "5 billion" (and
    # 10.3 GB of float16), "1b" (3.8 GB of float32), and "one billion" of upsamplers with what reads the level above
    "jukebox-small-prior": (48, 1024, 1, 1 + 8192, 2048, 151.0),
    "jukebox-1b-lyrics": (72, 2048, 2, 384 + 1 + 6144, 256 + 2048, 906.0),
    "jukebox-5b": (72, 4800, 8, 1 + 8192, 2048, 4977.0),
    "jukebox-upsampler": (72, 1920, 1, 1 + 8192, 2048, 796.0),
}
# Counted without embeddings and output matrix: of DALL·E no more than "12-billion" is published
LAYERS_ALONE = ("dalle", "jukebox-small-prior", "jukebox-1b-lyrics", "jukebox-5b", "jukebox-upsampler")
# preset -> pixels of a side, pixels of a code's side, codes
PUBLISHED_CODECS = {"dalle-dvae": (256, 8, 8192), "image-codec-f16": (256, 16, 16384)}
ORDERS = {  # preset -> patterns of its layers, where they are not all dense
    "gpt3": ["dense", "local:128"] * 48,
    "sparse-enwik8": ["fixed:128,32"] * 30,
    "sparse-cifar10": ["column:96", "local:96", "local:96", "local:96"] * 32,
    "dalle": ["row", "column", "row", "row"] * 15 + ["row", "column", "row", "conv:11"],
    "jukebox-small-prior": ["block:128", "column:128", "previous:128"] * 16,
    "jukebox-5b": ["block:64", "column:64", "previous:64"] * 24,
    "jukebox-upsampler": ["block:64", "column:64", "previous:64"] * 24,
    "jukebox-1b-lyrics": [
        "dense" if layer == 47 else ("block:102", "column:102", "previous:102")[layer % 3] for layer in range(72)
    ],
}
# Seconds of sound in a context of the top level's codes, as published
SECONDS = {"jukebox-small-prior": 23.8, "jukebox-1b-lyrics": 17.8, "jukebox-5b": 23.8}
CODECS = [name for name in preset_names() if trains_codec(preset(name))]
TINY = [name for name in preset_names() if name.endswith("-tiny")]


@cache
def parsed(name: str) -> Any:
    """Module, data and configuration of `helicon fit --config NAME --data.path DIR`; shapes need a task beside them."""
    task = [] if is_task(preset(name)) else ["--config", "text"]
    rate = ["--data.rate", "8000"] if trains_sound(name) and "rate" not in preset(name)["data"] else []
    return HeliconCLI("fit", [*task, "--config", name, "--data.path", "nowhere", *rate])


def trains_sound(name: str) -> bool:
    return preset(name).get("task") == "audio-codec"


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_shape_and_size(name):
    layers, width, heads, context, rows, millions = PUBLISHED[name]
    fit = parsed(name)
    shape, data = fit.model.config, fit.datamodule
    assert (shape.layers, shape.heads, data.context) == (layers, heads, context)
    assert shape.width == width or width is None
    blocks = {name: TokenBlock(name, ()) for layout in data.layouts for name in layout.all_slots}
    places = Schema(
        layouts=tuple(data.layouts), blocks=blocks, slot_axes={}, context=context, positions=data.positions
    ).coord_table_size
    with torch.device("meta"):
        gpt = GPT(shape, rows, places, rope=data.positions == "rope")
    counted = gpt.layers.parameters() if name in LAYERS_ALONE else gpt.parameters()
    count = sum(parameter.numel() for parameter in counted) / 1e6
    print(f"{name}: {count:,.2f} M, published {millions}; {gpt.parameter_count() / 1e6:,.2f} M in all")
    assert millions is None or count == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_patterns(name):
    shape = parsed(name).model.config
    patterns = [str(pattern) for pattern in parse_patterns(shape.pattern, shape.layers)]
    assert patterns == ORDERS.get(name, ["dense"] * shape.layers)


def test_layers_of_dalle_are_what_its_paper_says():
    """Appendix B.1 of arXiv:2102.12092, for i from 1 to 63."""
    expected = ["column" if (i - 2) % 4 == 0 else "row" for i in range(1, 64)]
    assert [*expected, "conv:11"] == ORDERS["dalle"]


def test_layers_of_jukebox_that_see_everything_are_those_of_its_code():
    """Order 12 of its transformer.py: 7 sees the lyrics, 0 everything, 1 to 3 block, column and previous block."""
    order = [(7, 7, 0)[layer % 3] if layer % 16 == 15 else (1, 2, 3)[layer % 3] for layer in range(72)]
    assert [layer for layer, kind in enumerate(order) if kind == 7] == [15, 31, 63]
    names = {0: "dense", 1: "block:102", 2: "column:102", 3: "previous:102"}
    expected = [names[layer % 3 + 1 if kind == 7 else kind] for layer, kind in enumerate(order)]
    assert expected == ORDERS["jukebox-1b-lyrics"]


@pytest.mark.parametrize("name", sorted(PUBLISHED_CODECS))
def test_published_codecs(name):
    fit = parsed(name)
    shape = fit.model.config
    assert (fit.datamodule.size, shape.factor, shape.codes) == PUBLISHED_CODECS[name]


def test_published_codec_of_jukebox():
    """Its code, hparams.py: vqvae."""
    fit = parsed("jukebox-codec")
    assert fit.model.codec_config(fit.datamodule) == AudioCodecConfig(
        hops=(8, 32, 128), rate=44100, stride=2, width=32, depth=4, growth=3, codes=2048, code_width=64
    )


@pytest.mark.parametrize("name", [name for name in preset_names() if name not in (*CODECS, "classify")])
def test_every_preset_is_accepted_by_fit(name):
    fit = parsed(name)
    for option in dotted(preset(name)):  # as a size it is not parsed once more
        value = reduce(getitem, option.split("."), preset(name))
        assert (fit.config[option], type(fit.config[option])) == (value, type(value))
    for layout in fit.datamodule.layouts:
        layout.target_capacity(fit.datamodule.context)
        for slot in layout.all_slots:
            chosen = (fit.config.data.tokenizers or {}).get(slot)
            assert chosen is None or registry.spec(slot, chosen)
    for slot in fit.model.objective.slot_weights or {}:
        assert registry.specs(slot)


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_is_accepted_by_fit(name):
    fit = parsed(name)
    fit.model.check(fit.datamodule)
    with torch.device("meta"):
        codec, _ = fit.model.plan(fit.datamodule)
    print(f"{name}: {sum(parameter.numel() for parameter in codec.parameters()) / 1e6:,.2f} M")


NAMING = [name for name in preset_names() if "codec" in preset(name)]
OF_PICTURES = [name for name in NAMING if any("image" in layout for layout in preset(name)["data"]["layouts"])]


@pytest.mark.parametrize("name", OF_PICTURES)
def test_the_codec_that_a_preset_names_makes_its_grid_and_codes(name):
    codec = parsed(preset(name)["codec"])
    side = codec.datamodule.size // codec.model.config.factor
    layouts = [layout.filled({"image": (side, side)}) for layout in parsed(name).datamodule.layouts]
    assert all(slot.length == side * side for layout in layouts for slot in layout.slots if slot.name == "image")
    if name in PUBLISHED:
        assert preset(name)["data"]["vocabulary"] + codec.model.config.codes == PUBLISHED[name][4]


@pytest.mark.parametrize("name", sorted(set(NAMING) - set(OF_PICTURES)))
def test_the_codec_that_a_preset_names_is_of_sound(name):
    assert trains_sound(preset(name)["codec"])
    assert all("audio" in layout.all_slots for layout in parsed(name).datamodule.layouts)


@pytest.mark.parametrize("name", sorted(SECONDS))
def test_seconds_in_a_context_of_jukebox(name):
    fit, codec = parsed(name), parsed(preset(name)["codec"])
    shape, (layout,) = codec.model.codec_config(codec.datamodule), fit.datamodule.layouts
    codes = layout.target_capacity(fit.datamodule.context) + 1  # the last one is made, not fed
    assert codes * shape.hops[-1] / shape.rate == pytest.approx(SECONDS[name], abs=0.05)
    assert shape.codes == 2048


def test_nanogpts_recipe_for_a_cpu():
    """What its README gives, and the "number of parameters: 0.80M" that it prints, of 65 characters."""
    fit = parsed("nanogpt-shakespeare")
    shape, data, module, trainer = fit.model.config, fit.datamodule, fit.model, fit.trainer
    assert (shape.layers, shape.width, shape.heads, shape.bias, shape.dropout) == (4, 128, 4, False, 0)
    assert (data.context, data.batch_size, trainer.max_steps, trainer.gradient_clip_val) == (64, 12, 2000, 1)
    with torch.device("meta"):
        assert GPT(module.config.gpt, vocabulary_size=65, coord_table_size=0).parameter_count() == 795_904
    module.trainer = trainer
    optimizer = module.scheduled_optimizer([torch.zeros(1, 1)], [])["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    assert (optimizer.param_groups[0]["betas"], optimizer.param_groups[0]["weight_decay"]) == ((0.9, 0.99), 0.1)
    rates = {step: module.config.lr * module._rate(step) for step in (50, 100, 1050, 2000)}
    assert rates == pytest.approx({50: 5e-4, 100: 1e-3, 1050: 5.5e-4, 2000: 1e-4}, rel=0.02)


@pytest.mark.parametrize("name", ["tiny", "small", "medium", "large"])
def test_our_own_sizes_have_what_gained_at_equal_time(name):
    fit = parsed(name)
    module, shape = fit.model, fit.model.config
    assert (module.config.optimizer, module.config.schedule, fit.datamodule.positions) == ("muon", "linear", "rope")
    assert (shape.qk_norm, shape.bias, shape.mlp, shape.norm) == (True, False, "gelu", "layer")


def test_every_preset_says_what_it_is():
    for path in FOLDER.glob("*.yaml"):
        assert path.read_text(encoding="utf-8").startswith("# "), path.name


@pytest.mark.parametrize("name", [*PUBLISHED, *PUBLISHED_CODECS, "jukebox-codec"])
def test_every_published_preset_has_a_tiny_twin(name):
    words = preset_path(name).read_text(encoding="utf-8").partition("task:")[0].split()
    (twin,) = [twin for twin in TINY if twin in words]
    assert set(twin.removesuffix("-tiny").split("-")) <= set(name.split("-"))
    assert (name in CODECS) == (twin in CODECS)


def test_a_published_shape_learns_what_the_task_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "files", 4, seed=2)
    request = TrainRequest(task="music", path=tmp_path / "files", size="gpt3-tiny", runs=tmp_path)
    fit = HeliconCLI("fit", plan_gpt(request, lambda line: None).config)
    assert [str(layout) for layout in fit.datamodule.layouts] == ["style[3] music"]
    assert fit.model.config.pattern == "dense,local:32"


def test_ratios_are_options():
    fit = HeliconCLI(
        "fit", ["--config", "text", "--data.path", "nowhere", "--model.mlp_ratio", "2", "--model.qk_ratio", "0.5"]
    )
    assert (fit.model.config.mlp_width, fit.model.config.qk_width) == (512, 128)


def test_a_preset_that_is_not_known():
    with pytest.raises(ValueError, match=r"'gpt-2'; nearest: .*gpt2"):
        preset_path("gpt-2")


def test_a_file_of_ones_own_is_a_preset(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("task: gpt\n")
    assert preset_path(str(mine)) == Path(mine)


def test_a_file_of_the_folder_that_has_the_name_of_a_preset_is_not_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("music").write_text("notes of mine\n")
    assert preset_path("music") == FOLDER / "music.yaml"
