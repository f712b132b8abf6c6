"""Sequences of a guided slot: what each token is told of the coarser ones around the next, against a slow oracle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from guided_worlds import Tones, Verses, sequencer_of, tokenizers

from helicon.sequence.layout import Layout
from helicon.tokenizers.guides import CONTEXT, most_ids
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence, Sequencer

ABOVE = np.array([2, 0, 1, 1])
AUDIO = np.array([4, 3, 2, 1, 0, 1, 2, 3, 4, 0, 4, 1, 2, 0])  # 14 at 3 and a half of the coarser ones


def places(made: Sequencer, rows: np.ndarray) -> dict[str, list[int]]:
    """Axis -> row of its table for each token."""
    starts = np.array(list(made.schema.axis_starts.values()))
    return {axis: column.tolist() for axis, column in zip(made.schema.axes, (rows - starts).T)}


def told(packed: PackedSequence, made: Sequencer) -> dict[str, list[int]]:
    """The rows of the guide's axes alone."""
    found = places(made, packed.coord_ids)
    return {axis: values for axis, values in found.items() if "guide" in axis or "phase" in axis}


def told_slowly(made: Sequencer, given: Mapping[str, np.ndarray], start: int, fed: int) -> dict[str, list[int]]:
    """The same, a token and an axis at a time."""
    layout, above = made.schema.layouts[0], given.get("above", [])
    found = {}
    for tap in CONTEXT:
        found[f"audio.guide{tap:+}"] = [0] * (layout.prefix - 1)
        for p in range(start, start + fed + 1):
            there = 0 <= p // 4 + tap < len(above)
            found[f"audio.guide{tap:+}"].append(1 + int(above[p // 4 + tap]) if there else 0)
    phases = [1 + p % 4 if len(above) else 0 for p in range(start, start + fed + 1)]
    return {**found, "audio.phase": [0] * (layout.prefix - 1) + phases}


def test_each_token_is_told_the_coarse_tokens_around_the_next():
    made = sequencer_of("text[2] audio@above", context=99)
    (layout,) = made.schema.layouts
    found = made.pack(layout, {"text": np.array([3]), "audio": AUDIO[:6], "above": ABOVE[:2]})
    # task 0, its stop 1; text a..e 2..6, stop 7; audio 8..12, stop 13: nothing of `above`
    assert found.ids.tolist() == [0, 5, 7, 12, 11, 10, 9, 8, 9]
    assert found.targets.tolist() == [5, 7, 12, 11, 10, 9, 8, 9, 13]
    guide = told(found, made)
    # The filler after the text is followed by the first of four tokens at the coarse 2, whose row is 3
    assert guide["audio.guide+0"] == [0, 0, 3, 3, 3, 3, 1, 1, 1]
    assert guide["audio.guide+1"] == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert guide["audio.guide-1"] == [0, 0, 0, 0, 0, 0, 3, 3, 3]
    assert guide["audio.guide+2"] == guide["audio.guide-2"] == [0] * 9
    assert guide["audio.phase"] == [0, 0, 1, 2, 3, 4, 1, 2, 3]
    assert places(made, found.coord_ids)["audio.time"] == [0, 0, 0, 3, 5, 7, 9, 11, 13]  # sixteenths of a second, and 1


def test_all_tables_of_a_guide():
    axes = sequencer_of("audio@above").schema.axes
    assert list(axes) == [
        "position", "audio.time", "audio.total", "audio.elapsed", *(f"audio.guide{tap:+}" for tap in range(-4, 5)),
        "audio.phase",
    ]  # fmt: skip
    assert {axes[f"audio.guide{tap:+}"] for tap in CONTEXT} == {1 + 3}
    assert axes["audio.phase"] == 1 + 4
    assert "audio.phase" not in sequencer_of("audio").schema.axes


@pytest.mark.parametrize("spec", ["audio@above", "text[3] audio@above"])
@pytest.mark.parametrize("start", [0, 1, 2, 5, 6, 9, 13])
@pytest.mark.parametrize("coarse", [0, 1, 3, 4])
def test_what_is_told_is_that_of_the_slow_way(spec, start, coarse):
    made = sequencer_of(spec, context=9)
    (layout,) = made.schema.layouts
    given = {"above": ABOVE[:coarse], "text": np.array([1, 2])}
    found = made.pack(layout, {**given, "audio": AUDIO}, start)
    fed = len(found.ids) - layout.prefix
    assert fed == min(made.target_capacity(layout), len(AUDIO) - start)
    assert told(found, made) == told_slowly(made, given, start, fed)


def test_a_guide_that_is_left_out_tells_nothing_at_all():
    made = sequencer_of("audio@above", context=99)
    (layout,) = made.schema.layouts
    without, empty, whole = (
        made.pack(layout, {"audio": AUDIO, **more}) for more in ({}, {"above": ABOVE[:0]}, {"above": ABOVE})
    )
    assert not np.any(list(told(without, made).values()))
    assert np.array_equal(without.coord_ids, empty.coord_ids)
    assert np.array_equal(without.ids, whole.ids)
    assert np.array_equal(without.targets, whole.targets)
    assert not np.array_equal(without.coord_ids, whole.coord_ids)
    assert made.null_conditions({"above": ABOVE}) == {}


def test_a_guided_slot_may_be_fixed_and_beside_others():
    made = sequencer_of("audio[6]@above", "above", "audio", context=30)
    fixed, above, free = made.schema.layouts
    assert [block.name for block in made.schema.vocabulary.blocks] == ["task", "audio", "above"]
    found = made.pack(fixed, {"audio": AUDIO[:6], "above": ABOVE})
    assert len(found.ids) == 6
    assert told(found, made)["audio.guide+1"] == [1, 1, 1, 1, 2, 2]  # what follows is told although it is not made
    assert not np.any(list(told(made.pack(above, {"above": ABOVE}), made).values()))
    assert not np.any(list(told(made.pack(free, {"above": ABOVE, "audio": AUDIO}), made).values()))
    assert [span.slot for span in made.target_spans(fixed, 6)] == ["audio"]


def test_ids_of_a_guide_are_checked():
    made = sequencer_of("audio@above")
    with pytest.raises(ValueError, match=r"slot above: ids must be 0 .. 2, got 0 .. 3"):
        made.pack(made.schema.layouts[0], {"audio": AUDIO, "above": np.array([0, 3])})


@pytest.mark.parametrize(
    ("layouts", "others", "message"),
    [
        (["audio@above"], {"above": Tones(3, 3.0)}, "8 tokens of audio a second are no multiple of 3 of above"),
        (["audio@above"], {"above": Tones(3, 16.0)}, "8 tokens of audio a second are no multiple of 16 of above"),
        (["audio@text"], {}, "layout 'audio@text': audio and text need tokenizers of a constant rate"),
        (["text@above"], {}, "text and above need tokenizers of a constant rate"),
        (["audio@aboove"], {}, "audio and aboove need tokenizers of a constant rate"),
        (["audio@above", "audio@high"], {"high": Tones(3, 4.0)}, "audio has the guide above in another layout"),
    ],
)
def test_guides_that_cannot_be_are_refused(layouts, others, message):
    with pytest.raises(ValueError, match=message):
        Sequencer([Layout.parse(spec) for spec in layouts], {**tokenizers(), **others}, 12)


@pytest.mark.parametrize(("fine", "coarse"), [(44100 / 8, 44100 / 32), (8000 / 24, 8000 / 96), (22050 / 6, 22050 / 24)])
def test_rates_that_are_no_whole_numbers_are_multiples_too(fine, coarse):
    made = Sequencer([Layout.parse("audio@above")], {"audio": Tones(5, fine), "above": Tones(3, coarse)}, 12)
    assert made.guides["audio"].ratio == 4


# Texts that slide with the window

LYRICS = np.arange(12) % 5


def test_a_window_shows_the_text_of_its_stretch():
    made = sequencer_of("lyrics[3] audio", context=8)  # task, 3 letters and 4 tokens: 5 predicted in a window
    (layout,) = made.schema.layouts
    verses = made.tokenizers["lyrics"]
    assert isinstance(verses, Verses)
    # 24 tokens, which last 3 seconds, with a letter for every other one
    example = {"lyrics": LYRICS, "audio": np.zeros(24, np.int64)}
    windows = [made.pack(layout, example, start) for start in (0, 8, 20)]
    letters = made.schema.vocabulary.slice("lyrics").start
    assert [(window.ids[1:4] - letters).tolist() for window in windows] == [[0, 1, 5], [4, 0, 5], [0, 1, 5]]
    assert verses.told == [(0.0, 5 / 8, 3.0), (1.0, 13 / 8, 3.0), (20 / 8, 3.0, 3.0)]
    assert windows[0].targets[:3].tolist() == [letters + 0, letters + 1, letters + 5]  # `eos` after two letters
    fillers = places(made, windows[0].coord_ids)["lyrics.filler"]
    assert fillers[:4] == [0, 0, 0, 3]


def test_a_text_that_is_left_out_is_all_filler():
    made = sequencer_of("lyrics[3] audio", context=8)
    (layout,) = made.schema.layouts
    window = made.pack(layout, {"audio": AUDIO}, 3)
    stop = made.schema.vocabulary.eos("lyrics")
    assert window.ids[1:4].tolist() == [stop] * 3
    assert window.targets[:3].tolist() == [NO_TARGET] * 3
    assert made.tokenizers["lyrics"].told == []  # type: ignore[attr-defined]


def test_the_whole_of_a_fixed_slot_is_seen():
    made = sequencer_of("lyrics[3] audio[16]")
    (layout,) = made.schema.layouts
    made.pack(layout, {"lyrics": LYRICS, "audio": np.zeros(16, np.int64)})
    made.pack(layout, {"lyrics": LYRICS, "audio": np.zeros(4, np.int64)})
    made.window_conditions(layout, {"lyrics": LYRICS}, 7, 4)  # beyond what was said to be the end
    assert made.tokenizers["lyrics"].told == [(0.0, 2.0, 2.0), (0.0, 0.5, 0.5), (7 / 8, 7 / 8, 7 / 8)]  # type: ignore[attr-defined]


def test_what_slides_or_guides_may_be_of_any_length():
    layout = Layout.parse("text[2] lyrics[3] audio[9]@above")
    assert most_ids(layout, tokenizers()) == {"text": 2, "lyrics": None, "audio": 9, "above": None}
    # Beside letters, which tell no time, a text stands still
    assert most_ids(Layout.parse("lyrics[3] text"), tokenizers()) == {"lyrics": 3, "text": None}
    still = sequencer_of("lyrics[3] text")
    with pytest.raises(ValueError, match=r"slot lyrics\[3\] takes 3 tokens, got 12"):
        still.pack(still.schema.layouts[0], {"lyrics": LYRICS, "text": np.array([1])})
