"""Sheets of pictures, down to the pixel."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from helicon.formats.image import read_image
from helicon.formats.sheets import before_and_after, contact_sheet, enlarged

WHITE = 255


def flat(height: int, width: int, level: int) -> np.ndarray:
    """A picture of one grey."""
    return np.full((height, width, 3), level, np.uint8)


def test_enlarging_repeats_pixels() -> None:
    picture = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert enlarged(picture, 4).tolist() == [[[1, 2, 3]] * 2 + [[4, 5, 6]] * 2] * 2
    assert enlarged(picture, 5).shape == (3, 6, 3)  # a whole factor: at least 5
    assert enlarged(picture, 2).tolist() == picture.tolist()
    assert enlarged(flat(300, 10, 0)).shape == (300, 10, 3)


def test_contact_sheet_of_four(tmp_path: Path) -> None:
    pictures = [flat(8, 8, 10), flat(4, 4, 20), flat(8, 4, 30), flat(4, 8, 40)]
    contact_sheet(pictures, tmp_path / "a.png", columns=2, smallest=8)
    sheet = read_image(tmp_path / "a.png")[0][..., 0]
    assert sheet.shape == (8 + 4 + 8, 8 + 4 + 8)
    expected = np.full((20, 20), WHITE)
    expected[:8, :8] = 10
    expected[:8, 12:] = 20  # enlarged twice
    expected[12:, 2:6] = 30  # in the middle of its cell
    expected[14:18, 12:] = 40
    np.testing.assert_array_equal(sheet, expected)


@pytest.mark.parametrize(
    ("n", "shape", "columns", "rows"),
    [(1, (96, 96), 1, 1), (4, (96, 96), 2, 2), (5, (96, 96), 2, 3), (64, (96, 96), 8, 8), (8, (50, 100), 2, 4)],
)
def test_sheets_are_nearly_square(tmp_path: Path, n: int, shape: tuple[int, int], columns: int, rows: int) -> None:
    contact_sheet([flat(*shape, 0)] * n, tmp_path / "a.png")
    height, width = read_image(tmp_path / "a.png")[0].shape[:2]
    assert (height, width) == (rows * (shape[0] + 4) - 4, columns * (shape[1] + 4) - 4)


def test_few_pictures_leave_no_empty_columns(tmp_path: Path) -> None:
    contact_sheet([flat(96, 96, 0)] * 2, tmp_path / "a.png", columns=9)
    assert read_image(tmp_path / "a.png")[0].shape == (96, 196, 3)


def test_pairs_stand_closer_than_their_neighbours(tmp_path: Path) -> None:
    pairs = [(flat(96, 96, 10 * i), flat(48, 48, 10 * i + 5)) for i in range(4)]
    before_and_after(pairs, tmp_path / "a.png")
    sheet = read_image(tmp_path / "a.png")[0][..., 0]
    runs = [0, *(np.flatnonzero(np.diff(sheet[0].astype(int))) + 1).tolist(), sheet.shape[1]]
    assert [(int(sheet[0, at]), end - at) for at, end in pairwise(runs)] == [(0, 96), (WHITE, 4), (5, 96)]
    assert sheet.shape == (4 * 96 + 3 * 12, 196)
    assert sheet[:, 0].tolist()[90:114] == [0] * 6 + [WHITE] * 12 + [10] * 6


def test_sheets_refuse_what_they_cannot_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no picture"):
        contact_sheet([], tmp_path / "a.png")
    with pytest.raises(ValueError, match="1 or more"):
        contact_sheet([flat(1, 1, 0)], tmp_path / "a.png", columns=0)
    with pytest.raises(ValueError, match="uint8"):
        before_and_after([(flat(1, 1, 0), np.zeros((1, 1, 3)))], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
