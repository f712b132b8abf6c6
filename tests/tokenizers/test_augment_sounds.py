"""Sounds that are changed in training: louder, faster, later, and what that means in samples."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.formats.audio import Sound
from helicon.tokenizers.augment_sounds import SoundAugmentation, SoundRanges
from helicon.tokenizers.mulaw import MulawTokenizer

RATE = 8000
TIMES_S = np.arange(4000) / RATE
TONE = Sound((0.25 * np.sin(2 * np.pi * 500 * TIMES_S))[:, None].astype(np.float32), RATE)


def test_a_gain_is_in_decibels():
    quiet = SoundAugmentation(gain=-6).apply(TONE)
    np.testing.assert_allclose(quiet.samples, TONE.samples * 10 ** (-6 / 20), rtol=1e-6)
    assert quiet.rate == RATE
    assert SoundAugmentation(gain=30).apply(TONE).samples.max() == pytest.approx(1)  # no louder than full scale
    silence = Sound(np.zeros((5, 2), np.float32), RATE)
    assert np.array_equal(SoundAugmentation(gain=30).apply(silence).samples, silence.samples)


@pytest.mark.parametrize("speed", [0.5, 0.9, 1.3, 2.0])
def test_speed_is_that_of_a_tape(speed):
    found = SoundAugmentation(speed=speed).apply(TONE).samples
    assert found.shape == (round(4000 / speed), 1)
    assert found.dtype == np.float32
    middle = slice(200, -200)  # the ends ring
    expected = 0.25 * np.sin(2 * np.pi * 500 * speed * np.arange(len(found)) / RATE)
    assert np.abs(found[middle, 0] - expected[middle]).max() < 0.01


def test_a_shift_is_silence_or_what_is_left_out():
    later, earlier = (SoundAugmentation(shift=shift).apply(TONE).samples for shift in (0.01, -0.01))
    assert np.array_equal(later, np.concatenate([np.zeros((80, 1), np.float32), TONE.samples]))
    assert np.array_equal(earlier, TONE.samples[80:])
    assert len(SoundAugmentation(shift=-9).apply(TONE)) == 1


@pytest.mark.parametrize("channels", [1, 2])
def test_augmented_ids_are_those_of_the_changed_sound(channels):
    tokenizer = MulawTokenizer(RATE, channels)
    sound = Sound(np.random.default_rng(0).uniform(-1, 1, (300, channels)).astype(np.float32), RATE)
    ids = tokenizer.encode(sound)
    rng, ranges = np.random.default_rng(1), SoundRanges((-6, 6), (0.8, 1.25), (-0.01, 0.01))
    for _ in range(20):
        change = ranges.draw(rng)
        assert np.array_equal(tokenizer.augment(ids, change), tokenizer.encode(change.apply(tokenizer.decode(ids))))
    assert np.array_equal(tokenizer.augment(ids, SoundAugmentation()), ids)


def test_changes_are_drawn_within_their_ranges():
    ranges, rng = SoundRanges((-6, 3), (0.9, 1.1), (0, 0.2)), np.random.default_rng(1)
    drawn = [ranges.draw(rng) for _ in range(200)]
    assert all(-6 <= c.gain <= 3 and 0.9 <= c.speed <= 1.1 and 0 <= c.shift <= 0.2 for c in drawn)
    assert SoundRanges((0, 0), (1, 1), (0, 0)).idle
    assert not ranges.idle


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gain": (-99, 0)}, "gain .*-60 to 60"),
        ({"speed": (0, 1)}, "speed .*0.5 to 2"),
        ({"shift": [1]}, "shift .*two"),
    ],
)
def test_ranges_that_are_none(given, said):
    with pytest.raises(ValueError, match=said):
        SoundRanges(**given)
