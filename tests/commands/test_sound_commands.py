"""A codec of sound on the command line: trained, listened to, and used by a model of sound."""

from __future__ import annotations

import gc
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import error_of
from sound_bundles import noise, sound_bundle, sound_codec
from tiny_bundles import text_bundle

import helicon
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.evaluation.sound_roundtrip import StreamingSISDR
from helicon.formats.audio import Sound, read_audio, write_audio, write_blocks
from helicon.formats.image import read_image
from helicon.formats.spectra import si_sdr
from helicon.pages import codec_page
from helicon.training.runs.metrics import read_metrics
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.storage import load_codec, save_codec

TINY = [
    "--model.width", "8", "--model.depth", "1", "--model.codes", "16", "--model.hops", "4,16", "--data.window", "256",
    "--data.batch_size", "8", "--data.val_split", "0.3", "--trainer.accelerator", "cpu", "--trainer.max_steps", "12",
    "--trainer.val_check_interval", "6", "--trainer.log_every_n_steps", "1",
]  # fmt: skip
GPT = [
    "--model.layers", "1", "--model.width", "16", "--model.heads", "1", "--data.batch_size", "4",
    "--trainer.accelerator", "cpu", "--trainer.max_steps", "2", "--samples", "false",
]  # fmt: skip

ROUNDING = 1 / 32768 + 1e-6  # of 16 bits, which have no 1.0


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """A folder to work in, with sixteen sounds of 800 to 875 samples and a broken one; caches are there, too."""
    folder = tmp_path_factory.mktemp("home")
    for number in range(16):
        write_audio(noise(800 + 5 * number, number), folder / "sounds" / f"{number}.wav")
    (folder / "sounds" / "broken.wav").write_bytes(b"no sound")
    save_codec(sound_codec(), folder / "random")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELICON_CACHE", str(folder / "cache"))
        patch.setattr(codec_page, "SHOWN_SOUNDS", 2)
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """A codec of a few steps, as `helicon train` leaves it."""
    assert main(["train", "audio-codec", "sounds", "--name", "codec", "--minutes", "1", *TINY]) == 0
    return home / "runs" / "codec"


def shape(path: Path) -> tuple[int, int, int]:
    """(samples a second, channels, samples) of a WAV file of 16 bits."""
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        return file.getframerate(), file.getnchannels(), file.getnframes()


def codec_at(path: Path) -> AudioCodec:
    codec = load_codec(path).codec
    assert isinstance(codec, AudioCodec)
    return codec


def through(codec: AudioCodec, level: int, sound: Sound) -> tuple[torch.Tensor, torch.Tensor]:
    """A sound [C, S] and what a level makes of it, all at once."""
    before = torch.from_numpy(sound.samples.T.copy())
    codes = codec.level(level).encode(before[None])
    return before, codec.level(level).decode(codes)[0, :, : before.shape[1]]


def test_a_codec_is_trained_and_can_be_listened_to(run: Path) -> None:
    page = (run / "index.html").read_text(encoding="utf-8")
    written = sorted(path.name for path in (run / "reconstructions").iterdir())
    assert {name.partition("-")[2] for name in written} == {"before.wav", "hop4.wav", "hop16.wav"}
    assert page.count("<audio") == len(written) == 6
    assert all(f'src="reconstructions/{name}"' in page for name in written)
    for name in ("spectrograms.png", "si-sdr.png", "mel.png", "codes.png"):
        assert f'src="{name}"' in page
        read_image(run / name)
    for words in ("helicon reconstruct", "helicon train text-to-audio", "--data.tokenizer", "16 read, 1 skipped"):
        assert words in page
    figures = read_metrics(run)
    for hop in (4, 16):
        assert f"hop {hop}: SI-SDR {figures[f'val/si_sdr-{hop}'][1][-1]:.2f} dB" in page
    assert load_codec(run).fingerprint() in page
    before, hop_4 = (read_audio(run / "reconstructions" / f"0-{name}.wav")[0] for name in ("before", "hop4"))
    assert np.abs(hop_4.samples - through(codec_at(run), 0, before)[1].numpy().T).max() <= ROUNDING


def test_training_says_what_it_does(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--name", "told", "--trainer.max_steps", "1", "--model.quantizer", "fsq", "--model.levels", "[4,2]"]
    words += ["--model.hops", "auto:2"]
    assert main(["train", "audio-codec", "sounds", "--minutes", "1", *TINY, *words]) == 0
    said = capsys.readouterr().err
    for word in (
        "8,000 samples a second to 500, 125 of 8 codes",
        "helicon fit --config runs/told/config.yaml",
        "hop 16: SI-SDR",
        "hop 64: SI-SDR",
        "s of sound/s",
        "told/index.html",
        "helicon reconstruct",
    ):
        assert word in said


def test_sounds_through_a_codec_and_a_bad_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(Sound(np.tile(noise(1102, 3).samples, 2), 11_025), home / "other.wav")
    files = ["sounds/3.wav", "sounds/broken.wav", "other.wav", "nowhere.wav"]
    assert main(["reconstruct", "random", *files, "-o", "out/deeper"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("sounds/3.wav: hop 4: SI-SDR ")
    assert said[2].startswith("helicon: sounds/broken.wav: not a sound file")
    assert said[3] == "repaired   other.wav: 1 sounds of more than 8,000 Hz (resampled)"
    assert said[6] == "helicon: nowhere.wav: No such file or directory"
    assert said[7].startswith("wrote 4 to out/deeper")

    out, codec = home / "out" / "deeper", codec_at(home / "random")
    names = [f"{place}-hop{hop}.wav" for place in ("000-3", "002-other") for hop in (4, 16)]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "reconstruct.json", "spectrograms.png"])
    report = json.loads((out / "reconstruct.json").read_text())
    assert report["model"] == "random"
    sources = ["sounds/3.wav", "sounds/3.wav", "other.wav", "other.wav"]
    for number, (entry, name, source) in enumerate(zip(report["sounds"], names, sources)):
        sound = read_audio(source, 8000)[0]
        assert shape(out / name) == (8000, 1, len(sound))
        before, after = through(codec, number % 2, sound)
        assert np.abs(read_audio(out / name)[0].samples.T - after.numpy()).max() <= ROUNDING
        assert entry["si_sdr"] == pytest.approx(float(si_sdr(before, after)), abs=1e-2)
        assert (entry["file"], entry["written"], entry["hop"]) == (source, name, (4, 16)[number % 2])
        assert entry["codes"] == -(-len(sound) // entry["hop"])
        assert entry["seconds"] == pytest.approx(len(sound) / 8000)
    (found,) = helicon.reconstruct("random", ["other.wav"], level=1)
    assert (found.figures["si_sdr"], found.codes) == (report["sounds"][3]["si_sdr"], report["sounds"][3]["codes"])
    assert np.abs(read_audio(out / names[3])[0].samples - found.after.samples).max() <= ROUNDING
    assert len(read_audio("other.wav", 8000)[0]) == 800  # of 1,102 samples at 11,025 a second
    read_image(out / "spectrograms.png")


@pytest.mark.parametrize("samples", [1, 15, 16, 17, 8001, 80_001])
def test_one_sound_to_one_file_has_every_sample(home: Path, samples: int) -> None:
    write_audio(noise(samples), home / "in.wav")
    assert main(["reconstruct", "random", "in.wav", "-o", "fine.wav"]) == 0
    assert main(["reconstruct", "random", "in.wav", "-o", "coarse.wav", "--level", "1"]) == 0
    sound = read_audio(home / "in.wav")[0]
    for level, name in enumerate(("fine.wav", "coarse.wav")):
        assert shape(home / name) == (8000, 1, samples)
        after = through(codec_at(home / "random"), level, sound)[1]
        assert np.abs(read_audio(home / name)[0].samples.T - after.numpy()).max() <= ROUNDING


def test_one_level_of_several(home: Path) -> None:
    assert main(["reconstruct", "random", "sounds/1.wav", "--level", "1", "-o", "top"]) == 0
    assert sorted(path.name for path in (home / "top").glob("*.wav")) == ["000-1-hop16.wav"]


def test_a_file_is_left_alone_when_the_sound_is_bad(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(noise(10), home / "kept.wav")
    before = (home / "kept.wav").read_bytes()
    assert main(["reconstruct", "random", "sounds/broken.wav", "-o", "kept.wav"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "helicon: none of the sounds could be read"
    assert (home / "kept.wav").read_bytes() == before


def test_what_cannot_be_reconstructed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "a-file").write_text("")
    (home / "a-folder.wav").mkdir()
    first, second = "sounds/1.wav", "sounds/2.wav"
    for args, message in (
        ([first, second, "-o", "o.wav"], "-o o.wav: one file for 2; a folder is needed"),
        ([first, "-o", "a-file"], "-o a-file: is a file, a folder is needed"),
        ([first, "-o", "a-folder.wav"], "-o a-folder.wav: is a folder"),
        ([first, "--level", "2"], "--level 2: this codec has levels 0 (the finest) to 1"),
        ([first, "--level", "-1"], "--level -1: this codec has levels 0 (the finest) to 1"),
    ):
        assert message in error_of(capsys, 2, "reconstruct", "random", *args)
    save_bundle(text_bundle(), home / "text")
    assert "a model without pictures or sound" in error_of(capsys, 2, "reconstruct", "text", first)
    save_bundle(sound_bundle(tokenizer="mulaw"), home / "mulaw")
    assert "mulaw: a model of samples as they are" in error_of(capsys, 2, "reconstruct", "mulaw", first)


def test_a_model_carries_its_codec(run: Path, home: Path) -> None:
    words = ["--data.path", "sounds", "--name", "model", "--data.tokenizer", "runs/codec", *GPT]
    assert main(["fit", "--config", "audio", *words]) == 0
    tokenizer = load_bundle(home / "runs" / "model").sequencer.tokenizers["audio"]
    told = tokenizer.describe()
    assert (told["codec"], told["level"], told["hop"]) == (load_codec(run).fingerprint(), 1, 16)
    for model in ("model", "codec"):
        assert main(["reconstruct", f"runs/{model}", "sounds/3.wav", "-o", f"by-{model}"]) == 0
    for name in ("000-3-hop4.wav", "000-3-hop16.wav"):
        assert (home / "by-model" / name).read_bytes() == (home / "by-codec" / name).read_bytes()
    assert main(["generate", "runs/model", "--seconds", "0.1", "-n", "2", "-o", "made"]) == 0
    assert shape(home / "made" / "001.wav") == (8000, 1, 800)


def test_stereo_stays_stereo(home: Path) -> None:
    for number in range(8):
        write_audio(Sound(noise(1400, number).samples.reshape(-1, 2), 8000), home / "stereo" / f"{number}.wav")
    options = [*TINY, "--data.channels", "2", "--model.quantizer", "fsq", "--model.levels", "[4,2]"]
    assert main(["train", "audio-codec", "stereo", "--name", "wide", "--minutes", "1", *options]) == 0
    assert shape(home / "runs" / "wide" / "reconstructions" / "0-hop16.wav") == (8000, 2, 700)
    assert "stereo" in (home / "runs" / "wide" / "index.html").read_text(encoding="utf-8")
    assert main(["reconstruct", "runs/wide", "stereo/0.wav", "sounds/0.wav", "-o", "both"]) == 0
    report = json.loads((home / "both" / "reconstruct.json").read_text())["sounds"]
    for entry, level in zip(report, (0, 1, 0, 1)):
        sound = read_audio(entry["file"], 8000, 2)[0]
        assert shape(home / "both" / entry["written"]) == (8000, 2, len(sound))
        before, after = through(codec_at(home / "runs" / "wide"), level, sound)
        assert entry["si_sdr"] == pytest.approx(float(si_sdr(before, after).mean()), abs=1e-2)


def pair(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A sound [C, S] and one that it is compared to."""
    x, y = (torch.from_numpy(noise(5000, seed).samples.reshape(1, -1)) for seed in (1, 2))
    still = torch.zeros_like(x)
    return {
        "noise": (x, x + 0.3 * y),
        "another": (x, y),
        "softer": (x, 0.01 * x),
        "upside down": (x, -x),
        "beside zero": (x + 0.5, x + 0.1 * y - 0.7),
        "silent": (still, still),
        "silent but for an offset": (still + 0.25, still - 0.1),
        "made of silence": (still, y),
        "lost": (x, still),
        "stereo": (torch.cat([x, y]), torch.cat([x + y, y + 0.1 * x])),
        "stereo, one silent": (torch.cat([x, still]), torch.cat([x + y, still])),
        "a sample": (x[:, :1], y[:, :1]),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "noise", "another", "softer", "upside down", "beside zero", "silent", "silent but for an offset",
        "made of silence", "lost", "stereo", "stereo, one silent", "a sample",
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [7, 640, 10_000])
def test_the_ratio_of_streams_is_that_of_the_whole(kind: str, block: int) -> None:
    before, after = pair(kind)
    ratio = StreamingSISDR(len(before))
    heard, parts, waiting = iter(before.split(block, -1)), [], 0
    for made in torch.nn.functional.pad(after, (0, 5)).split(16, -1):  # 5 samples too many, as a last hop has
        while waiting < made.shape[-1] and (more := next(heard, None)) is not None:
            ratio.add_original(more)
            waiting += more.shape[-1]
        parts.append(ratio.add_decoded(made))
        waiting -= parts[-1].shape[-1]
    assert torch.equal(torch.cat(parts, -1), after)
    assert ratio.samples == before.shape[-1]
    assert ratio.si_sdr() == pytest.approx(float(si_sdr(before.double(), after.double()).mean()), abs=1e-3)


def peak_mb(args: list[str]) -> float:
    """Most memory that a command takes beside what there was."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = memory_mb("VmRSS")
    assert main(args) == 0
    return memory_mb("VmHWM") - before


def memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def test_memory_does_not_grow_with_the_length(home: Path) -> None:
    """Ten minutes at 8,000 samples a second are 18 MB as float32."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("no /proc/self/clear_refs, which tells peaks of memory")
    rng, minutes = np.random.default_rng(0), {"short": 1, "long": 10}
    for name, length in minutes.items():
        blocks = (rng.normal(0, 0.2, (80_000, 1)).astype(np.float32) for _ in range(6 * length))
        write_blocks(home / f"{name}.wav", blocks, 8000, 1)
    args = {name: ["reconstruct", "random", f"{name}.wav", "-o", f"{name}-after.wav"] for name in minutes}
    peak_mb(args["short"])  # what is loaded once
    short, long = (peak_mb(args[name]) for name in minutes)
    assert shape(home / "long-after.wav") == (8000, 1, 10 * 60 * 8000)
    assert long < short + 9
