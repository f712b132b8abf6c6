"""Codes of sound as tokens: with a codec that can be followed by hand, and with a real one."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sound_bundles import noise, sound_codec
from torch import Tensor

from helicon.formats.audio import Sound
from helicon.modalities.audio import codes_from_state, codes_tokenizer
from helicon.tokenizers.codec import tokenizer_weights
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.tokenizers.timing import TimeAutomaton

pytestmark = pytest.mark.usefixtures("one_thread")
GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


class Steps:
    """One of 11 values, -1, -0.8 ... 1, for each `hop` samples: the nearest to their mean over all channels."""

    codebook_size = 11

    def __init__(self, hop: int, channels: int) -> None:
        self.hop, self.channels = hop, channels

    def encode_many(self, sounds: Sequence[Tensor]) -> list[Tensor]:
        assert all(sound.shape[0] == self.channels for sound in sounds)
        padded = [torch.nn.functional.pad(sound, (0, -sound.shape[1] % self.hop)) for sound in sounds]
        means = [each.reshape(self.channels, -1, self.hop).mean((0, 2)) for each in padded]
        return [((each + 1) * 5).round().long() for each in means]

    def decode_many(self, codes: Sequence[Tensor]) -> list[Tensor]:
        return [(each / 5 - 1).repeat_interleave(self.hop)[None].repeat(self.channels, 1) for each in codes]


class Staircase:
    """Levels of hops 2 and 4."""

    def __init__(self, channels: int) -> None:
        self.levels = [Steps(2, channels), Steps(4, channels)]

    def level(self, number: int) -> Steps:
        return self.levels[number]


CONFIG = {"fingerprint": "0123456789abcdef", "config": {"hops": [2, 4], "width": 8}}


def staircase(level: int = 0, channels: int = 1) -> SoundCodesTokenizer:
    return SoundCodesTokenizer(Staircase(channels), level, 1000, channels, CONFIG, {})


def mono(*samples: float, rate: int = 1000) -> Sound:
    return Sound(np.array(samples, np.float32)[:, None], rate)


def test_a_sound_is_a_code_for_each_hop():
    sound = mono(-1, -1, 0, 0.4, 0.6, 0.6)
    ids = staircase().encode(sound)
    assert ids.tolist() == [0, 6, 8]
    assert ids.dtype == np.int64
    again = staircase().decode(ids)
    assert np.allclose(again.samples[:, 0], [-1, -1, 0.2, 0.2, 0.6, 0.6])
    assert (again.samples.dtype, again.rate) == (np.float32, 1000)


@pytest.mark.parametrize("level", [1, -1])
def test_a_coarser_level_has_fewer(level):
    tokenizer = staircase(level)
    assert tokenizer.encode(mono(-1, -1, 0, 0.4, 0.6, 0.6)).tolist() == [3, 6]  # -0.4, and 0.3 with what is missing
    assert (tokenizer.level, tokenizer.hop, tokenizer.rate) == (1, 4, 250.0)


def test_channels_share_their_codes():
    stereo = staircase(channels=2)
    sound = Sound(np.array([[1, 0.2], [1, 0.2], [-1, -1]], np.float32), 1000)
    assert stereo.encode(sound).tolist() == [8, 2]
    assert stereo.decode(np.array([8, 2])).samples.shape == (4, 2)


def test_any_number_of_codes_is_a_sound():
    for count in (0, 1, 7):
        assert staircase().decode(np.full(count, 3)).samples.shape == (2 * count, 1)
    assert staircase().encode(mono()).shape == (0,)


@pytest.mark.parametrize("wrong", [-1, 11])
def test_codes_that_there_are_not_are_refused(wrong):
    with pytest.raises(ValueError, match=r"ids must be 0 \.\. 10"):
        staircase().decode(np.array([0, wrong]))


def test_sounds_of_another_rate_are_refused():
    with pytest.raises(ValueError, match="8000 Hz in 1 channels: 1000 Hz in 1 is accepted"):
        staircase().encode(mono(0, 0, rate=8000))


def test_many_at_once_keep_their_order():
    sounds = [mono(*samples) for samples in ([0, 0, 0.2], [], [1, 1], [-1, -1, 0.4, 0.4])]
    assert [ids.tolist() for ids in staircase().encode_many(sounds)] == [[5, 6], [], [10], [0, 7]]
    made = staircase().decode_many([np.array([5, 6]), np.zeros(0, np.int64), np.array([10])])
    assert [(5 * sound.samples[:, 0]).round().tolist() for sound in made] == [[0, 0, 1, 1], [], [5, 5]]
    assert {sound.rate for sound in made} == {1000}
    assert staircase().encode_many([]) == staircase().decode_many([]) == []


def test_what_it_tells_others():
    tokenizer = staircase()
    assert (tokenizer.block.name, tokenizer.block.tokens[0], tokenizer.block.tokens[-1]) == ("audio", "v00", "v10")
    assert (tokenizer.rate, tokenizer.sample_rate, tokenizer.channels) == (500.0, 1000, 1)
    assert tokenizer.read_options == {"rate": 1000, "channels": 1}
    assert isinstance(tokenizer.automaton, TimeAutomaton)
    assert tokenizer.units(np.zeros(250)) == {"second": 0.5}
    assert tokenizer.describe() == {
        "codec": "0123456789abcdef", "hops": [2, 4], "width": 8, "level": 0, "hop": 2, "rate": 1000, "channels": 1,
    }  # fmt: skip
    assert tokenizer.state() == {"block": "audio", "level": 0, "codec": CONFIG}


def real(level: int, seed: int = 0) -> SoundCodesTokenizer:
    return codes_tokenizer(sound_codec(seed), level, "sound")


@pytest.mark.parametrize(("level", "hop"), [(0, 4), (1, 16)])
def test_a_real_level(level, hop):
    tokenizer = real(level)
    assert (tokenizer.hop, tokenizer.rate, len(tokenizer.block)) == (hop, 8000 / hop, 18)
    for samples in (1, hop, 999):
        ids = tokenizer.encode(noise(samples))
        assert len(ids) == -(-samples // hop)
        assert len(tokenizer.decode(ids)) == hop * len(ids)
    assert len(set(ids.tolist())) > 3
    padded = Sound(np.concatenate([noise(999).samples, np.zeros((-999 % hop, 1), np.float32)]), 8000)
    assert np.array_equal(tokenizer.encode(padded), ids)  # what is missing is silent


def test_many_sounds_are_what_each_is():
    tokenizer, sounds = real(1), [noise(samples, samples) for samples in (700, 90, 702, 3, 690)]
    alone = [tokenizer.encode(sound) for sound in sounds]
    assert all(np.array_equal(a, b) for a, b in zip(tokenizer.encode_many(sounds), alone, strict=True))
    for made, ids in zip(tokenizer.decode_many(alone), alone, strict=True):
        assert np.allclose(made.samples, tokenizer.decode(ids).samples, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_a_copy_on_another_device_has_the_same_state_and_codes(device):
    tokenizer = real(1)
    again = tokenizer.to(device)
    assert again.codec is not tokenizer.codec
    assert (again.block, again.state()) == (tokenizer.block, tokenizer.state())
    ids = tokenizer.encode(noise(2000))
    assert (again.encode(noise(2000)) != ids).mean() <= (0.02 if device == "cuda" else 0)
    assert np.allclose(again.decode(ids).samples, tokenizer.decode(ids).samples, atol=2e-2 if device == "cuda" else 0)


def test_state_and_weights_are_enough():
    tokenizer = real(1)
    state, weights = json.loads(json.dumps(tokenizer.state())), tokenizer_weights(tokenizer)
    again = codes_from_state(state, weights)
    assert (again.block, again.level, again.hop, again.state()) == (tokenizer.block, 1, 16, tokenizer.state())
    ids = tokenizer.encode(noise(700))
    assert np.array_equal(again.encode(noise(700)), ids)
    assert np.array_equal(again.decode(ids).samples, tokenizer.decode(ids).samples)


def test_weights_that_are_missing_or_another_codecs_are_refused():
    tokenizer, other = real(0), real(0, seed=1)
    with pytest.raises(ValueError, match="the weights of the codec are missing"):
        codes_from_state(tokenizer.state())
    ours, theirs = (each.describe()["codec"] for each in (tokenizer, other))
    with pytest.raises(ValueError, match=f"has the fingerprint {theirs}, {ours} was trained with"):
        codes_from_state(tokenizer.state(), other.weights())


def test_a_level_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="level 2: this codec has 2"):
        real(2)
