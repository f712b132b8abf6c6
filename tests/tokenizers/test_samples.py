"""What is no sound for a tokenizer, and samples in a row."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.formats.audio import Sound
from helicon.tokenizers.samples import check_sound, sound_of

SOUND = Sound(np.zeros((5, 2), np.float32), 8000)


def test_a_sound_that_fits_is_passed_on():
    assert check_sound(SOUND, 8000, 2) is SOUND


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (8000, 1)])
def test_another_rate_or_number_of_channels_is_refused(rate, channels):
    with pytest.raises(ValueError, match=f"a sound of 8000 Hz in 2 channels: {rate} Hz in {channels} is accepted"):
        check_sound(SOUND, rate, channels)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_samples_are_numbers(wrong):
    samples = np.zeros((5, 1), np.float32)
    samples[3] = wrong
    with pytest.raises(ValueError, match="samples that are no finite numbers"):
        check_sound(Sound(samples, 8000), 8000, 1)


@pytest.mark.parametrize(
    ("values", "samples"),
    [([], []), ([0.5], [[0.5, 0]]), ([0.5, -0.5], [[0.5, -0.5]]), ([0.5, -0.5, 1], [[0.5, -0.5], [1, 0]])],
)
def test_the_channels_take_turns(values, samples):
    sound = sound_of(np.array(values), 8000, 2)
    assert (sound.samples.tolist(), sound.samples.shape[1], sound.samples.dtype) == (samples, 2, np.float32)
    assert sound.rate == 8000
