"""What sound is to the rest: read, shown, kept in part, and the tokenizers that the run of a codec is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sound_bundles import sound_codec

from helicon.formats.audio import Sound, write_audio
from helicon.formats.image import read_image
from helicon.modalities import registry
from helicon.modalities.audio import AUDIO
from helicon.tokenizers.codec import tokenizer_weights
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.pcm import PcmTokenizer
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.storage import CodecBundle, save_codec

pytestmark = pytest.mark.usefixtures("one_thread")


def tone(seconds: float = 0.5, rate: int = 8000, channels: int = 1) -> Sound:
    """A tone of 440 Hz that fades."""
    time_S = np.arange(round(seconds * rate)) / rate
    samples_S = 0.5 * np.sin(2 * np.pi * 440 * time_S) * np.exp(-2 * time_S)
    return Sound(np.repeat(samples_S[:, None], channels, 1).astype(np.float32), rate)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "codec"
    save_codec(sound_codec(), path / "model")
    return path


def test_it_is_registered():
    assert registry.get("audio") is registry.for_slot("audio") is registry.for_slot("above")
    assert {".wav", ".flac", ".ogg", ".mp3"} <= set(AUDIO.suffixes)
    assert AUDIO.suffixes[0] == ".wav"
    assert {slot: list(kinds) for slot, kinds in AUDIO.slots.items()} == {
        "audio": ["mulaw", "codes", "pcm"], "above": ["codes"],
    }  # fmt: skip
    assert AUDIO.raw == "pcm"


def test_files_are_read_as_asked_for(tmp_path):
    write_audio(tone(0.5, 16000, 2), tmp_path / "a.wav")
    default, _ = AUDIO.read(tmp_path / "a.wav")
    assert (len(default), default.rate, default.channels) == (4000, 8000, 1)
    asked, _ = AUDIO.read(tmp_path / "a.wav", options={"rate": 4000, "channels": 2, "pedal": "drop"})
    assert (len(asked), asked.rate, asked.channels) == (2000, 4000, 2)
    its_own, _ = AUDIO.read(tmp_path / "a.wav", options={"rate": None})
    assert (len(its_own), its_own.rate) == (8000, 16000)
    with pytest.raises(ValueError, match="audio is not made from text"):
        AUDIO.from_text("la la la")


def test_what_is_written_is_read_again(tmp_path):
    AUDIO.write(tone(), tmp_path / "a.wav")
    again, _ = AUDIO.read(tmp_path / "a.wav")
    assert np.abs(again.samples - tone().samples).max() <= 1 / 32768


@pytest.mark.parametrize(("amount", "samples"), [("0.25s", 2000), ("0.25", 1000), ("1", 4000), ("8s", 4000)])
def test_a_beginning_is_kept(amount, samples):
    assert np.array_equal(AUDIO.keep(tone(), amount).samples, tone().samples[:samples])


def test_an_amount_is_seconds_or_a_share():
    with pytest.raises(ValueError, match="cannot keep '8m': an amount such as 8s, or a share between 0 and 1"):
        AUDIO.keep(tone(), "8m")


def test_it_is_trimmed_to_the_sample():
    assert len(AUDIO.trim(tone(), 0.3)) == 2400
    assert registry.get("text").trim("as it is", 1.0) == "as it is"


def test_a_preview_is_a_picture_of_it(tmp_path):
    assert AUDIO.preview(tone(), tmp_path / "000.wav") == [tmp_path / "000.png"]
    picture, _ = read_image(tmp_path / "000.png", None)
    assert min(picture.shape[:2]) > 50
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    assert AUDIO.preview(tone(0), tmp_path / "001.wav") == []


def test_tokenizers_are_fitted_with_their_options():
    surveys, options = [AUDIO.survey(tone()), None], {"rate": 4000, "channels": 2, "pedal": "drop"}
    for name, kind in (("mulaw", MulawTokenizer), ("pcm", PcmTokenizer)):
        fitted = registry.spec("audio", name).fit(surveys, siblings={}, **options)
        assert isinstance(fitted, kind)
        assert fitted.read_options == {"rate": 4000, "channels": 2}
        default = registry.spec("audio", name).fit([])
        assert np.array_equal(default.encode(tone()), default.encode(default.decode(default.encode(tone()))))
        again = registry.restore_tokenizer("audio", name, json.loads(json.dumps(fitted.state())))
        assert again.state() == fitted.state()


@pytest.mark.parametrize("slot", ["audio", "above"])
def test_a_codec_is_trained_and_not_fitted(slot):
    with pytest.raises(ValueError, match="codes need a codec: train one with `helicon train audio-codec DIR`"):
        registry.spec(slot, "codes").fit([None])


@pytest.mark.parametrize(
    ("name", "level"), [("codec", 1), ("codec/model", 1), ("codec@0", 0), ("codec@1", 1), ("codec/model@0", 0)]
)
@pytest.mark.parametrize("slot", ["audio", "above"])
def test_a_level_of_a_codec_is_a_tokenizer(run, slot, name, level):
    opened = registry.open_tokenizer(slot, run.parent / name)
    assert opened is not None
    kind, tokenizer = opened
    assert kind == "codes"
    assert isinstance(tokenizer, SoundCodesTokenizer)
    assert (tokenizer.block.name, tokenizer.level, tokenizer.hop) == (slot, level, (4, 16)[level])
    assert tokenizer.read_options == {"rate": 8000, "channels": 1}
    again = registry.restore_tokenizer(
        slot, "codes", json.loads(json.dumps(tokenizer.state())), tokenizer_weights(tokenizer)
    )
    assert (again.block, again.state()) == (tokenizer.block, tokenizer.state())
    assert np.array_equal(again.encode(tone()), tokenizer.encode(tone()))


def test_a_folder_may_have_such_a_name_itself(tmp_path):
    save_codec(sound_codec(), tmp_path / "codec@0" / "model")
    opened = registry.open_tokenizer("audio", tmp_path / "codec@0")
    assert opened is not None
    assert opened[1].state()["level"] == 1


def test_what_is_no_level_of_a_codec_of_sound(run):
    for name in ("codec@", "codec@x", "kodec@0", "codec@-1", "."):
        assert registry.open_tokenizer("audio", run.parent / name) is None
    with pytest.raises(ValueError, match="level 2: this codec has 2"):
        registry.open_tokenizer("audio", run.parent / "codec@2")


def test_codecs_of_other_media_are_not_for_it(run, tmp_path):
    shape = ImageCodecConfig(factor=4, width=8, blocks=0, quantizer="fsq", levels=(3, 3))
    save_codec(CodecBundle(codec=ImageCodec(shape).eval(), medium="image", reading={"size": 8}), tmp_path / "pictures")
    assert registry.open_tokenizer("audio", tmp_path / "pictures") is None
    assert registry.open_tokenizer("image", tmp_path / "pictures") is not None
    assert registry.open_tokenizer("image", run) is None
