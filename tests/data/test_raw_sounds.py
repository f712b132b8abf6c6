"""Sounds for codecs: windows are stretches of them, long ones have more, short ones stand whole beside a mask."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from helicon.data.corpus_writer import write_corpus
from helicon.data.raw import SoundBatches, Sounds
from helicon.tokenizers.augment_sounds import SoundRanges

WINDOW = 8
LENGTHS = [3, 8, 9, 1, 20, 33, 40]
HELD = [5]
WINDOWS = {0: 1, 1: 1, 2: 2, 3: 1, 4: 3, 6: 6}  # of each sound to train on, an epoch
EPOCH = 14
CHANGES = SoundRanges(gain=(-6, 6), speed=(0.8, 1.25))
APART = 100  # sample s of sound i is (100 i + s + 1) / 32768


def samples(number: int, channels: int = 1) -> np.ndarray:
    """Ids [S, C] of a sound: the second channel is the first one turned upside down."""
    told = APART * number + np.arange(LENGTHS[number]) + 1
    return Sounds.HALF + told[:, None] * np.array([1, -1])[:channels]


def sounds_of(folder: Path, channels: int) -> Sounds:
    rows = [(f"{i}.wav", None, i in HELD, {"audio": samples(i, channels).ravel()}) for i in range(len(LENGTHS))]
    return Sounds(write_corpus(folder, "audio", rows, {"audio": 1 << 16}), "audio", channels)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Sounds:
    """Seven sounds, one held out."""
    return sounds_of(tmp_path_factory.mktemp("mono"), 1)


@pytest.fixture(scope="module")
def stereo(tmp_path_factory) -> Sounds:
    """The same in two channels."""
    return sounds_of(tmp_path_factory.mktemp("stereo"), 2)


def told(window: Tensor) -> tuple[int, list[int]]:
    """(number of the sound, places of its samples) of a window [2, S]; what is masked is silent and comes last."""
    count = int(window[1].sum())
    assert window[1].tolist() == [1] * count + [0] * (WINDOW - count)
    assert window[0, count:].tolist() == [0] * (WINDOW - count)
    values = (window[0, :count] * Sounds.HALF).round().int() - 1
    assert len(set((values // APART).tolist())) == 1
    return int(values[0]) // APART, (values % APART).tolist()


def test_a_stretch_has_the_samples_that_were_read(sounds, stereo):
    assert sounds.lengths.tolist() == stereo.lengths.tolist() == LENGTHS
    assert sounds.stretch(0).tolist() == [[1 / 32768, 2 / 32768, 3 / 32768]]
    assert stereo.stretch(1, 6, 5).tolist() == [[107 / 32768, 108 / 32768], [-107 / 32768, -108 / 32768]]
    assert sounds.stretch(4, 18, 2).tolist() == [[419 / 32768, 420 / 32768]]
    found = stereo.stretch(4)
    assert (found.dtype, found.shape, found.is_contiguous()) == (torch.float32, (2, 20), True)


def test_the_loudest_samples_are_one(tmp_path):
    rows = [("a.wav", None, False, {"audio": np.array([0, 1 << 15, (1 << 16) - 1])})]
    loud = Sounds(write_corpus(tmp_path, "audio", rows, {"audio": 1 << 16}), "audio", 1)
    assert loud.stretch(0).tolist() == [[-1.0, 0.0, 32767 / 32768]]


def test_a_window_is_a_stretch_of_one_sound(sounds):
    batches = SoundBatches(sounds, WINDOW, 6, seed=1)
    for t in range(20):
        batch = batches.batch(t)
        assert (batch.dtype, batch.shape) == (torch.float32, (6, 2, WINDOW))
        for window in batch:
            number, places = told(window)
            assert number not in HELD
            assert places == list(range(places[0], places[0] + min(WINDOW, LENGTHS[number])))


def test_shorter_sounds_stand_whole_and_masked(sounds):
    batches = SoundBatches(sounds, WINDOW, EPOCH, seed=1)
    for t in range(3):
        short = {number: places for number, places in map(told, batches.batch(t)) if LENGTHS[number] < WINDOW}
        assert short == {0: [0, 1, 2], 3: [0]}


@pytest.mark.parametrize("size", [1, 4, 14, 30])
def test_every_epoch_has_every_sample(sounds, size):
    batches = SoundBatches(sounds, WINDOW, size, seed=1)
    windows = itertools.chain.from_iterable(batches.batch(t) for t in itertools.count())
    seen = [told(window) for window in itertools.islice(windows, 20 * EPOCH)]
    epochs = [seen[start : start + EPOCH] for start in range(0, 20 * EPOCH, EPOCH)]
    for epoch in epochs:
        assert Counter(number for number, _ in epoch) == WINDOWS
        heard = {(number, place) for number, places in epoch for place in places}
        assert heard == {(i, place) for i, n in enumerate(LENGTHS) if i not in HELD for place in range(n)}
    assert epochs[0] != epochs[1] != epochs[2]  # each in its own order


def test_windows_begin_anywhere(sounds):
    batches = SoundBatches(sounds, WINDOW, EPOCH, seed=1)
    begun: dict[int, set[int]] = {}
    for t in range(100):
        for number, places in map(told, batches.batch(t)):
            begun.setdefault(number, set()).add(places[0])
    # Of 20 samples three windows have four to spare, so that the second begins at 4 to 8
    assert begun == {0: {0}, 1: {0}, 2: {0, 1}, 3: {0}, 4: {0, *range(4, 9), 12}, 6: set(range(33))}


def test_a_batch_depends_on_the_seed_and_its_number_alone(sounds):
    batches = [SoundBatches(sounds, WINDOW, 6, seed) for seed in (1, 1, 2)]
    assert torch.equal(batches[0].batch(5), batches[1].batch(5))
    assert not torch.equal(batches[0].batch(5), batches[2].batch(5))
    assert not torch.equal(batches[0].batch(5), batches[0].batch(6))


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_goes_on_from_any_batch_whatever_the_workers(sounds, workers):
    batches = SoundBatches(sounds, WINDOW, 6, 1, CHANGES)
    batches.first = 3
    found = list(itertools.islice(DataLoader(batches, batch_size=None, num_workers=workers), 7))
    assert all(torch.equal(batch, batches.batch(3 + i)) for i, batch in enumerate(found))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch(stereo, world):
    whole = SoundBatches(stereo, WINDOW, 6, 1, CHANGES)
    shares = [SoundBatches(stereo, WINDOW, 6, 1, CHANGES, rank=rank, world=world) for rank in range(world)]
    for t in range(5):
        together = torch.stack([share.batch(t) for share in shares], dim=1).flatten(0, 1)
        assert torch.equal(together, whole.batch(t))


def test_channels_lie_beside_each_other_and_share_a_mask(sounds, stereo):
    one, two = (SoundBatches(each, WINDOW, 6, seed=1).batch(2) for each in (sounds, stereo))
    assert two.shape == (6, 3, WINDOW)
    assert torch.equal(two[:, 0], one[:, 0])
    assert torch.equal(two[:, 1], -one[:, 0])
    assert torch.equal(two[:, 2], one[:, 1])


def test_louder_windows_are_the_same_windows(sounds):
    plain, louder = (SoundBatches(sounds, WINDOW, 6, 1, ranges) for ranges in (None, SoundRanges(gain=(6, 6))))
    for t in range(3):
        one, other = plain.batch(t), louder.batch(t)
        torch.testing.assert_close(other[:, 0], one[:, 0] * 10 ** (6 / 20))
        assert torch.equal(other[:, 1], one[:, 1])


@pytest.mark.parametrize(("speed", "filled"), [(2, {0: 2, 1: 4, 2: 4, 3: 1}), (0.5, {0: 6, 1: 8, 2: 8, 3: 2})])
def test_faster_windows_have_more_of_a_sound_and_still_one_size(sounds, speed, filled):
    batches = SoundBatches(sounds, WINDOW, EPOCH, 1, SoundRanges(speed=(speed, speed)))
    plain = SoundBatches(sounds, WINDOW, EPOCH, 1)
    assert batches.batch(0).shape == plain.batch(0).shape
    for one, other in zip(plain.batch(0), batches.batch(0)):
        number = told(one)[0]
        count = int(other[1].sum())
        assert other[1].tolist() == [1] * count + [0] * (WINDOW - count)
        assert count == filled.get(number, WINDOW)
