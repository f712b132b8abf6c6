"""Pictures of sound: there, as large as they should be, and brighter where there is something to hear."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helicon.formats.sound_plots import sound_picture, spectrogram_pairs

BLUE = (0x2F, 0x6F, 0xB7)
RATE = 8000


def tone(seconds: float, hz: float, loud: float = 0.5) -> np.ndarray:
    """float32 [S, 1]."""
    return (loud * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)[:, None]


def pixels(path: Path) -> np.ndarray:
    """float [H, W, 3]"""
    with Image.open(path) as image:
        assert (image.format, image.width) == ("PNG", 1000)
        return np.asarray(image.convert("RGB")).astype(float)


def bright(picture: np.ndarray, columns: slice) -> np.ndarray:
    """Rows, as shares of the height from the top, where the spectrogram of these columns has bright colours."""
    red, _, blue = np.moveaxis(picture[:, columns], -1, 0)
    return np.flatnonzero(((red > 240) & (blue > 150) & (blue < 215)).mean(axis=1) > 0.5) / len(picture)


def test_a_tone_is_seen_where_and_while_it_sounds(tmp_path: Path) -> None:
    """A low tone, then a high one: one bright line low in the left half, one high in the right half."""
    sound_picture(np.concatenate([tone(1, 300), tone(1, 2500)]), RATE, tmp_path / "a.png")
    picture = pixels(tmp_path / "a.png")
    low, high = bright(picture, slice(150, 450)), bright(picture, slice(600, 900))
    assert 0.7 < low.min() <= low.max() < 0.85
    assert 0.35 < high.min() <= high.max() < 0.5
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).astype(int).tolist()}
    assert BLUE in colours


@pytest.mark.parametrize(
    "samples", [np.zeros((1, 1)), np.ones((1, 2)), np.zeros((8000, 1)), np.ones((2, 1)), np.zeros((959, 6))]
)
@pytest.mark.parametrize("rate", [100, 8000, 768_000])
def test_one_sample_and_silence_are_pictures(tmp_path: Path, samples: np.ndarray, rate: int) -> None:
    sound_picture(samples.astype(np.float32), rate, tmp_path / "a.png")
    picture = pixels(tmp_path / "a.png")
    if not samples.any():
        assert (picture[-100, 300:700] < 10).all()  # silence is dark


def test_two_hours_take_seconds(tmp_path: Path) -> None:
    two_hours = np.broadcast_to(np.float32(0.25), (2 * 3600 * 44_100, 1))
    start = time.process_time()
    sound_picture(two_hours, 44_100, tmp_path / "a.png")
    assert time.process_time() - start < 20
    assert pixels(tmp_path / "a.png").shape == (360, 1000, 3)


def test_before_and_after_share_their_colours(tmp_path: Path) -> None:
    """The same tone ten times softer is 20 dB darker; a shorter sound leaves the end of its row white."""
    loud, soft = tone(1, 1000), tone(0.5, 1000, 0.05)
    spectrogram_pairs([("a $x$ \\ b", loud, soft, RATE), ("twice", loud, loud, RATE)], tmp_path / "a.png")
    picture = pixels(tmp_path / "a.png")
    assert picture.shape == (430, 1000, 3)
    first = picture[20:190]
    assert (first[60, 750:870] == 255).all()
    assert bright(first, slice(150, 350)).size > 0
    assert bright(first, slice(550, 700)).size == 0
    second = picture[230:380]
    np.testing.assert_array_equal(second[:, 100:400], second[:, 543:843])  # the same sound, the same picture


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 pair or more is accepted"):
        spectrogram_pairs([], tmp_path / "a.png")
    with pytest.raises(ValueError, match="no samples"):
        sound_picture(np.zeros((0, 1), np.float32), RATE, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        sound_picture(tone(0.2, 440), RATE, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_importing_does_not_import_matplotlib() -> None:
    code = "import sys, helicon.formats.sound_plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
