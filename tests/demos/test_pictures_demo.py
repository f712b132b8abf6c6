"""The demo of pictures in miniature, and the figures of its report against pictures that are known to be right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.demos import captioned
from helicon.demos.captioned import CaptionedSamples
from helicon.demos.pictures import PictureWorld
from helicon.demos.shape_checker import CHANCE
from helicon.demos.shapes import Scene, draw, held_out_scene, is_held_out
from helicon.formats.image import read_image
from helicon.vqvae.storage import load_codec

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_world_in_miniature(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(captioned, "CAPTIONS", 3)
    monkeypatch.setattr(PictureWorld, "codec_steps", 34)  # latents for 768 codes come in 30 steps
    monkeypatch.setattr(PictureWorld, "steps", 4)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "text-to-image", "-o", "out", "--pieces", "60", "--minutes", "0.5"]) == 0
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    assert report.keys() >= {"model", "attribute_accuracy", "seconds"}
    assert report["attributes"].keys() == report["chance"].keys() == CHANCE.keys()
    assert report["attribute_accuracy"] == report["attributes"]["all_right"]
    assert (report["captions"], report["samples"]) == (3, 4)
    for name in ("attribute_accuracy", "shuffled_captions", "mean_of_8", "best_of_8"):
        assert 0 <= report[name] <= 1
    assert 0 < report["seconds"] < 120
    bundle = load_bundle(Path(report["model"]))
    assert load_codec(out / "codec").fingerprint() == bundle.sequencer.tokenizers["image"].describe()["codec"]
    page = (out / "index.html").read_text()
    for number, scene in enumerate(PictureWorld(out).draw_held_out(3)):
        assert scene.caption in page
        assert f"generated/{number:03d}.png" in page
        assert read_image(out / "generated" / f"{number:03d}.png")[0].shape == (96, 4 * 96 + 3 * 4, 3)
    assert len(list((out / "pictures").iterdir())) == 2 * 60
    said = capsys.readouterr().err
    assert "helicon generate out/run --text" in said
    assert "helicon reconstruct out/codec" in said
    assert main(["demo", "text-to-image", "-o", "out"]) == 2
    assert "has something in it" in capsys.readouterr().err


def test_steps_follow_the_minutes():
    short, long = PictureWorld(Path("x"), minutes=2), PictureWorld(Path("x"), minutes=4)
    assert (2 * short.codec_steps, 2 * short.steps) == (long.codec_steps, long.steps)
    assert PictureWorld(Path("x"), minutes=1e-9).steps == 1


def test_scenes_that_are_asked_for_were_never_shown():
    scenes, again, others = (PictureWorld(Path("x"), seed=seed).draw_held_out(8) for seed in (3, 3, 4))
    assert all(isinstance(scene, Scene) and is_held_out(scene) for scene in scenes)
    assert scenes == again != others


def test_figures_are_shares_of_the_pictures():
    """Of two captions: both pictures of the first are right, one of the second, and the better fit is the right one."""
    world, rng = PictureWorld(Path("x")), np.random.default_rng(0)
    scenes = [held_out_scene(rng) for _ in range(2)]
    first, second = ([draw(scene, rng) for _ in range(2)] for scene in scenes)
    second[0] = np.full_like(second[0], 255)
    asked = zip(scenes, (first, second), ([0.0, -1.0], [-9.0, -2.0]))
    samples = [CaptionedSamples(scene, made, list(map(world.read, made)), fits) for scene, made, fits in asked]
    figures = world.figures(samples)
    assert figures["all_right"] == figures["first_colour"] == 3 / 4
    assert (figures["best"], figures["shuffled"]) == (1.0, 0.0)
    assert world.figures([each.first(1) for each in samples])["all_right"] == 1 / 2
