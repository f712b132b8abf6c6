"""Training a codec in miniature: what it logs and leaves behind, and that a resumed run is the uninterrupted one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from training_runs import MINUTES, jumping_clock, resume_words, signalled_at, weights

from helicon.data.config import ImageDataConfig
from helicon.formats.image import read_image, write_image
from helicon.tokenizers.pixels import pixels_to_tensor
from helicon.training.codecs.codec import ImageCodecModule
from helicon.training.codecs.codec_data import ImageData
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.resuming import repeated_config, resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.training.runs.metrics import read_metrics
from helicon.training.stopping import Interrupted
from helicon.vqvae.storage import load_codec

TINY = [
    "--model.width=16", "--model.blocks=1", "--model.codes=16", "--data.size=16", "--data.batch_size=8",
    "--data.val_split=0.2", "--trainer.accelerator=cpu", "--trainer.max_steps=20", "--trainer.val_check_interval=7",
    "--trainer.log_every_n_steps=1", "--samples=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Twenty-four pictures of 16 x 16 in tiles of 4 x 4, each of one of eight colours."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(24):
        tiles = rng.integers(2, size=(4, 4, 3)).astype(np.uint8) * 200 + 20
        write_image(tiles.repeat(4, 0).repeat(4, 1), folder / f"{number}.png")
    return folder


def arguments(pictures: Path, runs: Path, name: str, *extra: str) -> list[str]:
    """Arguments of `helicon fit`; a later one wins."""
    where = ["--config", "image-codec", "--data.path", str(pictures), "--runs", str(runs), "--name", name]
    return [*where, *TINY, *extra]


def fit(pictures: Path, runs: Path, name: str, *extra: str) -> Path:
    """The folder of a finished run."""
    return run_lightning("fit", arguments(pictures, runs, name, *extra)).run_folder


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory) -> Path:
    """An uninterrupted run."""
    return fit(pictures, tmp_path_factory.mktemp("whole"), "run", "--samples=true")


def test_what_is_logged(whole):
    metrics = read_metrics(whole)
    assert metrics["train/loss"][0] == list(range(20))
    for side in ("val", "train"):
        assert metrics[f"{side}/usage"][0] == [6, 13, 19]
        for usage, perplexity in zip(metrics[f"{side}/usage"][1], metrics[f"{side}/perplexity"][1]):
            assert 0 < usage <= 1 <= perplexity <= 16 * usage
    assert metrics["val/psnr"][1] == sorted(metrics["val/psnr"][1])
    assert metrics["val/loss"][1][-1] < metrics["val/loss"][1][0]


@pytest.mark.parametrize("quantizer", ["ema", "fsq"])
def test_pictures_that_are_all_the_same(tmp_path, quantizer):
    """They are the mean picture: what is left is measured by the rounding of pixels to 8 bits instead."""
    for number in range(12):
        write_image(np.full((16, 16, 3), 51, np.uint8), tmp_path / "same" / f"{number}.png")
    run = fit(tmp_path / "same", tmp_path, "run", f"--model.quantizer={quantizer}", "--trainer.max_steps=8")
    metrics, codec = read_metrics(run), load_codec(run).codec
    assert all(np.isfinite(value) for _, values in metrics.values() for value in values)
    media = pixels_to_tensor(torch.full((1, 3, 16, 16), 51, dtype=torch.uint8))
    error = float((codec.eval().decode(codec.encode(media)) - media).square().mean())
    kept = min(metrics["val/loss"][1])
    assert kept == pytest.approx(error * 12 / (2 / 255) ** 2, rel=1e-3)
    assert metrics["val/perplexity"][1][-1] >= 1


def held_out(pictures: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures that were held out, and those that were not, uint8 [B, C, H, W]."""
    data = ImageData(ImageDataConfig(path=str(pictures), size=16, val_split=0.2))
    data.setup("fit")
    return data.pictures.batch(data.val), data.pictures.batch(data.pictures.corpus.select(val=False))


def test_the_best_codec_is_kept_and_is_as_good_as_was_logged(whole, pictures):
    kept, metrics = load_codec(whole), read_metrics(whole)
    held, train = held_out(pictures)
    media, mean = pixels_to_tensor(held), train.float().mean(0) / 127.5 - 1
    error = (kept.codec.decode(kept.codec.encode(media)) - media).square()
    best = metrics["val/loss"][1].index(min(metrics["val/loss"][1]))
    assert float(error.sum() / (media - mean).square().sum()) == pytest.approx(metrics["val/loss"][1][best], rel=1e-4)
    psnr = 10 * float(torch.log10(4 / error.mean()))
    assert psnr == pytest.approx(metrics["val/psnr"][1][best], abs=1e-3)
    assert kept.notes["step"] == metrics["val/loss"][0][best] + 1
    assert kept.notes["val_loss"] == pytest.approx(metrics["val/loss"][1][best])
    assert (kept.medium, kept.reading["size"], kept.codec.codebook_size) == ("image", 16, 16)


def test_reconstructions_are_drawn(whole):
    drawn = sorted(path.name for path in (whole / "samples").iterdir())
    assert drawn[0] == "step-000007-reconstructions.png"
    read_image(whole / "samples" / drawn[0])


# Step 2 is before there is a codebook, step 6 ends with a validation
@pytest.mark.parametrize("step", [2, 6])
def test_a_stopped_and_resumed_run_is_equal_to_the_bit(whole, pictures, tmp_path, step):
    with signalled_at(step), pytest.raises(Interrupted):
        fit(pictures, tmp_path, "stopped")
    stopped = tmp_path / "stopped"
    assert read_checkpoint(stopped / "checkpoints" / "last.ckpt")["global_step"] == step + 1
    torch.manual_seed(step)  # whatever the new process' generator holds
    assert run_lightning("fit", resumed_config(stopped)).run_folder == stopped
    assert read_metrics(stopped) == read_metrics(whole)
    expected = weights(whole)
    transient = {f"codec.quantizer.{name}" for name in ("latent_buffer", "latents_seen", "embed_avg")}
    assert transient < expected.keys()
    assert weights(stopped).keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(stopped).items())
    assert load_codec(stopped).fingerprint() == load_codec(whole).fingerprint()


def test_a_checkpoint_of_another_codec_is_refused(whole, tmp_path):
    """Codes that lead out of tables, counts of none: what would fail in the midst of a step."""
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    path = run / "checkpoints" / "last.ckpt"
    honest = read_checkpoint(path)
    changes = {
        "counts": {"": torch.zeros(3)},
        "state_dict": honest["state_dict"] | {"codec.kept": torch.arange(16) * 9},
    }
    changes |= {"counts ": None, "state_dict ": honest["state_dict"] | {"codec.quantizer.codebook": torch.zeros(16, 3)}}
    for name, value in changes.items():
        torch.save(honest | {name.strip(): value}, path)
        with pytest.raises(TrainingError, match=f"{path}: refused"):
            run_lightning("fit", [*resume_words(run), "--trainer.max_steps=22"])


def test_a_run_by_minutes_is_repeated_to_the_bit(pictures, tmp_path, monkeypatch):
    """Of a quantizer that follows the progress too: its temperature falls, the weight of its divergence rises."""
    gumbel = ("--model.quantizer=gumbel", *MINUTES)
    jumping_clock(monkeypatch, 0.2)
    with signalled_at(3), pytest.raises(Interrupted):
        fit(pictures, tmp_path, "timed", *gumbel)
    run = run_lightning("fit", resumed_config(tmp_path / "timed")).run_folder
    jumping_clock(monkeypatch, 1.5)
    repeated = run_lightning("fit", repeated_config(run)).run_folder
    expected = weights(run)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(repeated).items())
    assert load_codec(repeated).fingerprint() == load_codec(run).fingerprint()
    assert read_metrics(repeated) == read_metrics(run)


def test_a_checkpoint_is_measured(whole, monkeypatch):
    seen = {}
    monkeypatch.setattr(RunModule, "log", lambda self, name, value, **how: seen.update({name: value}))
    at = ["--config", str(whole / "config.yaml"), "--ckpt_path", str(whole / "checkpoints" / "last.ckpt")]
    for command in ("validate", "test"):
        seen.clear()
        run_lightning(command, at)
        for name in ("val/loss", "val/psnr", "val/usage", "val/perplexity"):
            assert seen[name] == pytest.approx(read_metrics(whole)[name][1][-1], rel=1e-4)


def test_codes_that_no_training_picture_has_are_dropped(pictures, tmp_path):
    same = ["--model.quantizer=fsq", "--model.levels=[5,5,5]", "--trainer.max_steps=4"]
    full, dropped = (
        load_codec(fit(pictures, tmp_path, f"drop-{drop}", *same, f"--model.drop_unused={drop}")).codec
        for drop in ("false", "true")
    )
    held, train = (pixels_to_tensor(found) for found in held_out(pictures))
    used = full.encode(train).unique()
    assert full.codebook_size == 125
    assert 1 < len(used) < 125
    assert dropped.kept.tolist() == used.tolist()
    assert dropped.encode(train).unique().tolist() == list(range(len(used)))
    assert torch.equal(dropped.decode(dropped.encode(train)), full.decode(full.encode(train)))
    assert int(dropped.encode(held).max()) < len(used)


def test_gumbel_in_pieces_and_bfloat16(pictures, tmp_path):
    extra = ["--model.quantizer=gumbel", "--model.likelihood=logit-laplace", "--model.optimizer=adamw"]
    extra += ["--trainer.precision=bf16-mixed", "--trainer.accumulate_grad_batches=2", "--trainer.max_steps=6"]
    metrics = read_metrics(fit(pictures, tmp_path, "run", *extra))
    assert metrics["train/loss"][1][-1] < metrics["train/loss"][1][0]


def test_ddp_leaves_the_buffers_alone(pictures, tmp_path, monkeypatch):
    """It would send them in validation, too, and wait for processes without a held-out batch."""
    trained = []
    monkeypatch.setattr(ImageCodecModule, "on_train_end", lambda self: trained.append(self))
    fit(pictures, tmp_path, "run", "--trainer.max_steps=6")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(trained[0])
    finally:
        dist.destroy_process_group()
    assert len(list(wrapped.module.buffers())) == 7
    assert wrapped.modules_buffers == []


@pytest.mark.slow
def test_two_processes_are_one(pictures, tmp_path):
    """Also where one of them has no held-out batch to look at."""
    same = ["--model.quantizer=fsq", "--model.optimizer=adamw"]
    same += ["--trainer.max_steps=8", "--trainer.val_check_interval=4"]
    one = fit(pictures, tmp_path, "one", *same)
    two = arguments(pictures, tmp_path, "two", *same, "--trainer.strategy=ddp", "--trainer.devices=2")
    done = subprocess.run(
        [sys.executable, "-m", "helicon", "fit", *two],
        timeout=240, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected, found = read_metrics(one), read_metrics(tmp_path / "two")
    assert found.keys() == expected.keys()
    for name in ("train/loss", "val/loss", "val/psnr"):
        assert found[name][0] == expected[name][0]
        assert found[name][1] == pytest.approx(expected[name][1], rel=1e-3)
    assert found["train/usage"][1] == pytest.approx(expected["train/usage"][1], rel=0.1)


def test_nothing_held_out(pictures, tmp_path):
    run = fit(pictures, tmp_path, "run", "--data.val_split=0", "--samples=true")
    assert read_metrics(run).keys() == {"train/loss", "train/usage", "train/perplexity"}
    assert load_codec(run).notes["step"] == 20
    assert (run / "samples" / "step-000007-reconstructions.png").is_file()
    for command in ("validate", "test"):
        with pytest.raises(TrainingError, match=r"^no validation files to measure; two files or more, and"):
            run_lightning(command, [f"--config={run / 'config.yaml'}", "--ckpt_path=last"])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("--data.size=18", r"--data.size 18 is not a multiple of --model.factor 4"),
        ("--data.batch_size=0", r"--data.batch_size must be 1 or more, got 0"),
        ("--model.width=12", r"width must be a multiple of 8"),
        ("--model.quantizer=lfq", r"^--model.quantizer: unknown quantizer 'lfq'; nearest: fsq"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_there_is_a_run(pictures, tmp_path, extra, message):
    with pytest.raises(ValueError, match=message):
        fit(pictures, tmp_path, "run", extra)
    assert not (tmp_path / "run").exists()
