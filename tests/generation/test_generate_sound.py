"""Sound of untrained models: as long as asked for, to the sample; labelled, continued, and shown on a page."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from sound_bundles import RATE, noise, sound_bundle

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.formats.audio import write_audio
from helicon.generation.generate import generate
from helicon.generation.prompts import make_prompt
from helicon.generation.request import Request, RequestError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def coded() -> Bundle:
    return sound_bundle()


@pytest.fixture(scope="module")
def folder(coded, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "coded"
    save_bundle(coded, path)
    return path


def frames(path: Path) -> int:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return file.getnframes()


@pytest.mark.parametrize(
    ("tokenizer", "seconds"),
    [("codes", 0.0001), ("codes", 0.1), ("codes", 0.3001), ("codes", 0.5), ("mulaw", 0.0001), ("mulaw", 0.0301)],
)
def test_it_lasts_as_long_as_asked_for_to_the_sample(coded, tokenizer, seconds):
    bundle = coded if tokenizer == "codes" else sound_bundle(tokenizer=tokenizer, context=200)
    items = generate(bundle, Request(count=2, seconds=seconds))
    assert [len(item.media) for item in items] == [round(seconds * RATE)] * 2
    hop = 16 if tokenizer == "codes" else 1
    assert [len(item.ids) for item in items] == [-(-round(seconds * RATE) // hop)] * 2
    assert not np.array_equal(items[0].ids, items[1].ids) or seconds < 0.01


def test_without_a_length_codes_are_whole(coded):
    (item,) = generate(coded, Request(tokens=7))
    assert len(item.media) == 16 * len(item.ids)


def test_the_style_is_the_label(coded):
    layout = coded.schema.layouts[0]
    ids = [
        make_prompt(coded, layout, Request(conditions=given))[0].conditions["style"]
        for given in ({"style": "Gong"}, {})
    ]
    assert [each.tolist() for each in ids] == [[1], [2]]
    assert len(generate(coded, Request(conditions={"style": "Gong"}, seconds=0.01))) == 1
    with pytest.raises(ValueError, match="unknown label 'gonk'; nearest: gong"):
        generate(coded, Request(conditions={"style": "gonk"}, seconds=0.01))


def test_a_sound_is_continued(coded, tmp_path):
    write_audio(noise(1600), tmp_path / "in.wav")
    request = Request(prime=tmp_path / "in.wav", keep="0.1s", seconds=0.25)
    (item,) = generate(coded, request)
    heard = coded.sequencer.tokenizers["audio"].encode(noise(1600).cut(0.1))
    assert np.array_equal(item.ids[:50], heard)
    assert len(item.media) == 2000
    with pytest.raises(RequestError, match=r"notes\.mid: this model continues .*\.wav.* files"):
        generate(coded, Request(prime=tmp_path / "notes.mid"))


def test_lyrics_may_be_longer_than_their_slot():
    bundle = sound_bundle("lyrics[8] style[1] audio")
    prompt, _ = make_prompt(
        bundle, bundle.schema.layouts[0], Request(conditions={"lyrics": "Sing, goddess, the anger\n"})
    )
    assert bundle.sequencer.tokenizers["lyrics"].decode(prompt.conditions["lyrics"]) == "Sing, goddess, the anger"
    (item,) = generate(bundle, Request(conditions={"lyrics": "Sing, goddess, the anger", "style": "bell"}, seconds=0.1))
    assert len(item.media) == 800


def test_files_and_a_page_are_written(folder, tmp_path):
    out = tmp_path / "out"
    assert main(["generate", str(folder), "--style", "bell", "--seconds", "0.3001", "-n", "2", "-o", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "000.json", "000.png", "000.wav", "001.json", "001.png", "001.wav", "index.html",
    ]  # fmt: skip
    assert frames(out / "000.wav") == frames(out / "001.wav") == 2401
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2
    assert 'src="000.wav"' in page
    assert 'src="000.png"' in page


def test_a_bundle_comes_back_with_its_codec(folder, coded):
    again = load_bundle(folder)
    request = Request(conditions={"style": "bell"}, seconds=0.05)
    assert np.array_equal(generate(again, request)[0].media.samples, generate(coded, request)[0].media.samples)
