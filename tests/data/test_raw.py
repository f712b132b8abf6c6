"""Pictures for codecs: batch t is a function of (data, seed, t), and every epoch has each picture once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from helicon.data.corpus_writer import write_corpus
from helicon.data.raw import PictureBatches, Pictures
from helicon.tokenizers.augment_pictures import PictureRanges

SIZE, COUNT = 2, 10
FLIPS, CROPS = PictureRanges(flip=0.5), PictureRanges(crop=(0.5, 1), flip=0.5)
HELD = [3, 7]
TRAIN = [0, 1, 2, 4, 5, 6, 8, 9]


def picture(number: int) -> np.ndarray:
    """Pixels [2, 2, 3] of which each is known: ten times the number, its place, its channel."""
    return (20 * number + np.arange(SIZE * SIZE * 3)).astype(np.uint8).reshape(SIZE, SIZE, 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Pictures:
    """Ten pictures, two held out."""
    rows = [(f"{i}.png", None, i in HELD, {"image": picture(i).ravel()}) for i in range(COUNT)]
    return Pictures(write_corpus(tmp_path_factory.mktemp("corpus"), "image", rows, {"image": 256}), "image", SIZE)


def numbers(batch: Tensor) -> list[int]:
    """Which pictures these are, mirrored or not."""
    return (batch[:, 0, 0].min(-1).values // 20).tolist()


def turned(batch: Tensor) -> list[bool]:
    """Which of them are mirrored."""
    return (batch[:, 0, 0, 0] > batch[:, 0, 0, 1]).tolist()


def test_pictures_are_channels_of_rows(pictures):
    batch = pictures.batch([4, 0])
    assert (batch.shape, batch.dtype) == ((2, 3, SIZE, SIZE), torch.uint8)
    assert batch.is_contiguous()
    assert batch[1].tolist() == [[[0, 3], [6, 9]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]]
    assert torch.equal(batch[0], batch[1] + 80)


def test_the_mean_picture(pictures):
    found = pictures.mean(TRAIN)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, pictures.batch(TRAIN).double().mean(0))
    assert pictures.mean([]).tolist() == torch.zeros(3, SIZE, SIZE).tolist()


@pytest.mark.parametrize("size", [1, 3, 8, 20])
def test_every_epoch_has_each_picture_to_train_on_once(pictures, size):
    batches = PictureBatches(pictures, size, 1, FLIPS)
    seen = [number for t in range(3 * 8) for number in numbers(batches.batch(t))]
    epochs = [seen[start : start + 8] for start in range(0, 24, 8)]
    assert all(sorted(epoch) == TRAIN for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]  # each in its own order


def test_a_batch_depends_on_the_seed_and_its_number_alone(pictures):
    batches = [PictureBatches(pictures, 6, seed, FLIPS) for seed in (1, 1, 2)]
    assert torch.equal(batches[0].batch(5), batches[1].batch(5))
    assert not torch.equal(batches[0].batch(5), batches[2].batch(5))
    assert not torch.equal(batches[0].batch(5), batches[0].batch(6))


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_goes_on_from_any_batch_whatever_the_workers(pictures, workers):
    batches = PictureBatches(pictures, 6, 1, CROPS)
    batches.first = 3
    found = list(itertools.islice(DataLoader(batches, batch_size=None, num_workers=workers), 7))
    assert all(torch.equal(batch, batches.batch(3 + i)) for i, batch in enumerate(found))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch(pictures, world):
    whole = PictureBatches(pictures, 6, 1, CROPS)
    shares = [PictureBatches(pictures, 6, 1, CROPS, rank=rank, world=world) for rank in range(world)]
    for t in range(5):
        together = torch.stack([share.batch(t) for share in shares], dim=1).flatten(0, 1)
        assert torch.equal(together, whole.batch(t))


def test_half_of_the_pictures_are_mirrored(pictures):
    plain, mirrored = (PictureBatches(pictures, 8, 1, ranges) for ranges in (None, FLIPS))
    flips = []
    for t in range(50):
        one, other = plain.batch(t), mirrored.batch(t)
        assert not any(turned(one))
        flips += turned(other)
        for picture, again, flipped in zip(one, other, turned(other)):
            assert torch.equal(again, picture.flip(-1) if flipped else picture)
    assert 160 < sum(flips) < 240
    assert len({tuple(flips[start : start + 8]) for start in range(0, 400, 8)}) > 30  # each batch its own


def test_each_picture_is_changed_as_its_numbers_in_the_batch_say(pictures):
    batches = PictureBatches(pictures, 6, 3, CROPS)
    plain = PictureBatches(pictures, 6, 3)
    for t in range(5):
        rng = np.random.default_rng((3, 1, t))
        expected = []
        for each in plain.batch(t):
            change = CROPS.draw(rng)
            expected.append(torch.from_numpy(change.apply(each.permute(1, 2, 0).numpy())).permute(2, 0, 1))
        assert torch.equal(batches.batch(t), torch.stack(expected))
