"""What a sequence is: slots, where they start, and how much fits."""

from __future__ import annotations

import pytest

from helicon.sequence.layout import Frame, Layout, Schema, Slot
from helicon.sequence.vocabulary import Block


@pytest.mark.parametrize("spec", ["music", "style[3] music", "text[256] image[32x32]", "a_b-2[2x3x4] text[1]"])
def test_a_layout_prints_as_its_spec(spec):
    assert str(Layout.parse(spec)) == spec


def test_slots_follow_the_task_token():
    layout = Layout.parse("text[5] image[2x3] music")
    assert layout.slots == (Slot("text", (5,)), Slot("image", (2, 3)), Slot("music"))
    assert [slot.length for slot in layout.slots] == [5, 6, None]
    assert layout.starts == {"text": 1, "image": 6, "music": 12}
    assert layout.prefix == 12


@pytest.mark.parametrize(
    ("spec", "frame"),
    [
        ("music", Frame(1, None)),
        ("text[5] music", Frame(6, None)),
        ("image[2x3] text[8]", Frame(7, None)),
        ("text[5] image[2x3]", Frame(6, 3)),
        ("image[2x3x4]", Frame(1, 12)),
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
    ],
)
def test_a_wrong_layout_is_explained(spec, message):
    with pytest.raises(ValueError, match=message):
        Layout.parse(spec)


def test_room_is_what_the_context_leaves():
    assert Layout.parse("style[3] music").room(10) == 6  # task, 3 words, 6 events
    assert Layout.parse("style[3] image[2x3]").room(10) == 5  # the last of 6 tokens is only predicted
    with pytest.raises(ValueError, match=r"needs a context above 4 tokens, got 4"):
        Layout.parse("style[3] music").room(4)
    with pytest.raises(ValueError, match=r"needs a context of 9, got 8"):
        Layout.parse("style[3] image[2x3]").room(8)


def schema(*layouts: str, positions: str = "flat") -> Schema:
    blocks = {"style": Block("words", ("x", "y")), "music": Block("events", ("C", "D")), "text": Block("t", ("a",))}
    return Schema(tuple(map(Layout.parse, layouts)), blocks, {"music": {"time": 10}}, 20, positions)


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
    assert found.places == 40


def test_tables_of_positions():
    assert schema("music", positions="rope").position_axes == {}
    assert schema("music", positions="grid:6").position_axes == {"row": 4, "column": 6}
    for wrong in ("flat:3", "grid", "grid:0", "grid:x", "sin"):
        with pytest.raises(ValueError, match="is not `flat`, `grid:L`, `axes` or `rope`"):
            schema("music", positions=wrong)


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match="no tokenizer for slot 'image'"):
        schema("image[2x2]")
    with pytest.raises(KeyError, match="no layout 'text'; this model has: music"):
        schema("music").layout("text")
