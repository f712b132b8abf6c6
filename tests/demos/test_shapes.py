from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest

from helicon.demos.shapes import (
    BACKGROUND,
    COLOURS,
    HELD_OUT,
    OPPOSITES,
    RELATIONS,
    SHAPES,
    SIZES,
    THINGS,
    Scene,
    Thing,
    draw,
    held_out_scene,
    is_held_out,
    parse_caption,
    stamp,
    training_scene,
    write_folder,
)
from helicon.formats.image import read_image

RED, BLUE = Thing("large", "red", "circle"), Thing("small", "blue", "square")
SCENE = Scene(RED, "above", BLUE)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Every scene there is."""
    return [Scene(a, relation, b) for a, relation, b in product(THINGS, RELATIONS, THINGS) if a.colour != b.colour]


def boxes(picture: np.ndarray) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the two things: of the upper one, and the lower one."""
    rows = np.flatnonzero((picture != BACKGROUND).any((1, 2)))
    cut = rows[np.flatnonzero(np.diff(rows) > 1)[0]] + 1
    found = []
    for part in (slice(0, cut), slice(cut, len(picture))):
        r, c = np.nonzero((picture[part] != BACKGROUND).any(2))
        r = r + part.start
        found.append((slice(r.min(), r.max() + 1), slice(c.min(), c.max() + 1)))
    return found[0], found[1]


def test_a_scene_in_words():
    assert SCENE.caption == "a large red circle above a small blue square"
    assert SCENE.turned.caption == "a small blue square below a large red circle"
    assert parse_caption("a small black ring left of a small cyan cross\n") == Scene(
        Thing("small", "black", "ring"), "left of", Thing("small", "cyan", "cross")
    )


def test_every_caption_is_its_scene(scenes):
    assert len(scenes) == 96 * 4 * 84
    assert len({scene.caption for scene in scenes}) == len(scenes)
    assert all(parse_caption(scene.caption) == scene and scene.turned.turned == scene for scene in scenes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a red circle above a small blue square", "cannot read 'a red circle above a small blue square'"),
        ("a large pink circle above a small blue square", "red, orange, yellow"),
        ("a large red circle above a small red square", "both things are red"),
        ("", "cannot read ''"),
    ],
)
def test_what_is_no_caption_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_caption(text)


def test_scenes_of_other_words_are_refused():
    with pytest.raises(ValueError, match="no shape 'star'; there are circle, square"):
        Scene(Thing("large", "red", "star"), "above", BLUE)
    with pytest.raises(ValueError, match="no relation 'behind'"):
        Scene(RED, "behind", BLUE)


def test_a_small_diamond_pixel_by_pixel():
    half = 36 / 64  # of 8 x 8 samples; those on the slope are inside
    assert stamp("diamond", 4).tolist() == [
        [0, half, half, 0],
        [half, 1, 1, half],
        [half, 1, 1, half],
        [0, half, half, 0],
    ]


def test_a_shape_covers_what_it_should_of_its_box():
    shares = {"circle": np.pi / 4, "square": 1, "triangle": 1 / 2, "diamond": 1 / 2, "cross": 0.64}
    shares["ring"] = 3 / 4 * np.pi / 4
    for shape, side in product(SHAPES, SIZES.values()):
        assert stamp(shape, side).mean() == pytest.approx(shares[shape], abs=0.02)


def test_shapes_stay_apart_when_they_are_blurred():
    for side in SIZES.values():
        at = np.arange(side + 8)
        weights = np.exp(-((at[:, None] - at) ** 2) / 2)  # a standard deviation of one pixel
        blurred = {shape: weights @ np.pad(stamp(shape, side), 4) @ weights.T for shape in SHAPES}
        unit = {shape: each / np.linalg.norm(each) for shape, each in blurred.items()}
        assert max((unit[a] * unit[b]).sum() for a, b in combinations(SHAPES, 2)) < 0.98


def test_colours_are_far_apart_and_far_from_the_background():
    rgb = np.array(list(COLOURS.values()), float)
    assert np.linalg.norm(rgb - BACKGROUND, axis=1).min() > 190
    assert min(np.linalg.norm(a - b) for a, b in combinations(rgb, 2)) > 80


def test_a_picture_is_the_same_for_the_same_seed():
    pictures = [draw(SCENE, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert pictures[0].shape == (32, 32, 3)
    assert pictures[0].dtype == np.uint8
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_told_from_either_thing_it_is_the_same_picture():
    rng = np.random.default_rng(4)
    for _ in range(50):
        scene = training_scene(rng)
        assert np.array_equal(draw(scene, np.random.default_rng(3)), draw(scene.turned, np.random.default_rng(3)))


def test_a_large_red_square_above_a_small_blue_one():
    scene = Scene(Thing("large", "red", "square"), "above", Thing("small", "blue", "square"))
    picture = draw(scene, np.random.default_rng(0))
    for box, side, colour in zip(boxes(picture), (14, 9), ("red", "blue")):
        assert picture[box].shape == (side, side, 3)
        assert (picture[box] == COLOURS[colour]).all()
    assert ((picture != BACKGROUND).any(2)).sum() == 14**2 + 9**2


@pytest.mark.parametrize("relation", RELATIONS)
def test_things_stand_as_said_apart_and_inside(relation):
    rng, first_is_lower = np.random.default_rng(0), relation in ("below", "right of")
    for sizes in product(SIZES, SIZES):
        scene = Scene(Thing(sizes[0], "red", "square"), relation, Thing(sizes[1], "blue", "square"))
        for _ in range(30):
            picture = draw(scene, rng)
            if relation in ("left of", "right of"):
                picture = picture.transpose(1, 0, 2)
            upper, lower = boxes(picture)
            middles = [[(side.start + side.stop) / 2 for side in box] for box in (upper, lower)]
            assert (picture[upper] == COLOURS["blue" if first_is_lower else "red"]).all()
            assert lower[0].start - upper[0].stop >= 2
            assert abs(middles[1][1] - middles[0][1]) < (middles[1][0] - middles[0][0]) / 2
            assert min(upper[0].start, upper[1].start, lower[1].start) >= 1
            assert max(lower[0].stop, upper[1].stop, lower[1].stop) <= 31


def test_a_fifth_of_the_combinations_is_held_out_always_the_same(scenes):
    assert len(HELD_OUT) == 76 == 384 // 5
    assert sum(map(is_held_out, scenes)) == 11_576
    assert all(is_held_out(scene) == is_held_out(scene.turned) for scene in scenes)


def test_every_word_and_every_coloured_shape_is_in_training(scenes):
    training = [scene for scene in scenes if not is_held_out(scene)]
    assert {scene.first for scene in training} == set(THINGS)  # so every word and pair of words, too
    assert {scene.relation for scene in training} == set(RELATIONS)
    shown = {(told.first, told.relation) for scene in training for told in (scene, scene.turned)}
    assert shown == set(product(THINGS, RELATIONS)) - HELD_OUT


def test_scenes_are_drawn_from_their_side_each_as_likely():
    rng = np.random.default_rng(0)
    training, held = ([draw_one(rng) for _ in range(3000)] for draw_one in (training_scene, held_out_scene))
    assert not any(map(is_held_out, training))
    assert all(map(is_held_out, held))
    for drawn in (training, held):
        for words in ("relation", "size", "shape"):
            counts = Counter(scene.relation if words == "relation" else getattr(scene.first, words) for scene in drawn)
            assert max(counts.values()) < 1.35 * min(counts.values())
    assert set(OPPOSITES) == {scene.relation for scene in held}


def test_a_folder_of_pictures_and_captions(tmp_path):
    paths = write_folder(tmp_path / "a", 12, seed=1)
    assert [path.name for path in paths] == [f"{i:05}.png" for i in range(1, 13)]
    assert len(list((tmp_path / "a").iterdir())) == 24
    for i, path in enumerate(paths):
        scene = parse_caption(path.with_suffix(".txt").read_text(encoding="utf-8"))
        rng = np.random.default_rng((1, i))
        assert scene == training_scene(rng)
        assert np.array_equal(read_image(path)[0], draw(scene, rng))


def test_folders_of_different_seeds_differ(tmp_path):
    folders = [write_folder(tmp_path / str(i), 5, seed) for i, seed in enumerate((1, 1, 2))]
    same = [[a.read_bytes() == b.read_bytes() for a, b in zip(folders[0], other)] for other in folders[1:]]
    assert all(same[0])
    assert not any(same[1])
