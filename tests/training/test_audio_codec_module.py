"""Training a codec of sound in miniature: what it logs and leaves behind, and that a resumed run is the whole one."""

from __future__ import annotations

import os
import subprocess
import sys
from math import isfinite
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import signalled_at, weights

from helicon.data.config import AudioDataConfig
from helicon.formats.audio import Sound, read_audio, write_audio
from helicon.formats.spectra import mel_distance, si_sdr
from helicon.modalities.audio import open_codes
from helicon.training.codecs.audio_data import MAX_SOUND_S, MAX_VAL_S, AudioData, folder_rate
from helicon.training.learning.base import RunModule
from helicon.training.resuming import resumed_config
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.training.runs.metrics import read_metrics
from helicon.training.settings.hops import parse_hops
from helicon.training.stopping import Interrupted
from helicon.vqvae.audio_codec import AudioCodec, AudioCodecLevel
from helicon.vqvae.storage import load_codec

WINDOW = 256
TINY = [
    "--model.hops=4,16", "--model.width=8", "--model.depth=1", "--model.codes=16", "--model.code_width=4",
    f"--data.window={WINDOW}", "--data.batch_size=8", "--data.val_split=0.3", "--trainer.accelerator=cpu",
    "--trainer.max_steps=20", "--trainer.val_check_interval=7", "--trainer.log_every_n_steps=1", "--samples=false",
]  # fmt: skip


def tone(samples: int, seed: int, rate: int = 8000, channels: int = 1) -> Sound:
    """Of a pitch of its own, with a little noise; the second channel is softer."""
    rng = np.random.default_rng(seed)
    wave = 0.4 * np.sin(2 * np.pi * rng.uniform(200, 900) * np.arange(samples) / rate) + rng.normal(0, 0.02, samples)
    return Sound((wave[:, None] / np.arange(1, channels + 1)).astype(np.float32), rate)


def silence(samples: int) -> Sound:
    return Sound(np.zeros((samples, 1), np.float32), 8000)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Twenty-four tones of 100 to 1,500 samples, a quarter of them shorter than a window."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(24):
        write_audio(tone([100, 700, 1100, 1500][number % 4] + number, number), folder / f"{number}.wav")
    return folder


def arguments(sounds: Path, runs: Path, name: str, *extra: str) -> list[str]:
    """Arguments of `helicon fit`; a later one wins."""
    where = ["--config", "audio-codec", "--data.path", str(sounds), "--runs", str(runs), "--name", name]
    return [*where, *TINY, *extra]


def fit(sounds: Path, runs: Path, name: str, *extra: str) -> Path:
    """The folder of a finished run."""
    return run_lightning("fit", arguments(sounds, runs, name, *extra)).run_folder


@pytest.fixture(scope="module")
def whole(sounds, tmp_path_factory) -> Path:
    """An uninterrupted run."""
    return fit(sounds, tmp_path_factory.mktemp("whole"), "run", "--samples=true")


def held_out(sounds: Path) -> AudioData:
    """The data that runs here have, opened."""
    data = AudioData(AudioDataConfig(path=str(sounds), window=WINDOW, val_split=0.3))
    data.setup("fit")
    return data


def levels(codec: AudioCodec) -> list[AudioCodecLevel]:
    return [codec.level(number) for number in range(len(codec.levels))]


def codec_of(run: Path) -> AudioCodec:
    codec = load_codec(run).codec
    assert isinstance(codec, AudioCodec)
    return codec


def test_what_is_logged(whole):
    metrics = read_metrics(whole)
    assert metrics["train/loss"][0] == list(range(20))
    assert metrics["train/loss"][1][-1] < metrics["train/loss"][1][0]
    sides = {f"{side}/{name}-{hop}" for side in ("val", "train") for name in ("usage", "perplexity") for hop in (4, 16)}
    quality = {f"val/{name}-{hop}" for name in ("si_sdr", "mel_distance") for hop in (4, 16)}
    assert metrics.keys() == {"train/loss", "val/loss"} | sides | quality
    for name in sides | quality | {"val/loss"}:
        assert metrics[name][0] == [6, 13, 19]
        assert all(map(isfinite, metrics[name][1]))
    for side in ("val", "train"):
        for hop in (4, 16):
            for usage, perplexity in zip(metrics[f"{side}/usage-{hop}"][1], metrics[f"{side}/perplexity-{hop}"][1]):
                assert 0 < usage <= 1 <= perplexity <= 16 * usage


def test_one_level_needs_no_name(sounds, tmp_path):
    metrics = read_metrics(fit(sounds, tmp_path, "run", "--model.hops=8", "--trainer.max_steps=7"))
    names = {"val/loss", "val/si_sdr", "val/mel_distance", "val/usage", "val/perplexity"}
    assert metrics.keys() == {"train/loss", *names, "train/usage", "train/perplexity"}


def test_the_best_codec_is_kept_and_is_as_good_as_was_logged(whole, sounds):
    kept, metrics, data = load_codec(whole), read_metrics(whole), held_out(sounds)
    best = metrics["val/loss"][1].index(min(metrics["val/loss"][1]))
    assert len(data.val) >= 3
    losses = []
    for level in levels(codec_of(whole)):
        error = energy = 0.0
        ratios, distances, used = [], [], set()
        for example in data.val:
            before = data.sounds.stretch(int(example))
            codes = level.encode_long(before)
            after = level.decode_long(codes)[:, : before.shape[1]]
            error, energy = error + float((after - before).square().sum()), energy + float(before.square().sum())
            ratios.append(float(si_sdr(before, after)))
            distances.append(float(mel_distance(before, after, 8000)))
            used |= set(codes.tolist())
        losses.append(error / energy)
        logged = {name: metrics[f"val/{name}-{level.hop}"][1][best] for name in ("si_sdr", "mel_distance", "usage")}
        assert np.mean(ratios) == pytest.approx(logged["si_sdr"], abs=1e-3)
        assert np.mean(distances) == pytest.approx(logged["mel_distance"], rel=1e-4)
        assert len(used) / 16 == pytest.approx(logged["usage"])
    assert np.mean(losses) == pytest.approx(metrics["val/loss"][1][best], rel=1e-4)
    assert kept.notes["step"] == metrics["val/loss"][0][best] + 1
    assert kept.notes["val_loss"] == pytest.approx(metrics["val/loss"][1][best])


def test_the_model_is_a_tokenizer(whole, sounds):
    kept = load_codec(whole)
    assert (kept.medium, kept.reading) == ("audio", {"rate": 8000, "channels": 1})
    sound = read_audio(sounds / "2.wav", 8000)[0]  # of 1,102 samples
    for name, hop, codes in (("model", 16, 69), ("model@1", 16, 69), ("model@0", 4, 276)):
        tokenizer = open_codes(whole / name)
        assert tokenizer is not None
        assert (tokenizer.hop, len(tokenizer.block), tokenizer.rate) == (hop, 16, 8000 / hop)
        assert len(tokenizer.encode(sound)) == codes
        assert len(tokenizer.decode(tokenizer.encode(sound))) == codes * hop


def test_nets_see_the_sounds_at_a_deviation_of_one(whole, sounds):
    data = held_out(sounds)
    windows = data.sample(256)
    heard = windows[:, :1][windows[:, 1:] == 1]
    for level in levels(codec_of(whole)):
        assert float(level.scale) == pytest.approx(float(heard.square().mean().sqrt()), rel=1e-4)


def test_samples_can_be_listened_to(whole, sounds):
    data = held_out(sounds)
    shown = data.examples(4)
    names = {f"{number}-{name}.wav" for number in range(len(shown)) for name in ("before", "hop4", "hop16")}
    written = sorted(path.name for path in (whole / "samples").iterdir())
    assert {name.removeprefix("step-000007-") for name in written if name.startswith("step-000007")} == names
    for number, example in enumerate(shown):
        lengths = {}
        for name in ("before", "hop4", "hop16"):
            sound = read_audio(whole / "samples" / f"step-000007-{number}-{name}.wav", None)[0]
            lengths[name] = (len(sound), sound.rate)
            if name == "before":
                assert torch.equal(torch.from_numpy(sound.samples.T), data.sounds.stretch(int(example)))
        assert set(lengths.values()) == {(int(data.sounds.lengths[example]), 8000)}


# Step 2 is before there are codebooks, step 6 ends with a validation
@pytest.mark.parametrize("step", [2, 6])
def test_a_stopped_and_resumed_run_is_equal_to_the_bit(whole, sounds, tmp_path, step):
    with signalled_at(step), pytest.raises(Interrupted):
        fit(sounds, tmp_path, "stopped")
    stopped = tmp_path / "stopped"
    assert read_checkpoint(stopped / "checkpoints" / "last.ckpt")["global_step"] == step + 1
    torch.manual_seed(step)  # whatever the new process' generator holds
    assert run_lightning("fit", resumed_config(stopped)).run_folder == stopped
    assert read_metrics(stopped) == read_metrics(whole)
    expected = weights(whole)
    for level in (0, 1):
        of_ema = {f"codec.levels.{level}.quantizer.{name}" for name in ("latent_buffer", "latents_seen", "embed_avg")}
        assert of_ema | {f"codec.levels.{level}.scale"} < expected.keys()
    assert weights(stopped).keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(stopped).items())
    assert load_codec(stopped).fingerprint() == load_codec(whole).fingerprint()


def test_a_checkpoint_is_measured(whole, monkeypatch):
    seen = {}
    monkeypatch.setattr(RunModule, "log", lambda self, name, value, **how: seen.update({name: value}))
    at = ["--config", str(whole / "config.yaml"), "--ckpt_path", str(whole / "checkpoints" / "last.ckpt")]
    for command in ("validate", "test"):
        seen.clear()
        run_lightning(command, at)
        for name in ("val/loss", "val/si_sdr-4", "val/mel_distance-16", "val/usage-4", "val/perplexity-16"):
            assert seen[name] == pytest.approx(read_metrics(whole)[name][1][-1], rel=1e-4)


def test_codes_that_no_sound_to_train_on_has_are_dropped(sounds, tmp_path):
    same = ["--model.quantizer=fsq", "--model.levels=[5,5,5]", "--trainer.max_steps=4", "--model.hops=16,64"]
    full, dropped = (
        codec_of(fit(sounds, tmp_path, f"drop-{drop}", *same, f"--model.drop_unused={drop}"))
        for drop in ("false", "true")
    )
    data = held_out(sounds)
    for whole, fewer in zip(levels(full), levels(dropped)):
        train = [data.sounds.stretch(int(example)) for example in data.train]
        used = torch.cat([whole.encode_long(sound) for sound in train]).unique()
        assert whole.codebook_size == 125
        assert 1 < len(used) < 125
        assert fewer.kept.tolist() == used.tolist()
        for sound in train:
            expected = whole.decode_long(whole.encode_long(sound))
            assert torch.equal(fewer.decode_long(fewer.encode_long(sound)), expected)
        for example in data.val:
            assert int(fewer.encode_long(data.sounds.stretch(int(example))).max()) < len(used)


def test_stereo_by_gumbel_in_pieces_and_bfloat16(tmp_path):
    for number in range(12):
        write_audio(tone(900, number, channels=2), tmp_path / "stereo" / f"{number}.wav")
    extra = ["--data.channels=2", "--model.quantizer=gumbel", "--model.optimizer=adamw", "--samples=true"]
    extra += ["--trainer.precision=bf16-mixed", "--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=6"]
    run = fit(tmp_path / "stereo", tmp_path, "run", *extra, "--trainer.max_steps=6")
    metrics = read_metrics(run)
    assert metrics["train/loss"][1][-1] < metrics["train/loss"][1][0]
    assert load_codec(run).reading == {"rate": 8000, "channels": 2}
    assert codec_of(run).config.channels == 2
    samples = sorted((run / "samples").glob("step-000003-0-*.wav"))
    assert [read_audio(path, None, None)[0].samples.shape for path in samples] == [(900, 2)] * 3


def test_sounds_that_are_all_shorter_than_a_window(tmp_path):
    for number in range(12):
        write_audio(tone(1 + 7 * number, number), tmp_path / "short" / f"{number}.wav")
    run = fit(tmp_path / "short", tmp_path, "run")
    metrics = read_metrics(run)
    assert metrics["train/loss"][1][-1] < metrics["train/loss"][1][0]
    assert all(isfinite(value) for _, values in metrics.values() for value in values)
    data = held_out(tmp_path / "short")
    assert len(data.make_batches(0, 1).epochs) == len(data.train)  # a window of each


def test_silence_among_what_is_held_out_has_no_ratio(sounds, tmp_path):
    folder = tmp_path / "some"
    for number in range(24):
        write_audio(silence(600) if number % 3 == 0 else tone(600, number), folder / f"{number}.wav")
    data = held_out(folder)
    silent = [int(example) for example in data.val if not data.sounds.stretch(int(example)).any()]
    assert 0 < len(silent) < len(data.val)
    run = fit(folder, tmp_path, "run")
    metrics, codec = read_metrics(run), codec_of(run)
    assert all(isfinite(value) for _, values in metrics.values() for value in values)
    best = metrics["val/loss"][1].index(min(metrics["val/loss"][1]))
    loud = [data.sounds.stretch(int(example)) for example in data.val if int(example) not in silent]
    made = [codec.level(0).decode_long(codec.level(0).encode_long(each)) for each in loud]
    ratios = [float(si_sdr(each, after[:, : each.shape[1]])) for each, after in zip(loud, made)]
    assert metrics["val/si_sdr-4"][1][best] == pytest.approx(np.mean(ratios), abs=1e-3)


def test_nothing_but_silence(tmp_path):
    for number in range(12):
        write_audio(silence(600 + number), tmp_path / "silent" / f"{number}.wav")
    run = fit(tmp_path / "silent", tmp_path, "run")
    metrics = read_metrics(run)
    assert "val/loss" not in metrics
    assert {"val/usage-4", "val/perplexity-16"} < metrics.keys()
    assert all(isfinite(value) for _, values in metrics.values() for value in values)
    assert load_codec(run).notes["step"] == 20


def test_nothing_held_out(sounds, tmp_path):
    run = fit(sounds, tmp_path, "run", "--data.val_split=0", "--samples=true")
    assert not any(name.startswith("val/") for name in read_metrics(run))
    assert load_codec(run).notes["step"] == 20
    assert (run / "samples" / "step-000007-3-hop16.wav").is_file()


@pytest.mark.slow
def test_two_processes_are_one(sounds, tmp_path):
    same = ["--model.quantizer=fsq", "--model.optimizer=adamw"]
    same += ["--trainer.max_steps=8", "--trainer.val_check_interval=4"]
    one = fit(sounds, tmp_path, "one", *same)
    two = arguments(sounds, tmp_path, "two", *same, "--trainer.strategy=ddp", "--trainer.devices=2")
    done = subprocess.run(
        [sys.executable, "-m", "helicon", "fit", *two],
        timeout=240, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected, found = read_metrics(one), read_metrics(tmp_path / "two")
    assert found.keys() == expected.keys()
    for name in ("val/loss", "val/si_sdr-4", "val/mel_distance-16"):
        assert found[name][0] == expected[name][0]
        assert found[name][1] == pytest.approx(expected[name][1], rel=2e-2)


@pytest.mark.parametrize(
    ("hops", "rate", "expected"),
    [
        (None, 8000, (16,)),
        (None, 16_000, (32,)),
        (None, 22_050, (64,)),
        (None, 44_100, (128,)),
        (None, 100, (4,)),
        ("auto", 8000, (16,)),
        ("auto:1", 44_100, (128,)),
        ("auto:2", 8000, (16, 64)),
        ("auto:3", 8000, (4, 16, 64)),
        ("auto:3", 44_100, (32, 128, 512)),
        ("auto:4", 8000, (4, 16, 64, 256)),
        ("auto:2", 100, (4, 16)),
        ("8,32,128", 44_100, (8, 32, 128)),
        ("[8, 32]", 8000, (8, 32)),
        ("15", 8000, (15,)),
        (15, 8000, (15,)),
        ([8, 32], 8000, (8, 32)),
    ],
)
def test_hops_are_read(hops, rate, expected):
    assert parse_hops(hops, rate) == expected


@pytest.mark.parametrize("hops", ["x", "8,x", "8,,32", "auto:0", "auto:x", "auto:2,8", "auto:-1", "8.5", "-8", "8;32"])
def test_hops_that_cannot_be_read(hops):
    with pytest.raises(ValueError, match=r"--model.hops .*: numbers such as 8,32,128, or auto:N, are accepted"):
        parse_hops(hops, 8000)


@pytest.mark.parametrize(
    ("words", "hops"),
    [
        (["--model.hops", "8,32"], (8, 32)),
        (["--model.hops=8,32"], (8, 32)),
        (["--model.hops", "[8,32]"], (8, 32)),
        (["--model.hops", "8"], (8,)),
        (["--model.hops", "auto:2"], (16, 64)),
        ([], (16,)),
    ],
)
def test_hops_on_the_command_line(sounds, words, hops):
    config = HeliconCLI("fit", ["--config", "audio-codec", "--data.path", str(sounds), *words])
    assert config.model.codec_config(config.datamodule).hops == hops


def test_the_rate_is_that_of_most_files(tmp_path):
    for name, rate in {"a": 8000, "b": 16_000, "c": 8000, "d/e": 44_100}.items():
        write_audio(tone(100, 0, rate), tmp_path / f"{name}.wav")
    assert folder_rate(tmp_path) == 8000
    assert AudioData(AudioDataConfig(path=str(tmp_path))).reading == {"rate": 8000, "channels": 1}
    assert AudioData(AudioDataConfig(path=str(tmp_path), rate=11_025)).reading == {"rate": 11_025, "channels": 1}
    write_audio(tone(100, 0, 16_000), tmp_path / "f.wav")
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    assert folder_rate(tmp_path) == 16_000  # the higher of two as common
    (tmp_path / "list.csv").write_text("file\nd/e.wav\nb.wav\nd/e.wav\n")
    assert folder_rate(tmp_path, tmp_path / "list.csv") == 44_100


def test_the_rate_is_looked_up_in_files_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr("helicon.training.codecs.audio_data.MAX_PROBED", 4)
    for number in range(7):
        write_audio(tone(10, 0, 8000 if number < 3 else 16_000), tmp_path / f"{number}.wav")
    assert folder_rate(tmp_path) == 16_000


def test_a_resumed_run_keeps_its_rate(sounds):
    data = AudioData(AudioDataConfig(path=str(sounds), rate=4000))
    state = data.state_dict()
    again = AudioData(AudioDataConfig(path=str(sounds)))
    again.restore(state)
    again.setup("fit")
    assert again.reading == {"rate": 4000, "channels": 1}
    assert again.sounds.lengths.max() == 762  # of 1,523 samples at 8,000 a second
    assert again.seconds == pytest.approx(again.sounds.lengths[again.train].sum() / 4000)


def test_a_validation_listens_to_some_minutes(tmp_path):
    for number in range(30):
        write_audio(tone(100 * (25 if number % 2 else 5), number, 100), tmp_path / f"{number:02}.wav")
    data = AudioData(AudioDataConfig(path=str(tmp_path), val_split=0.9))
    data.setup("fit")
    batches = data.make_val_batches()
    seconds = [batch.shape[-1] / 100 for batch in batches]
    assert all(batch.shape[:2] == (1, 1) for batch in batches)
    assert set(seconds) == {5, MAX_SOUND_S}
    assert MAX_VAL_S / 2 <= sum(seconds) <= 1.5 * MAX_VAL_S
    assert len(batches) < len(data.val)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--data.window=1000"], r"--data.window 1000 is not a multiple, at least 4 times, of the top hop 16"),
        (["--data.window=48"], r"--data.window 48 is not a multiple, at least 4 times, of the top hop 16"),
        (["--data.window=0"], r"--data.window and --data.rate must be 1 or more, got 0 and None"),
        (["--data.rate=0"], r"--data.window and --data.rate must be 1 or more, got 256 and 0"),
        (["--data.rate=50"], r"50 samples a second: 100 to 768,000 are accepted"),
        (["--data.channels=3"], r"--data.channels must be 1 or 2, got 3"),
        (["--data.batch_size=0"], r"--data.batch_size must be 1 or more, got 0"),
        (["--model.hops=loud"], r"--model.hops loud: numbers such as 8,32,128, or auto:N, are accepted"),
        (["--model.hops=8,12"], r"hops must rise, each a multiple of the one before, got \[8, 12\]"),
        (["--model.hops=32,8"], r"hops must rise, each a multiple of the one before, got \[32, 8\]"),
        (["--model.hops=7"], r"a hop must be a product of 2, 3 and 5 above 1, got 7"),
        (["--model.hops=0"], r"hops 0: a whole number from 2 to 16,384 is accepted"),
        (["--model.width=0"], r"width 0: a whole number from 1 to 16,384 is accepted"),
        (["--model.quantizer=lfq"], r"^--model.quantizer: unknown quantizer 'lfq'; nearest: fsq"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_there_is_a_run(sounds, tmp_path, extra, message):
    with pytest.raises(ValueError, match=message):
        fit(sounds, tmp_path, "run", *extra)
    assert not (tmp_path / "run").exists()


def test_folders_without_sounds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        fit(tmp_path / "nowhere", tmp_path, "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no files to train on; accepted suffixes are audio: .*\.flac.*\.wav"):
        fit(tmp_path / "empty", tmp_path, "run")
    (tmp_path / "empty" / "a.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"none of 1 sounds could be opened; say --data.rate to see why"):
        fit(tmp_path / "empty", tmp_path, "run")
    with pytest.raises(ValueError, match=r"none of 1 files .* can be used; .*a.wav: not a sound file"):
        fit(tmp_path / "empty", tmp_path, "run", "--data.rate=8000")
    assert not (tmp_path / "run").exists()
