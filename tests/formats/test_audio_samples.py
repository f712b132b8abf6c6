"""Samples cleaned, mixed, resampled and cut into blocks."""

from collections.abc import Iterator

import numpy as np
import pytest

from helicon.formats.audio_samples import clean, length_at, mix, regrouped, resampled
from helicon.formats.read_report import ReadReport


def cut(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Blocks of `size`."""
    return (samples[i : i + size] for i in range(0, len(samples), size))


def test_samples_within_full_scale_are_left_alone() -> None:
    samples, report = np.array([[-1, 1], [0, 0.5]], np.float32), ReadReport()
    assert clean(samples, report) is samples
    assert clean(np.zeros((0, 2), np.float32), report).shape == (0, 2)
    assert report.counts == {}


def test_what_is_beyond_is_clipped_and_what_is_no_number_is_zero() -> None:
    samples, report = np.array([[np.nan, 1.0001], [-3, 0.5]], np.float32), ReadReport()
    assert clean(samples, report).tolist() == [[0, 1], [-1, 0.5]]
    assert report.counts == {"samples not finite (made 0)": 1, "samples beyond full scale (clipped)": 2}


@pytest.mark.parametrize(
    ("given", "left", "right"),
    [
        (1, [1], [1]),
        (2, [1, 0], [0, 1]),
        (3, [1 / 2, 0, 1 / 2], [0, 1, 0]),
        (4, [1 / 2, 0, 1 / 2, 0], [0, 1 / 2, 0, 1 / 2]),
        (6, [0.4142, 0, 0.2929, 0, 0.2929, 0], [0, 0.4142, 0.2929, 0, 0, 0.2929]),  # 1 and .7071 over 2.4142
        (8, [1 / 4, 0] * 4, [0, 1 / 4] * 4),
    ],
)
def test_how_much_of_each_channel_is_heard(given: int, left: list[float], right: list[float]) -> None:
    each = np.eye(given, dtype=np.float32)  # a sample a channel, alone
    np.testing.assert_allclose(mix(each, 2), np.stack([left, right], axis=1), atol=1e-4)
    np.testing.assert_allclose(mix(each, 1), np.full((given, 1), 1 / given), atol=1e-7)
    np.testing.assert_array_equal(mix(each, given), each)
    assert np.abs(mix(np.ones((1, given), np.float32), 2)).max() <= 1  # nothing clips


def test_channels_of_ogg_are_in_another_order() -> None:
    """Front left, centre, front right, rear left, rear right, bass."""
    each = np.eye(6, dtype=np.float32)
    expected = [[0.4142, 0], [0.2929, 0.2929], [0, 0.4142], [0.2929, 0], [0, 0.2929], [0, 0]]
    np.testing.assert_allclose(mix(each, 2, ogg=True), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("frames", "own", "rate", "expected"),
    [
        (44100, 44100, 8000, 8000),
        (1000, 8000, 44100, 5513),  # 5512.5
        (2, 44100, 8000, 1),  # .36: never none
        (17990, 17990, 8000, 8000),
        (3 * 10**10, 48000, 44100, 27562500000),
    ],
)
def test_lengths(frames: int, own: int, rate: int, expected: int) -> None:
    assert length_at(frames, own, rate) == expected


@pytest.mark.parametrize(("own", "rate"), [(8000, 8000), (44100, 8000), (8000, 44100), (17990, 22051), (100, 4800)])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000, 12_345])
def test_resampled_blocks_are_as_long_as_they_should_be_however_they_are_cut(own: int, rate: int, n: int) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (n, 2)).astype(np.float32)
    whole = np.concatenate(list(resampled(iter([samples]), 2, own, rate)))
    assert whole.shape == (length_at(n, own, rate), 2)
    assert np.abs(whole).max() <= 1
    for size in (5000, 777) if n > 1000 else (1, 7):
        np.testing.assert_array_equal(np.concatenate(list(resampled(cut(samples, size), 2, own, rate))), whole)


@pytest.mark.parametrize("size", [1, 3, 4, 10, 100])
def test_regrouped_blocks_have_one_size(size: int) -> None:
    samples = np.arange(20, dtype=np.float32).reshape(10, 2)
    for given in (1, 4, 10):
        blocks = list(regrouped(cut(samples, given), size))
        assert [len(block) for block in blocks] == [size] * (10 // size) + [10 % size] * (10 % size > 0)
        np.testing.assert_array_equal(np.concatenate(blocks), samples)
    assert list(regrouped(iter([]), size)) == []
