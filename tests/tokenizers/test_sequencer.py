"""Literal ids, rows and targets of small sequences."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.sequence.layout import Layout
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.sequencer import NO_TARGET, Sequencer

NO = NO_TARGET


class Letters:
    """a to e, and a name of its own for its block."""

    automaton = None
    block = TokenBlock("letters", tuple("abcde"))


def sequencer(*layouts: str, context: int = 12, positions: str = "rope") -> Sequencer:
    return Sequencer([Layout.parse(x) for x in layouts], {"text": Letters(), "tale": Letters()}, context, positions)  # type: ignore[dict-item]


def packed(spec: str, example: dict[str, list[int]], start: int = 0, context: int = 12):
    made = sequencer(spec, context=context)
    return made.pack(made.schema.layouts[0], {k: np.array(v, np.int64) for k, v in example.items()}, start)


# Rows of `text[4] tale`: task 0, its stop 1; text a..e 2..6, stop 7; tale a..e 8..12, stop 13.


def test_a_fixed_slot_is_filled_and_only_its_first_stop_is_learned():
    found = packed("text[4] tale", {"text": [0, 2], "tale": [4, 3]})
    assert found.ids.tolist() == [0, 2, 4, 7, 7, 12, 11]
    assert found.targets.tolist() == [2, 4, 7, NO, 12, 11, 13]


def test_a_full_slot_has_no_stop():
    found = packed("text[4] tale", {"text": [0, 1, 2, 3], "tale": [4]})
    assert found.ids.tolist() == [0, 2, 3, 4, 5, 12]
    assert found.targets.tolist() == [2, 3, 4, 5, 12, 13]


def test_a_slot_left_out_is_all_filler():
    found = packed("text[4] tale", {"tale": [4]})
    assert found.ids.tolist() == [0, 7, 7, 7, 7, 12]
    assert found.targets.tolist() == [NO, NO, NO, NO, 12, 13]


def test_a_slot_with_nothing_in_it_ends_at_once():
    found = packed("text[4] tale", {"text": [], "tale": [4]})
    assert found.ids.tolist() == [0, 7, 7, 7, 7, 12]
    assert found.targets.tolist() == [7, NO, NO, NO, 12, 13]


def test_a_last_slot_of_fixed_length_ends_with_its_last_token():
    # text 2.., its stop is row 7: it is not fed, as nothing follows it
    assert packed("text[4]", {"text": [0, 1, 2, 3]}).ids.tolist() == [0, 2, 3, 4]
    assert packed("text[4]", {"text": [0, 1, 2, 3]}).targets.tolist() == [2, 3, 4, 5]
    assert packed("text[4]", {"text": [0, 1]}).targets.tolist() == [2, 3, 7]
    assert packed("text[4]", {"text": []}).targets.tolist() == [7]


def test_windows_keep_the_fixed_slots_and_move_on():
    tale = [0, 1, 2, 3, 4, 0, 1]
    found = [packed("text[2] tale", {"text": [3], "tale": tale}, start, context=6) for start in (0, 2, 4)]
    # text a..e 2..6, stop 7; tale a..e 8..12, stop 13; task, 2 letters and 3 of the tale are fed
    assert [f.ids.tolist() for f in found] == [[0, 5, 7, 8, 9, 10], [0, 5, 7, 10, 11, 12], [0, 5, 7, 12, 8, 9]]
    assert [f.targets.tolist()[2:] for f in found] == [[8, 9, 10, 11], [10, 11, 12, 8], [12, 8, 9, 13]]


def test_a_filler_has_a_row_for_its_place():
    made = sequencer("text[4] tale", positions="flat")
    axes = made.schema.axis_starts
    assert axes == {"position": 0, "text.filler": 12}
    (layout,) = made.schema.layouts
    rows = made.pack(layout, {"text": np.array([0, 2]), "tale": np.array([4])}).coord_ids
    assert rows.tolist() == [[0, 12], [1, 12], [2, 12], [3, 12 + 3], [4, 12 + 4], [5, 12]]


def test_positions_in_rows_and_columns():
    made = sequencer("text", positions="grid:3")
    rows = made.pack(made.schema.layouts[0], {"text": np.arange(5)}).coord_ids
    assert rows.tolist() == [[0, 4], [0, 5], [0, 6], [1, 4], [1, 5], [1, 6]]


def test_spans_are_the_positions_that_predict_a_slot():
    made = sequencer("text[4] tale", "tale")
    both, one = made.schema.layouts
    text, tale = made.target_spans(both, 7)
    assert (text.slot, text.positions, text.vocab_slice) == ("text", slice(0, 4), made.schema.vocabulary.slice("text"))
    assert (tale.slot, tale.positions, tale.vocab_slice) == ("tale", slice(4, 7), made.schema.vocabulary.slice("tale"))
    assert [(span.slot, span.positions) for span in made.target_spans(one, 5)] == [("tale", slice(0, 5))]
    found = made.pack(both, {"text": np.array([0]), "tale": np.array([1, 2])})
    for span in made.target_spans(both, len(found.ids)):
        targets = found.targets[span.positions]
        assert all(span.vocab_slice.start <= target < span.vocab_slice.stop for target in targets if target != NO)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"text": [0, 0, 0, 0, 0], "tale": [0]}, r"slot text\[4\] takes 4 tokens, got 5"),
        ({"text": [5], "tale": [0]}, r"slot text: ids must be 0 .. 4, got 5 .. 5"),
        ({"text": [0], "tale": [-1]}, r"slot tale: ids must be 0 .. 4, got -1 .. -1"),
    ],
)
def test_ids_that_cannot_be_are_refused(example, message):
    with pytest.raises(ValueError, match=message):
        packed("text[4] tale", example)


def test_coordinates_of_music_count_from_the_piece_but_time_from_the_window():
    music = MidiTokenizer(MUSENET)
    made = Sequencer([Layout.parse("music")], {"music": music}, 6, "rope")
    (layout,), axes = made.schema.layouts, list(made.schema.axes)
    words = ("piano:v80:C4", "piano:v80:E4", "wait:40", "piano:v80:G4", "wait:20", "piano:v80:B4", "wait:5")
    ids = music.from_words(words)

    def rows(start: int, plan: bool) -> dict[str, list[int]]:
        found = made.pack(layout, {"music": ids}, start, plan)
        starts = np.array(list(made.schema.axis_starts.values()))
        return {axis: column.tolist() for axis, column in zip(axes, (found.coord_ids - starts).T)}

    whole = rows(0, plan=False)  # the task token first, whose coordinates are all row 0
    assert whole["music.chord"] == [0, 2, 3, 1, 2, 1]
    assert whole["music.time"] == [0, 1, 1, 1 + 40 // 16, 1 + 40 // 16, 1 + 60 // 16]
    assert whole["music.tick"] == [0, 1, 1, 1 + 40 % 16, 1 + 40 % 16, 1 + 60 % 16]
    assert whole["music.part"] == [0, 1, 1, 1, 1, 1]
    assert rows(2, plan=False)["music.time"] == [0, *[1 + t // 16 for t in (40, 40, 60, 60, 65)]]  # E4 came at 0
    later = rows(3, plan=True)  # from G4 on, which comes 40 units after the start
    assert later["music.time"] == [0, *[1 + t // 16 for t in (0, 20, 20, 25)]]
    assert later["music.part"] == [0, *[1 + 1 + t * 128 // 65 for t in (40, 60, 60)], 1 + 128]
