"""Folders for guided slots and sliding texts: what is stored, what is left out at random, what is scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from guided_worlds import media as media  # a fixture

from helicon.data.batches import NO_VARIATION, Variation, WindowStream, val_windows
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource, modalities_of
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence, Sequencer

SPEC = "verse[2] fine@coarse"
pytestmark = pytest.mark.usefixtures("media")


def digits(length: int, seed: int) -> str:
    return "".join(map(str, np.random.default_rng(seed).integers(5, size=length)))


@pytest.fixture
def found(tmp_path: Path, media) -> tuple[Prepared, Sequencer]:
    """Three pieces with a verse each; windows of 8 tokens."""
    folder = tmp_path / "songs"
    folder.mkdir()
    for seed, (length, verse) in enumerate([(30, "abcdeabcde"), (7, "edcba"), (21, "aaaabbbb")]):
        (folder / f"{seed}.tones").write_text(digits(length, seed))
        (folder / f"{seed}.verses").write_text(verse)
    found = prepare(DataSource(path=folder, layouts=(SPEC,), val_split=0.4, cache=tmp_path / "cache"))
    return found, Sequencer([Layout.parse(SPEC)], found.tokenizers, 3 + 8)


def test_ids_of_the_guide_and_whole_texts_are_stored(found):
    (corpus,) = found[0].corpora
    assert [modality.name for modality in modalities_of(Layout.parse(SPEC))] == ["verses", "tones"]
    assert found[0].tokenizer_names == {"verse": "verses", "fine": "tones", "coarse": "tones"}
    assert found[0].repaired == {}  # a verse of ten letters is not cut to two
    by_name = {name.partition(".")[0]: corpus.example(i) for i, name in enumerate(corpus.names)}
    assert {name: [len(ids[slot]) for slot in ("verse", "fine", "coarse")] for name, ids in by_name.items()} == {
        "0": [10, 30, 8], "1": [5, 7, 2], "2": [8, 21, 6],
    }  # fmt: skip
    assert by_name["1"]["coarse"].tolist() == [int(digit) % 3 for digit in digits(7, 1)[::4]]
    assert corpus.tokens(val=True) + corpus.tokens(val=False) == 30 + 7 + 21


def guide_of(packed: PackedSequence, sequencer: Sequencer) -> list[int]:
    """The row of each token's coarse code at the next token, 0 for none."""
    axis = list(sequencer.schema.axes).index("fine.guide+0")
    return (packed.coord_ids[:, axis] - sequencer.schema.axis_starts["fine.guide+0"]).tolist()


def test_a_window_has_the_guide_and_the_text_of_its_stretch(found):
    (corpus,), sequencer = found[0].corpora, found[1]
    (layout,) = sequencer.schema.layouts
    stream = WindowStream(corpus, sequencer, layout, 0, 2, NO_VARIATION)
    piece = int(np.argmax(corpus.lengths("fine")[stream.examples]))
    ids, windows = corpus.example(int(stream.examples[piece])), np.flatnonzero(stream.windows.pieces == piece)
    start = sequencer.schema.vocabulary.slice("fine").start
    seen = set()
    for number in range(60):
        window = stream.window(number, int(windows[number % len(windows)]))
        fed = (window.ids[3:] - start).tolist()
        starts = [i for i in range(len(ids["fine"])) if ids["fine"][i : i + len(fed)].tolist() == fed]
        guides = {i: [1 + int(ids["coarse"][p // 4]) for p in range(i, i + len(fed))] for i in starts}
        (first, *_) = [i for i in starts if guide_of(window, sequencer)[2:][: len(fed)] == guides[i]]
        packed = sequencer.pack(layout, ids, first, plan=False)
        assert np.array_equal(packed.coord_ids[: len(window.ids)], window.coord_ids)
        assert np.array_equal(packed.ids[: len(window.ids)], window.ids)
        seen.add((first, *window.ids[1:3].tolist()))
    assert len(seen) > 5


def test_the_guide_and_the_text_are_left_out_at_random(found):
    (corpus,), sequencer = found[0].corpora, found[1]
    (layout,) = sequencer.schema.layouts
    stream = WindowStream(corpus, sequencer, layout, 0, 2, Variation(condition_dropout=0.3, plan=0.0))
    stop = sequencer.schema.vocabulary.eos("verse")
    without = np.zeros((2, 2))
    for number in range(600):
        window = stream.window(number, 0)
        without[int(not any(guide_of(window, sequencer))), int(window.ids[1] == stop)] += 1
        phase = list(sequencer.schema.axes).index("fine.phase")
        phases = window.coord_ids[2:, phase] - sequencer.schema.axis_starts["fine.phase"]
        assert bool(phases.any()) == any(guide_of(window, sequencer))
    assert without / 600 == pytest.approx(np.array([[0.49, 0.21], [0.21, 0.09]]), abs=0.05)


def test_every_token_is_scored_once_with_its_guide(found):
    (corpus,), sequencer = found[0].corpora, found[1]
    (layout,) = sequencer.schema.layouts
    start, stop = sequencer.schema.vocabulary.slice("fine").start, sequencer.schema.vocabulary.eos("fine")
    heard: list[int] = []
    for ((_, window),) in val_windows(corpus, sequencer, layout):
        targets = window.targets[2:]
        heard += targets[targets != NO_TARGET].tolist()
        assert all(guide_of(window, sequencer)[2:-1])
    held = [corpus.example(int(i))["fine"] for i in corpus.select(val=True)]
    assert heard == [int(i) for ids in held for i in (*(ids + start), stop)]
