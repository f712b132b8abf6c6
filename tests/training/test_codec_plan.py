"""What a training with a codec in front asks of its two stages, before either begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helicon.data.entries import DataError
from helicon.formats.image import write_image
from helicon.presets import merge, preset
from helicon.training.codec_plan import codec_stage, plan_codec, planned_data, shared_options, with_codec
from helicon.training.errors import TrainingError
from helicon.training.options import resolve
from helicon.training.settings.request import TrainRequest
from helicon.training.usage_errors import UsageError
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.storage import CodecBundle, save_codec


@pytest.fixture(scope="module")
def captioned(tmp_path_factory) -> Path:
    """Three pictures with captions."""
    folder, rng = tmp_path_factory.mktemp("captioned"), np.random.default_rng(0)
    for number in range(3):
        write_image(rng.integers(256, size=(8, 8, 3)).astype(np.uint8), folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a picture")
    return folder


@pytest.fixture
def wanted(captioned, tmp_path) -> TrainRequest:
    return TrainRequest(task="text-to-image", path=captioned, minutes=9.0, runs=tmp_path / "runs", seed=5)


def test_a_third_of_the_time_goes_to_the_codec(wanted):
    data = {"val_split": 0.1, "batch_size": 4}
    overrides = {"data": {"size": 16, **data}, "model": {"layers": 2}}
    wanted = replace(wanted, overrides=overrides, size="tiny", steps=None)
    first = codec_stage(wanted)
    assert first == replace(
        wanted, task="image-codec", name="text-to-image-1-codec", minutes=3.0, size="auto",
        overrides={"data": {"size": 16, "val_split": 0.1}},
    )  # fmt: skip
    assert first is not None
    assert with_codec(wanted, first, Path("runs/c")) == replace(
        wanted, name="text-to-image-1", minutes=6.0,
        overrides={"data": {**data, "tokenizers": {"image": "runs/c"}}, "model": {"layers": 2}},
    )  # fmt: skip
    assert not wanted.runs.exists()


def test_the_name_is_that_of_the_second_stage(wanted):
    first = codec_stage(replace(wanted, name="mine"))
    assert first is not None
    assert first.name == "mine-codec"
    assert with_codec(wanted, first, Path("c")).name == "mine"
    (wanted.runs / "text-to-image-1").mkdir(parents=True)
    second = codec_stage(wanted)
    assert second is not None
    assert second.name == "text-to-image-2-codec"


def test_a_codec_that_was_stopped_does_not_block_the_next_training(wanted):
    (wanted.runs / "text-to-image-1-codec").mkdir(parents=True)
    first = codec_stage(wanted)
    assert first is not None
    assert first.name == "text-to-image-2-codec"


@pytest.mark.parametrize(
    ("machine", "codecs"),
    [
        ({"devices": 1}, {"devices": 1}),
        ({"strategy": "fsdp2", "devices": "auto"}, {"strategy": "ddp", "devices": "auto"}),
        ({"precision": "32-true"}, {}),
    ],
)
def test_all_stages_are_on_the_same_devices(wanted, machine, codecs):
    overrides = {"trainer": machine, "model": {"layers": 1}}
    first = codec_stage(replace(wanted, overrides=overrides))
    assert first is not None
    assert first.overrides == ({"trainer": codecs} if codecs else {})
    assert "model" not in shared_options(overrides)


def test_what_the_task_holds_out_its_codec_does_not_learn(wanted, tmp_path):
    (tmp_path / "task.yaml").write_text(
        "codec: image-codec\ndata: {layouts: ['text[8] image[]'], val_split: 0.4, size: 16}\n"
    )
    first = codec_stage(replace(wanted, task=str(tmp_path / "task.yaml"), overrides={"data": {"workers": 1}}))
    assert first is not None
    assert first.overrides == {"data": {"val_split": 0.4, "workers": 1}}


def test_a_codec_of_another_medium_is_refused_before_it_is_trained(wanted):
    with pytest.raises(ValueError, match="--codec audio-codec: text-to-image has no audio"):
        codec_stage(replace(wanted, overrides={"codec": "audio-codec"}))


def test_another_codec_may_be_chosen(wanted):
    wanted = replace(wanted, overrides={"codec": "image-codec-tiny", "model": {"layers": 2}})
    first = codec_stage(wanted)
    assert first is not None
    assert (first.task, first.overrides) == ("image-codec-tiny", {})
    assert with_codec(wanted, first, Path("c")).overrides == {
        "model": {"layers": 2}, "data": {"tokenizers": {"image": "c"}},
    }  # fmt: skip


def test_a_published_shape_of_codes_trains_the_codec_that_it_names(wanted):
    first = codec_stage(replace(wanted, task="dalle-tiny"))
    assert first is not None
    assert (first.task, first.name) == ("dalle-dvae-tiny", "dalle-tiny-1-codec")


def test_what_names_a_tokenizer_of_pictures_needs_no_codec(wanted, tmp_path):
    for named in ({"tokenizer": "palette"}, {"tokenizer": "rgb"}, {"tokenizers": {"image": "rgb"}}):
        assert codec_stage(replace(wanted, overrides={"data": named})) is None
    codec = ImageCodec(ImageCodecConfig(factor=4, width=8, blocks=0, quantizer="fsq", levels=(3, 3)))
    save_codec(CodecBundle(codec=codec, medium="image", reading={"size": 8}), tmp_path / "codec")
    assert codec_stage(replace(wanted, overrides={"data": {"tokenizer": str(tmp_path / "codec")}})) is None
    assert codec_stage(replace(wanted, task="image")) is None
    assert codec_stage(replace(wanted, init_from=Path("runs/model"))) is None


@pytest.mark.parametrize("named", [{"tokenizers": {"text": "bytes"}}, {"tokenizer": "bytes"}])
def test_a_tokenizer_of_captions_does_not_stand_for_a_codec(wanted, captioned, tmp_path, named):
    wanted = replace(wanted, overrides={"data": named})
    first = codec_stage(wanted)
    assert first is not None
    torch.manual_seed(0)
    codec = ImageCodec(ImageCodecConfig(factor=4, width=8, blocks=0, quantizer="fsq", levels=(3, 3)))
    save_codec(CodecBundle(codec=codec, medium="image", reading={"size": 8}), tmp_path / "codec")
    data = planned_data(with_codec(wanted, first, tmp_path / "codec"))
    assert data.source.tokenizers == {"text": "bytes", "image": "codes"}


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            {"overrides": {"data": {"window": 64}}},
            UsageError,
            "--data.window is an option of audio-codec; this trains gpt",
        ),
        (
            {"overrides": {"model": {"laters": 3}}},
            UsageError,
            "unknown option '--model.laters'; nearest: --model.layers",
        ),
        ({"size": "smal"}, ValueError, "unknown size 'smal'; nearest: small"),
        ({"path": Path("nowhere")}, DataError, "nowhere: no such file or folder"),
    ],
)
def test_what_would_stop_the_second_stage_stops_the_first(wanted, change, error, said):
    with pytest.raises(error, match=said):
        codec_stage(replace(wanted, **change))


def test_pictures_without_captions_are_found_out_before_the_codec_is_trained(wanted, tmp_path):
    write_image(np.zeros((8, 8, 3), np.uint8), tmp_path / "mute" / "a.png")
    with pytest.raises(DataError, match="no files to train on as pairs of equal stem"):
        codec_stage(replace(wanted, path=tmp_path / "mute"))


def test_the_plan_of_a_codec(wanted):
    first = codec_stage(replace(wanted, overrides={"codec": "image-codec-tiny", "data": {"size": 8}}))
    assert first is not None
    said: list[str] = []
    plan = plan_codec(replace(first, steps=7), said.append)
    assert plan.run == wanted.runs / "text-to-image-1-codec"
    assert not wanted.runs.exists()
    limits = {"max_time": "00:00:03:00", "max_steps": 7, "val_check_interval": 1}
    data = {"path": str(wanted.path), "seed": 5, "size": 8}
    place = {"name": "text-to-image-1-codec", "runs": str(wanted.runs)}
    wanted = resolve(merge(preset("image-codec-tiny"), {"data": data, "trainer": limits}, place))
    assert plan.config == wanted.changed({"trainer": {"precision": plan.config.trainer["precision"]}})
    assert "8 x 8 pixels to 2 x 2 of 64 codes" in said[-1]
    assert plan.parameters > 1000


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"size": "small"}, TrainingError, "a codec has neither --size nor --from"),
        ({"init_from": Path("x")}, TrainingError, "a codec has neither --size nor --from"),
        ({"path": Path("nowhere")}, ValueError, "nowhere: no such file or folder"),
        ({"overrides": {"data": {"size": 10}}}, ValueError, "--data.size 10 is not a multiple of --model.factor 4"),
        ({"task": "image-codek"}, ValueError, "'image-codek'; nearest: image-codec"),
    ],
)
def test_a_codec_that_cannot_be_trained_is_refused(wanted, change, error, said):
    with pytest.raises(error, match=said):
        plan_codec(replace(wanted, **{"task": "image-codec", **change}), lambda line: None)
