"""What the pages of codecs say in one line, and which curves they draw."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from sound_bundles import sound_codec

from helicon.modalities import registry
from helicon.pages.codec_page import PAGES, PictureCodecPage, SoundCodecPage, next_steps
from helicon.training.codecs.audio_data import AudioData

LAST = {
    "lr-AdamW/pg1": 0.1, "train/loss": 1.0, "train/usage-32": 0.2, "val/loss": 0.5,
    "val/si_sdr-128": 1.234, "val/mel_distance-128": 2.0, "val/usage-128": 0.5, "val/perplexity-128": 99.6,
    "val/si_sdr-32": 5.0, "val/mel_distance-32": 1.25, "val/usage-32": 1.0, "val/perplexity-32": 300.0,
}  # fmt: skip


def test_levels_are_told_from_the_finest_on():
    assert SoundCodecPage().quality(LAST) == (
        "hop 32: SI-SDR 5.00 dB (higher is better), mel distance 1.250 (lower is better), "
        "100.0 % of the codes used, perplexity 300; "
        "hop 128: SI-SDR 1.23 dB (higher is better), mel distance 2.000 (lower is better), "
        "50.0 % of the codes used, perplexity 100"
    )


def test_how_long_the_sounds_are_is_said_in_minutes():
    data = cast(AudioData, SimpleNamespace(seconds=90.0))
    assert SoundCodecPage().settings(sound_codec().codec, data)["trained on"] == "1 min 30 s of sound"


def test_one_level_has_no_hop():
    last = {name.removesuffix("-32"): value for name, value in LAST.items() if not name.endswith("-128")}
    assert SoundCodecPage().quality(last) == (
        "SI-SDR 5.00 dB (higher is better), mel distance 1.250 (lower is better), "
        "100.0 % of the codes used, perplexity 300"
    )


def test_a_picture_codec_in_one_line():
    last = {"val/psnr": 25.0, "val/loss": 0.0123, "val/usage": 0.75, "val/perplexity": 48.0}
    assert PictureCodecPage().quality(last) == (
        "PSNR 25.00 dB (higher is better), squared error 0.0123 of that of the mean picture (lower is better), "
        "75.0 % of the codes used, perplexity 48"
    )


@pytest.mark.parametrize("medium", PAGES)
def test_what_was_not_measured_is_said(medium):
    assert PAGES[medium].summary({"train/loss": ([1], [1.0])}) == "not measured: too few steps, or no validation files"


def test_each_level_has_a_curve():
    charts = SoundCodecPage().charts(sound_codec().codec)
    assert list(charts) == ["si-sdr.png", "mel.png", "codes.png"]
    assert charts["si-sdr.png"][1] == {"hop 4": "val/si_sdr-4", "hop 16": "val/si_sdr-16"}
    assert SoundCodecPage().charts(sound_codec(hops=(16,)).codec)["mel.png"][1] == {"validation": "val/mel_distance"}


def test_every_medium_whose_codecs_are_shown_is_one_that_is_known():
    assert [registry.get(medium).name for medium in PAGES] == ["image", "audio"]


@pytest.mark.parametrize(("medium", "files"), [("image", "PICTURE..."), ("audio", "IN.wav")])
def test_commands_to_go_on_with(medium, files):
    assert next_steps(medium, "RUN", "DIR") == [
        f"helicon reconstruct RUN {files} -o out",
        f"helicon train {medium} DIR --data.tokenizer RUN",
        f"helicon train text-to-{medium} DIR --data.tokenizer RUN",
    ]
