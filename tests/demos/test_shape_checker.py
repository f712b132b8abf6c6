from collections import Counter
from dataclasses import replace
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image

from helicon.demos.shape_checker import CHANCE, obeys, score
from helicon.demos.shape_reader import (
    _DIRECTIONS_C3,
    _HUE_BLUR,
    _WINDOW,
    UNCLEAR,
    DetectedShape,
    _bank,
    _blurred,
    _lightness_and_hue,
    read_scene,
    relation,
)
from helicon.demos.shapes import (
    BACKGROUND,
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    THINGS,
    Scene,
    Thing,
    draw,
    held_out_scene,
    parse_caption,
    stamp,
    training_scene,
)

SCENE = parse_caption("a large red circle above a small blue square")
OTHERS = {  # one word changed
    "first_size": "a small red circle above a small blue square",
    "first_colour": "a large green circle above a small blue square",
    "first_shape": "a large red ring above a small blue square",
    "relation": "a large red circle below a small blue square",
    "second_size": "a large red circle above a large blue square",
    "second_colour": "a large red circle above a small black square",
    "second_shape": "a large red circle above a small blue triangle",
}


def scene_of(things: list[DetectedShape]) -> Scene | None:
    """What is seen, told from the upper or left thing; None unless it is two clear things of different colours."""
    words = [seen.thing for seen in things]
    if len(words) != 2 or words[0].colour == words[1].colour or UNCLEAR in (words[0].shape, words[1].shape):
        return None
    scene = Scene(words[0], relation(*things), words[1])
    return scene if scene.relation in ("above", "left of") else scene.turned


def blank() -> np.ndarray:
    return np.full((32, 32, 3), BACKGROUND, np.uint8)


def put(picture: np.ndarray, words: str, row: int, column: int) -> np.ndarray:
    """The picture with a thing in it, its box's corner there."""
    thing = Thing(*words.split())
    covered = stamp(thing.shape, SIZES[thing.size])[..., None]
    picture = picture.astype(float)
    under = picture[row : row + len(covered), column : column + len(covered)]
    under += covered * (COLOURS[thing.colour] - under)
    return picture.round().astype(np.uint8)


def blurred(picture: np.ndarray, deviation: float) -> np.ndarray:
    at = np.arange(32)
    weights = np.exp(-((at[:, None] - at) ** 2) / (2 * deviation**2))
    weights /= weights.sum(1, keepdims=True)
    rows = np.tensordot(weights, picture.astype(float), 1)
    return np.tensordot(weights, rows.transpose(1, 0, 2), 1).transpose(1, 0, 2)


def jpeg(picture: np.ndarray) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).round().astype(np.uint8)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def share_right(count: int, seed: int, spoil=lambda picture, rng: picture) -> float:
    """The share of pictures, half of them of held-out scenes, of which the checker says that all is right."""
    rng, right = np.random.default_rng(seed), 0
    for i in range(count):
        scene = (training_scene, held_out_scene)[i % 2](rng)
        right += score(spoil(draw(scene, rng), rng), scene)["all_right"]
    return right / count


def test_a_picture_in_words():
    reading = read_scene(draw(SCENE.turned, np.random.default_rng(0)))
    assert scene_of(reading) == SCENE
    assert [str(seen.thing) for seen in reading] == ["large red circle", "small blue square"]
    assert max(seen.misfit for seen in reading) < 1e-4


def test_where_a_thing_is_seen():
    (seen,) = read_scene(put(blank(), "small green triangle", 3, 20))
    assert (seen.row, seen.column) == (7.5, 24.5)


def test_a_thing_is_the_stamp_that_differs_least():
    picture = blurred(put(blank(), "small purple ring", 12, 12), 0.6).round().astype(np.uint8)
    bank = _bank()
    first = (33 - _WINDOW) // 2  # of the window about the ring's box, 12 to 21
    window = _lightness_and_hue(picture)[first : first + _WINDOW, first : first + _WINDOW]
    hues = [_blurred(window[..., i], _HUE_BLUR).ravel() for i in (1, 2)]
    shown = np.stack([window[..., 0].ravel(), *hues])
    least, found = np.inf, None
    for k, colour in product(range(len(bank.names)), range(len(COLOURS))):
        drawn = np.stack([bank.light_KP[k], bank.hue_KP[k], bank.hue_KP[k]]) * _DIRECTIONS_C3[colour][:, None]
        differs = ((shown - drawn) ** 2).sum() / (shown**2).sum()
        if differs < least:
            least, found = differs, (*bank.names[k], list(COLOURS)[colour])
    (seen,) = read_scene(picture)
    assert found == ("small", "ring", "purple") == (seen.thing.size, seen.thing.shape, seen.thing.colour)
    assert seen.misfit == pytest.approx(least, abs=1e-4)
    assert 0.001 < least < 0.05


@pytest.mark.parametrize("count", [500, pytest.param(2000, marks=pytest.mark.slow)])
def test_true_pictures_are_right(count):
    assert share_right(count, seed=0) == 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda picture, rng: blurred(picture, 0.7).round().astype(np.uint8),
        lambda picture, rng: np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8),
        lambda picture, rng: jpeg(picture),
        lambda picture, rng: jpeg(blurred(picture, 0.7) + rng.normal(0, 8, picture.shape)),
    ],
    ids=["blurred", "noisy", "jpeg", "all of it"],
)
def test_spoilt_pictures_are_right(spoil):
    assert share_right(200, 1, spoil) > 0.985


@pytest.mark.parametrize("changed", OTHERS)
def test_one_wrong_word_is_the_one_that_is_wrong(changed):
    rng, other = np.random.default_rng(3), parse_caption(OTHERS[changed])
    for drawn, asked in ((SCENE, other), (other, SCENE)):
        right = score(draw(drawn, rng), asked)
        assert [name for name in CHANCE if not right[name]] == [changed, "all_right"]


def test_any_change_of_any_scene_is_noticed():
    rng = np.random.default_rng(4)
    for _ in range(60):
        scene = training_scene(rng)
        reading = read_scene(draw(scene, rng))
        changed = [replace(scene, relation=other) for other in RELATIONS if other != scene.relation]
        for which, thing, against in (("first", scene.first, scene.second), ("second", scene.second, scene.first)):
            for word, words in (("size", SIZES), ("colour", COLOURS), ("shape", SHAPES)):
                others = set(words) - {getattr(thing, word)} - ({against.colour} if word == "colour" else set())
                changed += [replace(scene, **{which: replace(thing, **{word: other})}) for other in others]
        assert len(changed) == 3 + 2 * (1 + 6 + 5)
        assert obeys(reading, scene)["all_right"]
        for other in changed:
            right = obeys(reading, other)
            assert sum(right.values()) == len(CHANCE) - 2
            assert not right["all_right"]


def test_things_that_changed_places_are_right_but_for_the_relation():
    swapped = parse_caption("a small blue square above a large red circle")
    right = score(draw(swapped, np.random.default_rng(0)), SCENE)
    assert [name for name in CHANCE if not right[name]] == ["relation", "all_right"]


def test_words_that_changed_owners_are_wrong():
    mixed = parse_caption("a small red square above a large blue circle")
    right = score(draw(mixed, np.random.default_rng(0)), SCENE)
    assert {name for name in CHANCE if right[name]} == {"first_colour", "relation", "second_colour"}


def test_of_two_strangers_the_one_in_its_place_is_meant_but_the_relation_is_not_given():
    strangers = parse_caption("a large green circle above a small black triangle")
    right = score(draw(strangers, np.random.default_rng(0)), SCENE)
    assert {name for name in CHANCE if right[name]} == {"first_size", "first_shape", "second_size"}


def test_an_empty_picture_has_nothing_right():
    assert read_scene(blank()) == []
    assert not any(score(blank(), SCENE).values())


def test_a_missing_thing_has_nothing_right():
    right = score(put(blank(), "large red circle", 1, 9), SCENE)
    assert {name for name in CHANCE if right[name]} == {"first_size", "first_colour", "first_shape"}
    assert not any(score(put(blank(), "large green circle", 1, 9), SCENE).values())


def test_a_third_thing_is_not_all_right():
    picture = put(put(blank(), "large red circle", 1, 1), "small blue square", 20, 5)
    assert score(picture, SCENE)["all_right"]
    right = score(put(picture, "small green diamond", 20, 22), SCENE)
    assert [name for name in CHANCE if not right[name]] == ["relation", "all_right"]
    # Of two red things, neither is the one that was asked for
    right = score(put(picture, "small red diamond", 20, 22), SCENE)
    assert {name for name in CHANCE if right[name]} == {"second_size", "second_colour", "second_shape"}


def test_two_things_of_one_colour():
    picture = put(put(blank(), "large red circle", 1, 8), "small red square", 20, 10)
    assert scene_of(read_scene(picture)) is None
    right = score(picture, SCENE)
    assert [name for name in CHANCE if not right[name]] == ["relation", "second_colour", "all_right"]


def test_things_that_touch_are_told_apart():
    picture = put(put(blank(), "large red circle", 3, 8), "small blue square", 17, 10)
    assert scene_of(read_scene(picture)) == SCENE


def test_a_thing_of_two_colours_is_not_all_right():
    picture = put(put(blank(), "large red circle", 1, 8), "small blue square", 20, 10)
    picture[20:25, 10:19] = COLOURS["yellow"]
    assert len(read_scene(picture)) == 3
    assert not score(picture, SCENE)["all_right"]


def test_dirt_is_no_thing():
    picture = put(put(blank(), "large red circle", 1, 8), "small blue square", 20, 10)
    picture[3:6, 26:29] = COLOURS["green"]
    assert score(picture, SCENE)["all_right"]


def test_a_shape_like_none_is_unclear():
    picture = blank()
    picture[10:13, 6:22] = COLOURS["green"]
    assert [(seen.thing.colour, seen.thing.shape) for seen in read_scene(picture)] == [("green", "unclear")]
    frame = blank()
    frame[2:30, 2:30] = COLOURS["black"]
    frame[4:28, 4:28] = BACKGROUND
    assert [(seen.thing.colour, seen.thing.shape) for seen in read_scene(frame)] == [("black", "unclear")]


def test_noise_is_never_right():
    rng, counts = np.random.default_rng(5), Counter()
    for _ in range(20):
        picture = np.clip(blurred(rng.normal(170, 300, (32, 32, 3)), 2), 0, 255).astype(np.uint8)
        counts.update(name for name, right in score(picture, SCENE).items() if right)
    assert counts["all_right"] == counts["relation"] == 0


def test_what_guessing_reaches():
    """A picture of every scene there is, read as it is drawn."""
    counts, total, places = Counter(), 0, dict(zip(RELATIONS, ((0, 9), (18, 9), (9, 0), (9, 18))))
    for first, where, second in product(THINGS, RELATIONS, THINGS):
        if first.colour != second.colour:
            things = (DetectedShape(first, *places[where], 0.0), DetectedShape(second, 9, 9, 0.0))
            counts.update(name for name, right in obeys(things, SCENE).items() if right)
            total += 1
    assert {name: counts[name] / total for name in CHANCE} == pytest.approx(CHANCE)
    assert CHANCE["all_right"] == pytest.approx(1 / 16_128)


@pytest.mark.parametrize("shape", [(32, 32), (32, 31, 3), (32, 32, 4), (64, 64, 3)])
def test_only_pictures_of_this_world_can_be_read(shape):
    with pytest.raises(ValueError, match=r"uint8 \[32, 32, 3\]"):
        read_scene(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="pixels are float64"):
        read_scene(np.zeros((32, 32, 3)))
