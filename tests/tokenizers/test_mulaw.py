"""Sound to 256 levels and back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from helicon.formats.audio import Sound
from helicon.tokenizers import mulaw
from helicon.tokenizers.mulaw import MulawTokenizer, compressed, expanded, nearest_levels
from helicon.tokenizers.timing import TimeAutomaton

tokenizer = MulawTokenizer(8000)


def mono(*samples: float) -> Sound:
    return Sound(np.array(samples, np.float32)[:, None], 8000)


def level_of(sample: float) -> int:
    """The level of one sample, as the papers write it."""
    x = max(-1.0, min(1.0, sample))
    return math.floor((math.copysign(math.log(1 + 255 * abs(x)) / math.log(256), x) + 1) / 2 * 255 + 0.5)


def test_levels_lie_closer_near_silence():
    ids = tokenizer.encode(mono(-1, -0.5, -0.01, 0, 0.001, 0.01, 0.5, 1))
    assert ids.tolist() == [0, 16, 98, 128, 133, 157, 239, 255]
    assert ids.dtype == np.int64


def test_what_is_too_loud_is_clipped():
    assert tokenizer.encode(mono(-7, 1.5)).tolist() == [0, 255]


def test_all_samples_at_once_are_one_after_the_other():
    samples = np.random.default_rng(0).normal(0, 0.4, 2000).astype(np.float32)
    assert tokenizer.encode(mono(*samples)).tolist() == [level_of(float(sample)) for sample in samples]


def test_bins_have_the_levels_of_the_definition():
    rng = np.random.default_rng(2)
    near = np.array([0, -0.0, 1e-45, -1e-45, 1e-19, -1e-19, 1, -1, 1e30, -1e30], np.float32)
    samples = [
        near,
        (np.arange(-32768, 32768) / 32768).astype(np.float32),
        rng.uniform(-1.1, 1.1, 200_000).astype(np.float32),
    ]
    samples += [(10.0 ** rng.uniform(-8, 0, 100_000) * rng.choice([-1, 1], 100_000)).astype(np.float32)]
    for each in samples:
        assert np.array_equal(nearest_levels(each), mulaw.level_of(each))


def test_levels_begin_where_the_definition_says():
    starts = mulaw._starts()
    before = np.nextafter(starts, np.float32(-2))
    assert mulaw.level_of(starts).tolist() == nearest_levels(starts).tolist() == list(range(1, 256))
    assert mulaw.level_of(before).tolist() == nearest_levels(before).tolist() == list(range(255))
    assert np.diff(np.trunc(starts * (1 << 14))).min() >= 1  # one a bin at most


def test_long_sounds_are_encoded_in_stretches(monkeypatch):
    samples = np.random.default_rng(3).normal(0, 0.4, 1000).astype(np.float32)
    whole = tokenizer.encode(mono(*samples))
    monkeypatch.setattr(mulaw, "_CHUNK", 7)
    assert np.array_equal(tokenizer.encode(mono(*samples)), whole)


def test_every_id_comes_back():
    ids = np.arange(256)
    assert np.array_equal(tokenizer.encode(tokenizer.decode(ids)), ids)


def test_a_sound_comes_back_within_half_a_step():
    samples = np.random.default_rng(1).uniform(-1, 1, 5000).astype(np.float32)
    again = tokenizer.decode(tokenizer.encode(mono(*samples))).samples[:, 0]
    assert np.abs(compressed(again) - compressed(samples)).max() <= 1 / 255 + 1e-6  # a step is 2 / 255
    assert np.abs(again).max() <= 1


def test_expanding_is_the_inverse_of_compressing():
    x = np.linspace(-1, 1, 101)
    assert np.allclose(expanded(compressed(x)), x)
    assert compressed(np.array([-1.0, 0.0, 1.0])).tolist() == [-1, 0, 1]


def test_channels_take_turns():
    stereo = MulawTokenizer(8000, 2)
    ids = stereo.encode(Sound(np.array([[-1, 1], [0.5, -0.5]], np.float32), 8000))
    assert ids.tolist() == [0, 255, 239, 16]
    assert stereo.decode(ids[:3]).samples.shape == (2, 2)
    assert stereo.decode(ids[:3]).samples[1, 1] == 0
    assert stereo.rate == 16000


def test_no_sound_is_no_ids():
    assert tokenizer.encode(mono()).shape == (0,)
    assert tokenizer.decode(np.zeros(0, np.int64)).samples.shape == (0, 1)


def test_ids_outside_the_block_and_other_sounds_are_refused():
    for wrong in (-1, 256):
        with pytest.raises(ValueError, match=r"ids must be 0 \.\. 255"):
            tokenizer.decode(np.array([0, wrong]))
    with pytest.raises(ValueError, match="44100 Hz in 1 channels: 8000 Hz in 1 is accepted"):
        tokenizer.encode(Sound(np.zeros((3, 1), np.float32), 44100))


def test_what_it_tells_others():
    assert (tokenizer.block.name, tokenizer.block.tokens[0], tokenizer.block.tokens[-1]) == ("audio", "0", "255")
    assert (tokenizer.rate, tokenizer.sample_rate, tokenizer.channels) == (8000, 8000, 1)
    assert tokenizer.read_options == {"rate": 8000, "channels": 1}
    assert isinstance(tokenizer.automaton, TimeAutomaton)
    assert tokenizer.units(np.zeros(4000)) == {"second": 0.5, "dimension": 4000.0}
    assert tokenizer.describe() == {"values": 256, "rate": 8000, "channels": 1}


def test_state_survives_json():
    state = json.loads(json.dumps(MulawTokenizer(16000, 2, "voice").state()))
    again = MulawTokenizer.from_state(state)
    assert (again.block.name, len(again.block), again.read_options) == ("voice", 256, {"rate": 16000, "channels": 2})
    assert again.state() == state
