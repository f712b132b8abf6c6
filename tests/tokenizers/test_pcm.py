"""Sound of 16 bits to numbers and back, exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helicon.formats.audio import Sound
from helicon.tokenizers.pcm import PcmTokenizer
from helicon.tokenizers.timing import TimeAutomaton

tokenizer = PcmTokenizer(44100)


def mono(*samples: float) -> Sound:
    return Sound(np.array(samples, np.float32)[:, None], 44100)


def test_an_id_is_the_value_of_16_bits_and_an_offset():
    ids = tokenizer.encode(mono(-1, -1 / 32768, 0, 1 / 32768, 0.5, 32767 / 32768))
    assert ids.tolist() == [0, 32767, 32768, 32769, 49152, 65535]
    assert ids.dtype == np.int64


def test_every_id_comes_back():
    ids = np.arange(65536)
    again = tokenizer.decode(ids)
    assert np.array_equal(tokenizer.encode(again), ids)
    assert np.array_equal(again.samples[:, 0], np.arange(-32768, 32768).astype(np.int16) / np.float32(32768))


def test_what_is_finer_is_rounded_and_what_is_louder_is_clipped():
    assert tokenizer.encode(mono(0.4 / 32768, 0.6 / 32768, 1, 3, -3)).tolist() == [32768, 32769, 65535, 65535, 0]


def test_channels_take_turns():
    stereo = PcmTokenizer(44100, 2)
    sound = Sound(np.array([[0.5, -0.5], [0.25, 0]], np.float32), 44100)
    assert stereo.encode(sound).tolist() == [49152, 16384, 40960, 32768]
    assert np.array_equal(stereo.decode(stereo.encode(sound)).samples, sound.samples)
    assert stereo.decode(np.array([49152])).samples.tolist() == [[0.5, 0]]


def test_ids_outside_the_block_and_other_sounds_are_refused():
    for wrong in (-1, 65536):
        with pytest.raises(ValueError, match=r"ids must be 0 \.\. 65535"):
            tokenizer.decode(np.array([0, wrong]))
    with pytest.raises(ValueError, match="44100 Hz in 2 channels: 44100 Hz in 1 is accepted"):
        tokenizer.encode(Sound(np.zeros((3, 2), np.float32), 44100))


def test_what_it_tells_others():
    assert (tokenizer.block.tokens[0], tokenizer.block.tokens[-1]) == ("-32768", "32767")
    assert tokenizer.read_options == {"rate": 44100, "channels": 1}
    assert isinstance(tokenizer.automaton, TimeAutomaton)
    assert tokenizer.units(np.zeros(441)) == {"second": 0.01, "dimension": 441.0}
    assert tokenizer.describe() == {"values": 65536, "rate": 44100, "channels": 1}


def test_state_survives_json():
    state = json.loads(json.dumps(PcmTokenizer(16000, 2, "voice").state()))
    again = PcmTokenizer.from_state(state)
    assert (again.block.name, len(again.block), again.rate) == ("voice", 65536, 32000)
    assert again.state() == state
