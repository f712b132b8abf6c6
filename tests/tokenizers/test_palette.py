"""Pictures to colours of a palette and back, and how palettes are fitted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from helicon.tokenizers import palette
from helicon.tokenizers.clusters import NearestCentroid, NearestTable, fit_colours, lloyd, pack, unpack
from helicon.tokenizers.palette import PaletteTokenizer, sample_pixels

BLACK, RED, GREEN, BLUE, WHITE = [0, 0, 0], [255, 0, 0], [0, 128, 0], [0, 0, 255], [255, 255, 255]
FLAG = PaletteTokenizer(np.array([BLACK, RED, GREEN, BLUE, WHITE]) / 127.5 - 1, 4)


def brute(colours: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The definition: first index of the least squared distance in [-1, 1]^3, in float64."""
    away = (colours[:, None].astype(np.float64) / 127.5 - 1) - centroids.astype(np.float64)
    return (away**2).sum(-1).argmin(-1)


def drawn(seed: int, n: int, spread: float = 60.0) -> np.ndarray:
    """uint8 [n, 3]: colours about a few middles, as in photographs."""
    rng = np.random.default_rng(seed)
    middles = rng.integers(0, 256, (8, 3))[rng.integers(0, 8, n)]
    return np.clip(middles + rng.normal(0, spread, (n, 3)), 0, 255).astype(np.uint8)


def test_a_picture_is_its_nearest_colours_row_by_row():
    pink, dark, leaf = [255, 100, 120], [30, 30, 30], [60, 140, 40]
    picture = np.array(
        [[BLACK, RED, GREEN, BLUE], [WHITE, pink, dark, leaf], [pink, pink, dark, dark], [WHITE, WHITE, RED, RED]],
        np.uint8,
    )
    ids = [0, 1, 2, 3, 4, 1, 0, 2, 1, 1, 0, 0, 4, 4, 1, 1]
    assert FLAG.encode(picture).tolist() == ids
    assert FLAG.encode(picture).dtype == np.int64
    assert FLAG.encode(picture[:2]).tolist() == ids[:8]
    shown = [[BLACK, RED, GREEN, BLUE], [WHITE, RED, BLACK, GREEN], [RED, RED, BLACK, BLACK], [WHITE, WHITE, RED, RED]]
    assert FLAG.decode(np.array(ids)).tolist() == shown


def test_of_equally_near_colours_the_first_is_taken():
    even = np.array([[-0.5, -1, -1], [-1, -0.5, -1], [-1, -1, -0.5], [-0.5, -1, -1]])  # all half a unit from black
    for order in ([0, 1, 2, 3], [2, 1, 0, 3], [3, 0, 1, 2]):
        assert PaletteTokenizer(even[order], 1).encode(np.zeros((1, 1, 3), np.uint8)).tolist() == [0]


def test_every_value_of_a_channel_can_be_a_centroid_and_comes_back():
    grey = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    tokenizer = PaletteTokenizer(grey[0] / 127.5 - 1, 256)
    assert np.array_equal(tokenizer.encode(grey), np.arange(256))
    assert np.array_equal(tokenizer.decode(np.arange(256)), grey)


@pytest.mark.parametrize("k", [1, 2, 37, 512])
@pytest.mark.parametrize("spread", [0.002, 0.4])
def test_nearest_is_what_brute_force_finds(k, spread):
    rng = np.random.default_rng(k)
    centroids = np.clip(rng.normal(-0.2, spread, (k, 3)), -1, 1).astype(np.float32)
    colours = np.concatenate([rng.integers(0, 256, (4000, 3), np.uint8), drawn(k, 4000, 20)])
    found, distances = NearestCentroid(centroids)(colours)
    assert np.array_equal(found, brute(colours, centroids))
    away = colours / 127.5 - 1 - centroids[found].astype(np.float64)
    assert np.array_equal(distances, (away**2).sum(-1))
    assert np.array_equal(NearestTable(centroids)(colours), found)


PLACES = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.just(3)), elements=st.sampled_from([-1, -0.5, 0, 1])
)


@given(PLACES)
@settings(max_examples=30, deadline=None)
def test_nearest_is_what_brute_force_finds_among_many_ties(centroids):
    colours = unpack(np.arange(0, 1 << 24, 4099))
    assert np.array_equal(NearestCentroid(centroids)(colours)[0], brute(colours, centroids))


def test_more_colours_than_are_worked_on_at_once():
    rng = np.random.default_rng(0)
    colours = rng.permutation(unpack(np.arange(0, 1 << 24, 401)))
    assert len(colours) == 41_839
    centroids = rng.uniform(-1, 1, (16, 3)).astype(np.float32)
    expected = brute(colours, centroids)
    assert np.array_equal(NearestCentroid(centroids)(colours)[0], expected)
    table = NearestTable(centroids)
    for part in (colours[:100], colours, colours):  # hardly, partly and wholly filled before
        assert np.array_equal(table(part), expected[: len(part)])


def test_pixels_of_a_photograph_are_encoded_as_brute_force_does(shared_data):
    paths = sorted((shared_data / "images" / "grocery").rglob("*.png"))[::150]
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    tokenizer = PaletteTokenizer.fit(map(sample_pixels, pictures), 64, 128)
    for picture in pictures:
        assert np.array_equal(tokenizer.encode(picture), brute(picture.reshape(-1, 3), tokenizer.centroids))


def test_equal_palettes_share_a_table_which_is_not_made_before_it_is_needed():
    palette._table.cache_clear()
    one, other = (PaletteTokenizer.from_state(FLAG.state()) for _ in range(2))
    one.decode(np.arange(5))
    assert palette._table.cache_info().currsize == 0
    for tokenizer in (one, other):
        tokenizer.encode(np.zeros((1, 4, 3), np.uint8))
    assert palette._table.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("ids", "picture"),
    [
        ([], []),
        ([1], [[RED, WHITE, WHITE, WHITE]]),
        ([1, 2, 3, 0], [[RED, GREEN, BLUE, BLACK]]),
        ([1, 2, 3, 0, 0], [[RED, GREEN, BLUE, BLACK], [BLACK, WHITE, WHITE, WHITE]]),
    ],
)
def test_what_is_missing_of_a_row_is_white(ids, picture):
    made = FLAG.decode(np.array(ids, np.int64))
    assert made.tolist() == picture
    assert (made.shape[1:], made.dtype) == ((4, 3), np.uint8)


def test_ids_outside_the_block_are_refused():
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match=r"ids must be 0 \.\. 4"):
            FLAG.decode(np.array([0, wrong]))


@pytest.mark.parametrize("shape", [(4, 5, 3), (5, 4, 3), (4, 3, 3)])
def test_pictures_of_another_size_are_refused(shape):
    message = rf"a picture of {shape[0]} rows of {shape[1]} pixels: 1 to 4 rows of 4 are accepted"
    with pytest.raises(ValueError, match=message):
        FLAG.encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("centroids", "message"),
    [
        (np.zeros((0, 3)), r"shape \[0, 3\]: \[1 .. 4096, 3\] is accepted"),
        (np.zeros((4, 2)), r"shape \[4, 2\]"),
        (np.zeros(3), r"shape \[3\]"),
        (np.zeros((4097, 3)), r"shape \[4097, 3\]"),
        (np.array([[0, 0, 1.5]]), r"within \[-1.0, 1.0\]"),
        (np.array([[0, 0, np.nan]]), r"within \[-1.0, 1.0\]"),
    ],
)
def test_what_is_no_palette_is_refused(centroids, message):
    with pytest.raises(ValueError, match=message):
        PaletteTokenizer(centroids, 4)


def test_what_it_tells_others():
    assert FLAG.block.tokens == ("c0", "c1", "c2", "c3", "c4")
    assert PaletteTokenizer(np.zeros((512, 3)), 4).block.tokens[7] == "c007"
    assert (FLAG.block.name, FLAG.shape, FLAG.read_options, FLAG.automaton) == ("image", (4, 4), {"size": 4}, None)
    assert FLAG.units(np.zeros(12)) == {"pixel": 12.0}
    assert FLAG.describe() == {"colours": 5, "size": 4}


def test_state_survives_json_to_the_bit():
    centroids = np.random.default_rng(0).uniform(-1, 1, (300, 3)).astype(np.float32)
    state = json.loads(json.dumps(PaletteTokenizer(centroids, 8, "photo").state()))
    again = PaletteTokenizer.from_state(state)
    assert again.centroids.tobytes() == centroids.tobytes()
    assert (again.block.name, again.shape, again.state()) == ("photo", (8, 8), state)
    with pytest.raises(ValueError, match=r"range must be \[-1.0, 1.0\], got \[0, 1\]"):
        PaletteTokenizer.from_state({**state, "range": [0, 1]})


def test_few_colours_are_taken_as_they_are_from_dark_to_light():
    flag = np.array([WHITE, RED, BLACK, GREEN, WHITE, BLUE, BLUE], np.uint8)
    fitted = PaletteTokenizer.fit([flag[:3], flag[3:]], 4, colours=5)
    assert fitted.colours.tolist() == [BLACK, BLUE, GREEN, RED, WHITE]
    assert fitted.encode(np.array([[WHITE, RED, BLACK, GREEN]], np.uint8)).tolist() == [4, 3, 0, 2]


def test_a_colour_counts_as_often_as_it_is_there():
    pixels = np.array([[1, 0, 0]] * 9 + [[1, 10, 0]] + [[0, 0, 240]] * 5, np.uint8)
    assert PaletteTokenizer.fit([pixels], 4, colours=2).colours.tolist() == [[1, 1, 0], [0, 0, 240]]
    assert PaletteTokenizer.fit([pixels], 4, colours=1).colours.tolist() == [[1, 1, 80]]  # 10 / 15, 10 / 15, 1200 / 15


PIXELS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 60), st.just(3)), elements=st.integers(0, 9))


@given(PIXELS, st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_a_fitted_palette_has_all_its_colours_and_each_comes_back(pixels, colours):
    fitted = PaletteTokenizer.fit([pixels], 1, colours)
    ids = np.arange(min(colours, len(np.unique(pixels, axis=0))))
    assert len(fitted.block) == len(ids)
    shown = fitted.decode(ids)[:, 0]
    assert np.array_equal(NearestCentroid(fitted.centroids)(shown)[0], ids)


def test_centroids_that_would_show_one_colour_or_lose_theirs_are_told_apart():
    levels = np.array([[10.4, 10.4, 10.4], [9.4, 10, 10], [50.2, 50, 50], [49.8, 50, 50]])
    centroids = (levels / 127.5 - 1).astype(np.float32)
    assert palette.shown(centroids).tolist() == [[10, 10, 10], [9, 10, 10], [50, 50, 50], [50, 50, 50]]
    assert brute(palette.shown(centroids), centroids).tolist() == [1, 1, 3, 3]
    pixels = np.array([[10, 10, 10], [9, 10, 10], [50, 50, 50], [60, 60, 60], [70, 70, 70]], np.uint8)
    apart = palette._separated(centroids, pixels, np.array([1, 1, 1, 9, 1]))
    assert palette.shown(apart).tolist() == [[9, 10, 10], [10, 10, 10], [50, 50, 50], [60, 60, 60]]
    assert brute(palette.shown(apart), apart).tolist() == [0, 1, 2, 3]


def test_fitting_is_the_same_every_time_whatever_the_order_of_samples():
    samples = [drawn(seed, 300) for seed in range(6)]
    fitted = PaletteTokenizer.fit(iter(samples), 4, 40)
    assert PaletteTokenizer.fit(samples[::-1], 4, 40).state() == fitted.state()
    assert PaletteTokenizer.fit(samples, 4, 40, seed=1).state() != fitted.state()


def test_without_pixels_there_is_no_palette():
    for samples in ([], [np.zeros((0, 3), np.uint8)]):
        with pytest.raises(ValueError, match="no pixels"):
            PaletteTokenizer.fit(samples, 4)
    for colours in (0, 4097):
        with pytest.raises(ValueError, match=r"colours must be 1 \.\. 4096"):
            PaletteTokenizer.fit([np.zeros((1, 3), np.uint8)], 4, colours)


def cost(pixels: np.ndarray, centroids: np.ndarray) -> float:
    """Squared error of pixels."""
    return float(((pixels / 127.5 - 1 - centroids[brute(pixels, centroids)]) ** 2).sum())


@pytest.mark.parametrize("k", [8, 64, 256])
def test_the_fit_is_as_good_as_scikit_learns(k, shared_data):
    cluster = pytest.importorskip("sklearn.cluster")
    paths = sorted((shared_data / "images" / "grocery").rglob("*.png"))[::100]
    pixels = np.concatenate([sample_pixels(np.asarray(Image.open(path).convert("RGB")), 500) for path in paths])
    theirs = cluster.KMeans(k, n_init=3, random_state=0).fit(pixels / 127.5 - 1).inertia_
    assert cost(pixels, PaletteTokenizer.fit([pixels], 4, k).centroids) < 1.02 * theirs


def test_rounds_of_lloyd_never_cost_more_and_leave_no_centroid_without_colours():
    colours = np.unique(drawn(3, 2000) // 8, axis=0)
    start = torch.full((20, 3), 0.9, dtype=torch.float64)  # all but the first get no colour at all
    found = lloyd(colours, start, torch.ones(len(colours), dtype=torch.float64))
    centroids = found.centroids.numpy()
    assert len(np.unique(brute(colours, centroids))) == 20
    assert found.cost == pytest.approx(cost(colours, centroids))
    assert found.cost < 1.2 * cost(colours, fit_colours(colours, np.ones(len(colours)), 20))


def test_codes_of_colours():
    assert pack(np.array([[1, 2, 3], [255, 255, 255]], np.uint8)).tolist() == [0x010203, 0xFFFFFF]
    assert unpack(np.array([0x010203, 0xFFFFFF])).tolist() == [[1, 2, 3], [255, 255, 255]]


def test_a_sample_depends_on_the_picture_alone():
    picture = unpack(np.arange(5000)).reshape(50, 100, 3)  # every pixel another colour
    sample = sample_pixels(picture)
    assert sample.shape == (1024, 3)
    assert len(np.unique(pack(sample))) == 1024
    assert np.array_equal(sample, sample_pixels(picture.copy()))
    rows = np.bincount(pack(sample) // 100 // 10)  # from all over the picture
    assert rows.min() > 150
    assert sample_pixels(picture[:5]).tolist() == picture[:5].reshape(-1, 3).tolist()
