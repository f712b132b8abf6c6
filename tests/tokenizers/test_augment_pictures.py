"""Pictures that are changed in training: parts as a slow oracle scales them, mirror images to the pixel."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.tokenizers.augment_pictures import PictureAugmentation, PictureRanges
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.rgb import RgbTokenizer

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
CHANGES = [PictureRanges(crop=(0.3, 1), flip=0.5).draw(np.random.default_rng(i)) for i in range(30)]


def cubic(distance: float) -> float:
    """Keys' kernel, a = -1/2, as Pillow scales by."""
    x = abs(distance)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def enlarging(given: int, made: int) -> np.ndarray:
    """[made, given]: how much each pixel of a row counts in each of a longer one."""
    weights = np.array([[cubic((i + 0.5) * given / made - 0.5 - k) for k in range(given)] for i in range(made)])
    return weights / weights.sum(1, keepdims=True)


def slowly_changed(picture: np.ndarray, change: PictureAugmentation) -> np.ndarray:
    """The picture cropped, scaled by matrices and mirrored."""
    height, width, _ = picture.shape
    h, w = round(change.crop * height), round(change.crop * width)
    top, left = int(change.top * (height - h + 1)), int(change.left * (width - w + 1))
    part = picture[top : top + h, left : left + w].astype(float)
    found = np.einsum("yi,xj,ijc->yxc", enlarging(h, height), enlarging(w, width), part).clip(0, 255)
    return found[:, ::-1] if change.flip else found


@pytest.mark.parametrize("shape", [(8, 8, 3), (33, 33, 3), (4, 9, 3)])
def test_a_part_is_scaled_to_the_whole(shape):
    picture = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    for change in CHANGES:
        found = change.apply(picture)
        assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.uint8, shape, True)
        assert np.abs(found - slowly_changed(picture, change)).max() < 0.501  # to the nearest level


def test_mirror_images_and_whole_pictures_are_exact():
    assert np.array_equal(PictureAugmentation(flip=True).apply(PICTURE), PICTURE[:, ::-1])
    assert np.array_equal(PictureAugmentation(1.0, 0.9, 0.9).apply(PICTURE), PICTURE)


@pytest.mark.parametrize("tokenizer", [RgbTokenizer(8), PaletteTokenizer.fit([PICTURE.reshape(-1, 3)], 8, colours=9)])
def test_augmented_ids_are_those_of_the_changed_picture(tokenizer):
    ids = tokenizer.encode(PICTURE)
    shown = tokenizer.decode(ids)
    for change in CHANGES:
        assert np.array_equal(tokenizer.augment(ids, change), tokenizer.encode(change.apply(shown)))
    flipped = tokenizer.augment(ids, PictureAugmentation(flip=True)).reshape(8, 8, -1)
    assert np.array_equal(flipped, ids.reshape(8, 8, -1)[:, ::-1])


def test_changes_are_drawn_within_their_ranges():
    ranges, rng = PictureRanges(crop=(0.5, 0.75), flip=0.25), np.random.default_rng(1)
    drawn = [ranges.draw(rng) for _ in range(1000)]
    assert all(0.5 <= change.crop <= 0.75 and 0 <= change.top < 1 and 0 <= change.left < 1 for change in drawn)
    assert 190 < sum(change.flip for change in drawn) < 310
    assert {int(change.top * 3) for change in drawn} == {0, 1, 2}
    assert PictureRanges().idle
    assert not any(each.idle for each in (ranges, PictureRanges(flip=0.1), PictureRanges(crop=(0.9, 1))))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"crop": (0, 1)}, "crop .*from 0.1 to 1"), ({"crop": (0.5, 1.5)}, "crop .*from 0.1 to 1"),
        ({"crop": (1, 0.5)}, r"crop .*\[LEAST, MOST\]"), ({"crop": 0.5}, r"crop 0.5: \[LEAST, MOST\]"),
        ({"flip": 1.5}, "flip 1.5: a number from 0 to 1"),
    ],
)  # fmt: skip
def test_ranges_that_are_none(given, said):
    with pytest.raises(ValueError, match=said):
        PictureRanges(**given)
