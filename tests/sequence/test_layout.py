"""What a sequence is: slots, where they start, and how much fits."""

from __future__ import annotations

import pytest

from helicon.sequence.layout import Layout, PatternContext, Schema, Slot
from helicon.sequence.vocabulary import TokenBlock

SPECS = [
    "music", "style[3] music", "text[256] image[32x32]", "a_b-2[2x3x4] text[1]", "image[]", "text[4] image[]",
    "image[] text[32]", "audio@above", "style[1] audio[1024]@above",
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_a_layout_prints_as_its_spec(spec):
    assert str(Layout.parse(spec)) == spec
    assert Layout.parse(str(Layout.parse(spec))) == Layout.parse(spec)


def test_slots_follow_the_task_token():
    layout = Layout.parse("text[5] image[2x3] music")
    assert layout.slots == (Slot("text", (5,)), Slot("image", (2, 3)), Slot("music"))
    assert [slot.length for slot in layout.slots] == [5, 6, None]
    assert layout.starts == {"text": 1, "image": 6, "music": 12}
    assert layout.prefix == 12


def test_a_guide_is_a_source_but_no_slot():
    layout = Layout.parse("text[5] audio@above")
    assert layout.slots == (Slot("text", (5,)), Slot("audio", None, "above"))
    assert layout.all_slots == ["text", "audio", "above"]
    assert (layout.starts, layout.prefix) == ({"text": 1, "audio": 6}, 6)
    assert Layout.parse("audio[8]@above").input_length == 8
    assert str(Layout.parse("text[2] audio[8]@above").filled({})) == "text[2] audio[8]@above"
    assert Layout.parse("text[5] music").all_slots == ["text", "music"]


@pytest.mark.parametrize(
    ("spec", "grid"),
    [
        ("text", {}),
        ("text[6]", {}),
        ("image[]", {}),
        ("image[2x3]", {"row": 2, "column": 3}),
        ("image[2x3x4]", {"row": 2, "column": 3, "channel": 4}),
    ],
)
def test_slots_of_more_than_one_dimension_are_grids(spec, grid):
    assert Layout.parse(spec).target.grid == grid


def test_a_slot_that_is_to_be_the_tokenizers_grid_has_no_length_yet():
    layout = Layout.parse("text[4] image[]")
    assert layout.target == Slot("image", ())
    assert (layout.target.length, layout.input_length) == (None, None)
    filled = layout.filled({"image": (2, 3)})
    assert (str(filled), filled.target.length) == ("text[4] image[2x3]", 6)


def test_slots_have_the_shapes_of_their_tokenizers_grids():
    grids = {"image": (2, 3)}
    assert str(Layout.parse("image[] text[4]").filled(grids)) == "image[2x3] text[4]"
    assert str(Layout.parse("image").filled(grids)) == "image[2x3]"
    assert str(Layout.parse("image[2x3]").filled(grids)) == "image[2x3]"
    assert str(Layout.parse("text[4] music").filled(grids)) == "text[4] music"
    with pytest.raises(
        ValueError, match=r"layout 'image\[3x2\]': the tokenizer of image makes grids of 2x3; image\[2x3\] or image"
    ):
        Layout.parse("image[3x2]").filled(grids)
    with pytest.raises(ValueError, match=r"'text\[\]': the tokenizer of text makes no grid; give its length"):
        Layout.parse("text[]").filled(grids)


@pytest.mark.parametrize(
    ("spec", "fed"), [("image[2x3]", 6), ("text[4] image[2x3]", 10), ("text[4]", 4), ("text", None)]
)
def test_the_last_token_is_never_fed(spec, fed):
    assert Layout.parse(spec).input_length == fed


@pytest.mark.parametrize(
    ("spec", "frame"),
    [
        ("music", PatternContext(1, None)),
        ("text[5] music", PatternContext(6, None)),
        ("image[2x3] text[8]", PatternContext(7, None)),
        ("text[5] image[2x3]", PatternContext(6, 3)),
        ("image[2x3x4]", PatternContext(1, 12)),
    ],
)
def test_the_frame_is_where_the_last_slot_begins_and_the_row_of_its_grid(spec, frame):
    assert Layout.parse(spec).frame == frame


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "one or more slots"),
        ("music style[3]", "only the last slot may be open"),
        ("text[0] music", "no slot may be empty"),
        ("text[3] text", "different names"),
        ("task", "not 'task'"),
        ("Music", "'Music' is not `name`"),
        ("text[3", "'text\\[3' is not `name`"),
        ("text[-1]", "is not `name`"),
        ("image[2x]", "is not `name`"),
        ("image[2x0]", "no slot may be empty"),
        ("image[2x2x2x2]", "a grid has at most row, column, channel"),
        ("text[3]@above audio", "only the last slot may have a guide"),
        ("above[3] audio@above", "and that is no slot of the layout"),
        ("audio@audio", "and that is no slot of the layout"),
        ("audio@task", "and that is no slot of the layout"),
        ("audio@", "of which the last may end with `@guide`"),
        ("audio@a@b", "of which the last may end with `@guide`"),
        ("audio@above[3]", "of which the last may end with `@guide`"),
        ("image[2x3]@above", r"slot image\[2x3\]@above: a grid has no guide"),
        ("image[]@above", r"slot image\[\]@above: a grid has no guide"),
    ],
)
def test_a_wrong_layout_is_explained(spec, message):
    with pytest.raises(ValueError, match=message):
        Layout.parse(spec)


def test_room_is_what_the_context_leaves():
    assert Layout.parse("style[3] music").target_capacity(10) == 6  # task, 3 words, 6 events
    assert Layout.parse("style[3] image[2x3]").target_capacity(10) == 5  # the last of 6 tokens is only predicted
    with pytest.raises(ValueError, match=r"needs a context above 4 tokens, got 4"):
        Layout.parse("style[3] music").target_capacity(4)
    with pytest.raises(ValueError, match=r"needs a context of 9, got 8"):
        Layout.parse("style[3] image[2x3]").target_capacity(8)


def schema(*layouts: str, positions: str = "flat") -> Schema:
    blocks = {
        "style": TokenBlock("words", ("x", "y")),
        "music": TokenBlock("events", ("C", "D")),
        "text": TokenBlock("t", ("a",)),
    }
    blocks["image"] = TokenBlock("pixels", ("black", "white"))
    return Schema(
        layouts=tuple(map(Layout.parse, layouts)),
        blocks=blocks,
        slot_axes={"music": {"time": 10}},
        context=20,
        positions=positions,
    )


def test_blocks_are_named_by_their_slots():
    vocabulary = schema("style[3] music", "text[4]").vocabulary
    assert [block.name for block in vocabulary.blocks] == ["task", "style", "music", "text"]
    assert vocabulary.blocks[0].tokens == ("style[3] music", "text[4]")
    assert len(vocabulary) == 3 + 3 + 3 + 2


def test_axes_of_all_slots_share_one_table():
    found = schema("style[3] music", "text[4]")
    # Row 0 of a slot's axis is for tokens of other slots, row 0 of a filler's for tokens that are none
    assert found.axes == {"position": 20, "style.filler": 4, "music.time": 11, "text.filler": 5}
    assert found.axis_starts == {"position": 0, "style.filler": 20, "music.time": 24, "text.filler": 35}
    assert found.coord_table_size == 40


def test_fillers_of_layouts_share_a_table_as_long_as_the_longest_needs():
    for specs in (("text[8] music", "text[4] style[3] music"), ("text[4] style[3] music", "text[8] music")):
        assert schema(*specs).axes["text.filler"] == 9


def test_tables_of_positions():
    assert schema("music", positions="rope").position_axes == {}
    assert schema("music", positions="grid:6").position_axes == {"row": 4, "column": 6}
    for wrong in ("flat:3", "grid", "grid:0", "grid:x", "sin"):
        with pytest.raises(ValueError, match="is not `flat`, `grid:L`, `axes` or `rope`"):
            schema("music", positions=wrong)


def test_a_grid_has_an_axis_for_each_dimension_and_fillers_only_as_a_condition():
    made, given = schema("text[4] image[2x3]"), schema("image[2x3] text[4]")
    assert made.axes == {"position": 20, "text.filler": 5, "image.row": 3, "image.column": 4}
    assert given.axes == {"position": 20, "image.filler": 7, "image.row": 3, "image.column": 4, "text.filler": 5}


def test_positions_in_axes_are_of_slots_that_are_no_grids():
    assert schema("text[4] image[2x3]", positions="axes").position_axes == {"position": 5}
    assert schema("text[4] image[2x3]", "style[3] music", positions="axes").position_axes == {"position": 1 + 16}
    assert schema("image[2x3]", positions="axes").position_axes == {"position": 1}


def test_a_token_of_a_grid_is_never_stop():
    found = schema("text[4] image[2x3]")  # rows: task 0, its stop 1; text 2, its stop 3; pixels 4 and 5, their stop 6
    assert [found.vocab_slice(slot) for slot in found.layouts[0].slots] == [slice(2, 4), slice(4, 6)]
    assert found.vocabulary.slice("image") == slice(4, 7)
    (flat,) = schema("image[6]").layouts
    assert schema("image[6]").vocab_slice(flat.target) == slice(2, 5)


def test_a_guide_has_a_tokenizer_and_no_block_of_the_vocabulary():
    found = schema("music@image")
    assert [block.name for block in found.vocabulary.blocks] == ["task", "music"]
    assert [block.name for block in schema("music@image", "image").vocabulary.blocks] == ["task", "music", "image"]
    with pytest.raises(ValueError, match="layout 'music@above': no tokenizer for slot 'above'"):
        schema("music@above")
    with pytest.raises(ValueError, match=r"slot music\[2x3\]@image: a grid has no guide"):
        Layout.parse("music@image").filled({"music": (2, 3)})


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match="no tokenizer for slot 'picture'"):
        schema("picture[2x2]")
    with pytest.raises(KeyError, match="no layout 'text'; this model has: music"):
        schema("music").layout("text")
