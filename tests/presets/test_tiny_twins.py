"""Every tiny twin learns: its loss on made-up files falls in a few steps; of codes, those of the codec it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from helicon.bundle.storage import load_bundle
from helicon.demos import composer, shapes
from helicon.formats.audio import Sound, write_audio
from helicon.generation.generate import generate
from helicon.generation.request import Request
from helicon.presets import preset, preset_names
from helicon.training.plan import plan_gpt
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.settings.request import TrainRequest

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = [name for name in preset_names() if name.endswith("-tiny")]
Trained = Callable[[str], Path]


@dataclass(frozen=True)
class Trial:
    """What a twin learns from, the loss that is looked at, and what is left of it after some steps, at most."""

    files: str
    loss: str
    steps: int
    left: float
    options: tuple[str, ...] = ("--data.batch_size=4",)


TEXT = Trial("texts", "train/text", 3, 1.0)
CODES = Trial("pictures", "train/image", 15, 0.75)
CODEC = Trial("pictures", "train/loss", 20, 0.6, ("--data.batch_size=16",))
SOUNDS = Trial("sounds", "train/audio", 15, 0.75)
ONE = "--trainer.overfit_batches=1"  # over and over: losses of other sounds differ by more than what is learnt
SOUND_CODEC = Trial("sounds", "train/loss", 20, 0.9, ("--data.batch_size=8", "--data.window=2048", ONE))
SMALL = ("--data.batch_size=4", "--data.size=8")  # 8 x 8 pixels, for the sake of time
TRIALS = {
    "musenet-tiny": Trial("music", "train/music", 3, 1.0),
    "sparse-cifar10-tiny": Trial("pictures", "train/image", 15, 0.8, (*SMALL, '--data.layouts=["image[8x8x3]"]')),
    "igpt-tiny": Trial("pictures", "train/image", 15, 0.75, (*SMALL, '--data.layouts=["image[8x8]"]')),
    "dalle-tiny": CODES,
    "minidalle-tiny": CODES,
    "llamagen-tiny": CODES,
    "dalle-dvae-tiny": CODEC,
    "image-codec-tiny": CODEC,
    "jukebox-tiny": SOUNDS,
    "jukebox-lyrics-tiny": SOUNDS,
    "jukebox-upsampler-tiny": SOUNDS,
    "jukebox-codec-tiny": SOUND_CODEC,
    "audio-codec-tiny": SOUND_CODEC,
}
TWO_LEVELS = "jukebox-codec-tiny"  # whose codes the upsampler's twin, which names no codec, takes one from another of


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Folders of made-up texts, music, captioned pictures and captioned sounds."""
    folder = tmp_path_factory.mktemp("files")
    composer.write_folder(folder / "music", 6, seed=1)
    shapes.write_folder(folder / "pictures", 48, seed=1)
    write_sounds(folder / "sounds")
    (folder / "texts").mkdir()
    words = [f"{bird} {verb} {place}" for bird in ("wren", "owl", "swift") for verb in ("sings", "flies", "sleeps")
             for place in ("here", "there", "in the ivy")]  # fmt: skip
    for i in range(6):
        (folder / "texts" / f"{i}.txt").write_text(". ".join(words[i:] * 20), encoding="utf-8")
    return folder


def write_sounds(folder: Path) -> None:
    """Tones of half a second, each with its name beside it, in folders that say how bright they are."""
    time_S = np.arange(4000) / 8000
    for timbre, partials in {"dull": 1, "bright": 6}.items():
        for name, hz in {"a": 220, "b": 247, "c": 262, "d": 294, "e": 330, "f": 349, "g": 392}.items():
            wave_S = sum(np.sin(2 * np.pi * hz * k * time_S) / k for k in range(1, partials + 1))
            faded_S = 0.4 * wave_S * np.exp(-3 * time_S)
            write_audio(Sound(faded_S[:, None].astype(np.float32), 8000), folder / timbre / f"{name}.wav")
            (folder / timbre / f"{name}.txt").write_text(f"la {name}", encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, folders) -> Trained:
    """Twin -> its run, trained once; the codec that it names before it."""
    runs = tmp_path_factory.mktemp("runs")

    @cache
    def train(name: str) -> Path:
        trial = TRIALS.get(name, TEXT)
        codec = preset(name).get("codec")
        tokenizer = ["--data.tokenizer", str(train(codec))] if codec else []
        if name == "jukebox-upsampler-tiny":
            levels = {"audio": 0, "above": 1}
            tokenizer = [f"--data.tokenizers.{slot}={train(TWO_LEVELS)}@{level}" for slot, level in levels.items()]
        return run_lightning(
            "fit",
            ["--config", name, "--data.path", str(folders / trial.files), "--data.cache", str(runs / "cache"),
             "--runs", str(runs), "--name", name, "--samples", "false", "--trainer.accelerator", "cpu",
             "--trainer.max_steps", str(trial.steps), "--trainer.log_every_n_steps", "1",
             *trial.options, *tokenizer],
        ).run_folder  # fmt: skip

    return train


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_twin_learns(name, trained):
    trial = TRIALS.get(name, TEXT)
    steps, losses = read_metrics(trained(name))[trial.loss]
    assert steps == list(range(trial.steps))
    assert np.isfinite(losses).all()
    assert losses[-1] < trial.left * losses[0]


def test_ratios_of_widths_are_kept_by_fine_tuning(trained, folders, tmp_path):
    run = trained("sparse-cifar10-tiny")
    request = TrainRequest(
        task="image", path=folders / "pictures", init_from=run, runs=tmp_path,
        overrides={"data": {"cache": str(tmp_path / "cache")}},
    )  # fmt: skip
    shape = HeliconCLI("fit", plan_gpt(request, lambda line: None).config).model.config.gpt
    assert shape == load_bundle(run).gpt.config
    assert (shape.mlp_ratio, shape.qk_ratio) == (2.0, 0.5)


@pytest.mark.parametrize("name", ["jukebox-tiny", "jukebox-lyrics-tiny"])
def test_narrow_attention_is_kept_by_a_bundle_and_makes_sounds(name, trained):
    bundle = load_bundle(trained(name))
    shape = bundle.gpt.config
    assert (shape.mlp_ratio, shape.attention_ratio, shape.head_width) == (1.0, 0.25, 24)
    given = {"style": "dull", "lyrics": "la c"} if "lyrics" in name else {"style": "dull"}
    (item,) = generate(bundle, Request(conditions=given, seconds=0.75))
    assert (item.media.rate, len(item.media)) == (8000, 6000)
    assert np.isfinite(item.media.samples).all()
