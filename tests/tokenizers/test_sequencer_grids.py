"""Pictures in sequences: where each token stands in its grid, and that a grid is whole or left out."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.sequence.layout import Layout
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Grid
from helicon.tokenizers.sequencer import NO_TARGET, Sequencer, grids

NO = NO_TARGET


class Letters:
    """a to e."""

    automaton = None
    block = TokenBlock("letters", tuple("abcde"))


class Tiles(Grid):
    """Two colours in 2 rows of 3."""

    automaton = None
    block = TokenBlock("tiles", ("black", "white"))
    shape = (2, 3)


def sequencer(*layouts: str, positions: str = "rope", context: int = 99) -> Sequencer:
    tokenizers = {"text": Letters(), "image": Tiles()}
    return Sequencer([Layout.parse(x) for x in layouts], tokenizers, context, positions)  # type: ignore[arg-type]


PICTURE = np.array([0, 1, 0, 1, 1, 0])


def places(made: Sequencer, found: np.ndarray) -> dict[str, list[int]]:
    """Axis -> row of its table for each token; 0: a token that the axis does not belong to."""
    starts = np.array(list(made.schema.axis_starts.values()))
    return {axis: column.tolist() for axis, column in zip(made.schema.axes, (found - starts).T)}


def test_the_shape_is_the_tokenizers_own():
    made = sequencer("text[2] image[]", "image[] text[2]", "image")
    assert list(map(str, made.schema.layouts)) == ["text[2] image[2x3]", "image[2x3] text[2]", "image[2x3]"]
    assert grids(made.tokenizers) == {"image": (2, 3)}
    with pytest.raises(ValueError, match="the tokenizer of image makes grids of 2x3"):
        sequencer("image[3x3]")


def test_the_context_is_what_fixed_layouts_are_long():
    assert sequencer("text[2] image[]").context == 8  # task, 2 letters and all tiles but the last
    assert sequencer("image[]", "text[9] image[]", context=4).context == 15
    assert sequencer("image[] text").context == 99
    assert sequencer("text[9] image[]", "text", context=4).context == 15


def test_a_made_grid_tells_rows_and_columns():
    made = sequencer("text[2] image[]")
    (layout,) = made.schema.layouts
    found = made.pack(layout, {"text": np.array([3]), "image": PICTURE})
    # text a..e 2..6, its stop 7; black 8, white 9: no stop follows the last tile
    assert found.ids.tolist() == [0, 5, 7, 8, 9, 8, 9, 9]
    assert found.targets.tolist() == [5, 7, 8, 9, 8, 9, 9, 8]
    assert places(made, found.coord_ids) == {
        "text.filler": [0, 0, 2, 0, 0, 0, 0, 0],
        "image.row": [0, 0, 0, 1, 1, 1, 2, 2],
        "image.column": [0, 0, 0, 1, 2, 3, 1, 2],
    }
    assert found.coord_ids[4].tolist() == [0, 3 + 1, 3 + 3 + 2]  # tables of 3, 3 and 4 rows


def test_a_grid_as_a_condition_tells_them_too():
    made = sequencer("image[] text[2]")
    (layout,) = made.schema.layouts
    found = made.pack(layout, {"text": np.array([3, 4]), "image": PICTURE})
    # black 2, white 3, stop 4; text a..e 5..9, stop 10
    assert found.ids.tolist() == [0, 2, 3, 2, 3, 3, 2, 8]
    assert found.targets.tolist() == [2, 3, 2, 3, 3, 2, 8, 9]
    assert places(made, found.coord_ids) == {
        "image.filler": [0] * 8,
        "image.row": [0, 1, 1, 1, 2, 2, 2, 0],
        "image.column": [0, 1, 2, 3, 1, 2, 3, 0],
        "text.filler": [0] * 8,
    }


def test_a_grid_left_out_is_all_filler_and_has_no_targets():
    made = sequencer("image[] text[2]")
    (layout,) = made.schema.layouts
    found = made.pack(layout, {"text": np.array([3])})
    assert found.ids.tolist() == [0, *[4] * 6, 8]
    assert found.targets.tolist() == [NO] * 6 + [8, 10]
    told = places(made, found.coord_ids)
    assert told["image.filler"] == [0, 1, 2, 3, 4, 5, 6, 0]
    assert told["image.row"] == told["image.column"] == [0] * 8


@pytest.mark.parametrize("given", [1, 5])
def test_a_part_of_a_grid_is_no_condition(given):
    made = sequencer("image[] text[2]")
    (layout,) = made.schema.layouts
    with pytest.raises(ValueError, match=rf"slot image\[2x3\] takes all of its 6 tokens or none, got {given}"):
        made.prefix(layout, {"image": PICTURE[:given]})
    with pytest.raises(ValueError, match=r"slot image\[2x3\] takes 6 tokens, got 7"):
        made.prefix(layout, {"image": np.zeros(7, np.int64)})


def test_targets_of_a_grid_are_never_stop():
    made = sequencer("text[2] image[]", "image[] text[2]")
    for layout in made.schema.layouts:
        found = made.pack(layout, {"text": np.array([3]), "image": PICTURE})
        for span in made.target_spans(layout, len(found.ids)):
            stop = made.schema.vocabulary.eos(span.slot)
            assert (stop in found.targets[span.positions]) == (span.slot == "text")
            assert span.vocab_slice.stop == stop + (span.slot == "text")


def test_places_of_what_is_decoded_are_those_of_what_is_packed():
    made = sequencer("text[2] image[]", positions="flat")
    (layout,) = made.schema.layouts
    found = made.pack(layout, {"text": np.array([3]), "image": PICTURE})
    for place in range(5):
        rows = made.last_rows(layout, {}, {}, np.array([place]))
        assert rows.tolist() == found.coord_ids[[layout.prefix + place]].tolist()


def test_positions_in_axes_are_places_in_the_slots_that_are_no_grids():
    made = sequencer("text[2] image[]", "image[] text", positions="axes", context=12)
    captioned, described = made.schema.layouts
    assert made.schema.axes == {
        "position": 1 + 5, "text.filler": 3, "image.row": 3, "image.column": 4, "image.filler": 7,
    }  # fmt: skip
    found = made.pack(captioned, {"text": np.array([3]), "image": PICTURE})
    assert places(made, found.coord_ids) == {
        "position": [0, 1, 2, 0, 0, 0, 0, 0],
        "text.filler": [0, 0, 2, 0, 0, 0, 0, 0],
        "image.row": [0, 0, 0, 1, 1, 1, 2, 2],
        "image.column": [0, 0, 0, 1, 2, 3, 1, 2],
        "image.filler": [0] * 8,
    }
    found = made.pack(described, {"text": np.array([0, 1, 2, 3, 4, 0]), "image": PICTURE})
    assert places(made, found.coord_ids)["position"] == [0] * 7 + [1, 2, 3, 4, 5]
    assert places(made, found.coord_ids)["image.column"] == [0, 1, 2, 3, 1, 2, 3, 0, 0, 0, 0, 0]
