"""The demo of tones in miniature, and the figures of its report against sounds that are known to be right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.demos import captioned
from helicon.demos.captioned import CaptionedSamples
from helicon.demos.sound import SoundWorld
from helicon.demos.tone_checker import CHANCE
from helicon.demos.tones import RATE, SAMPLES, held_out_tones, play
from helicon.formats.audio import Sound, read_audio
from helicon.vqvae.storage import load_codec

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_world_in_miniature(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(captioned, "CAPTIONS", 3)
    monkeypatch.setattr(SoundWorld, "codec_steps", 8)
    monkeypatch.setattr(SoundWorld, "steps", 4)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "audio", "-o", "out", "--pieces", "60", "--minutes", "0.5"]) == 0
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    assert report.keys() >= {"model", "attribute_accuracy", "seconds", "shuffled_captions", "best_of_4"}
    assert report["attributes"].keys() == report["chance"].keys() == CHANCE.keys()
    assert report["attribute_accuracy"] == report["attributes"]["all_right"]
    assert (report["captions"], report["samples"]) == (3, 4)
    assert 0 < report["seconds"] < 120
    bundle = load_bundle(Path(report["model"]))
    assert load_codec(out / "codec").fingerprint() == bundle.sequencer.tokenizers["audio"].describe()["codec"]
    page, rng = (out / "index.html").read_text(), np.random.default_rng((0, 1))
    for number in range(3):
        assert held_out_tones(rng).caption in page
        assert f"generated/{number:03d}.wav" in page
        made, _ = read_audio(out / "generated" / f"{number:03d}.wav", None)
        assert (made.rate, made.channels) == (RATE, 1)
        assert 0 < len(made) <= SAMPLES
    assert len(list((out / "sounds").iterdir())) == 2 * 60
    said = capsys.readouterr().err
    assert "helicon generate out/run --text" in said
    assert "helicon reconstruct out/codec" in said
    assert main(["demo", "audio", "-o", "out"]) == 2
    assert "has something in it" in capsys.readouterr().err


def test_steps_follow_the_minutes():
    short, long = SoundWorld(Path("x"), minutes=2), SoundWorld(Path("x"), minutes=4)
    assert (2 * short.codec_steps, 2 * short.steps) == (long.codec_steps, long.steps)
    assert SoundWorld(Path("x"), minutes=1e-9).steps == 1


def test_figures_are_shares_of_the_sounds():
    """Of two captions: both sounds of the first are right, and one of the second."""
    world, rng = SoundWorld(Path("x")), np.random.default_rng(0)
    tones = [held_out_tones(rng) for _ in range(2)]
    first, second = ([Sound(play(each, rng)[:, None], RATE) for _ in range(2)] for each in tones)
    second[0] = Sound(np.zeros((SAMPLES, 1), np.float32), RATE)
    made = zip(tones, (first, second))
    figures = world.figures(
        [CaptionedSamples(each, sounds, list(map(world.read, sounds)), [0.0, 1.0]) for each, sounds in made]
    )
    assert figures["all_right"] == figures["first_pitch"] == figures["order"] == 3 / 4
    assert figures["shuffled"] == 0.0
