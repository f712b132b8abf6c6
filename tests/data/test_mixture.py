"""Mixtures of several sources: shares, turns, splits of each by itself, and what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helicon.data.batches import NO_VARIATION, TrainBatches, WindowStream
from helicon.data.config import SequenceDataConfig, SourceConfig
from helicon.data.entries import DataError, Origin
from helicon.data.mixture import MixedStream, shares_of
from helicon.data.packing import Turns
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.formats.validation import name_hash
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer


@pytest.fixture
def source(tmp_path: Path) -> DataSource:
    """Two folders with files of the same names, one of `a` and one of `b`; the second is a fifth of the first."""
    for name, files in (("a", 50), ("b", 10)):
        (tmp_path / name).mkdir()
        for i in range(files):
            (tmp_path / name / f"{i}.txt").write_text(name * (100 + i % 7))
    origins = tuple(Origin(name=name, path=tmp_path / name) for name in "ab")
    return DataSource(
        path=tmp_path / "a", layouts=("text",), tokenizers={"text": "bytes"}, origins=origins, val_split=0.1,
        cache=tmp_path / "cache",
    )  # fmt: skip


def names_of(prepared: Prepared, val: bool) -> set[tuple[int, str]]:
    corpus = prepared.corpora[0]
    return {(int(corpus.origins[i]), corpus.names[i]) for i in corpus.select(val)}


def test_turns_have_their_shares_at_every_step():
    for seed in range(3):
        turns = Turns([round(0.7 * (1 << 20)), round(0.3 * (1 << 20))], seed, stream=3)
        seen = [turns.at(t) for t in range(10_000)]
        counts = Counter(k for k, _ in seen)
        assert abs(counts[0] - 7000) <= 1
        firsts = np.cumsum([k == 0 for k, _ in seen])
        assert np.abs(firsts - 0.7 * np.arange(1, 10_001)).max() < 8  # half a group of 16, which is shuffled
        for k in (0, 1):  # each turn of a stream comes once
            assert sorted(turn for number, turn in seen if number == k) == list(range(counts[k]))
    assert [k for k, _ in seen] != [Turns([7, 3], 0, stream=3).at(t)[0] for t in range(10_000)]


def test_shares():
    assert shares_of([900, 100]) == [0.9, 0.1]
    assert shares_of([900, 100], temperature=2) == [0.75, 0.25]
    assert shares_of([900, 100], [7, 3]) == [0.7, 0.3]


def test_each_source_is_split_by_itself_and_read_into_one_corpus(source):
    prepared = prepare(source)
    corpus = prepared.corpora[0]
    assert len(corpus) == 60
    for number, letter in enumerate("ab"):
        assert {chr(corpus.example(int(i))["text"][0]) for i in np.flatnonzero(corpus.of_origin(number))} == {letter}
        val, train = (corpus.tokens(val=part, origin=number) for part in (True, False))
        assert 0.05 < val / (val + train) < 0.15
    alone = [prepare(replace(source, path=origin.path, origins=())) for origin in source.origins]
    for number, prepared_alone in enumerate(alone):
        of_source = {name for origin, name in names_of(prepared, val=True) if origin == number}
        assert of_source == {name for _, name in names_of_single(prepared_alone)}


def names_of_single(prepared: Prepared) -> set[tuple[int, str]]:
    corpus = prepared.corpora[0]
    assert len(corpus.origins) == 0
    return {(0, corpus.names[i]) for i in corpus.select(val=True)}


def test_what_was_left_out_of_a_source_stays_out(source):
    """Names that are in both folders are told apart by the name of their source, also when it is read alone."""
    prepared = prepare(source)
    record = prepared.record
    assert record.keys() == {name_hash(f"{'ab'[i]}/{name[:-4]}") for i, name in names_of(prepared, val=True)}
    again = prepare(replace(source, record=record, val_split=None))
    assert names_of(again, val=True) == names_of(prepared, val=True)
    for number, origin in enumerate(source.origins):
        alone = prepare(replace(source, path=origin.path, origins=(), record=record, val_split=None))
        expected = {(0, name) for i, name in names_of(prepared, val=True) if i == number}
        assert names_of_single(alone) == expected
    single = prepare(replace(source, path=source.origins[1].path, origins=(), val_split=0.3))
    mixed = prepare(replace(source, record=single.record, val_split=0.1))
    assert {name for _, name in names_of_single(single)} <= {n for i, n in names_of(mixed, val=True) if i == 1}


def test_a_batch_is_of_one_source_in_turn(source):
    prepared = prepare(source)
    (corpus,) = prepared.corpora
    sequencer = Sequencer([Layout.parse("text")], prepared.tokenizers, context=64)
    layout = sequencer.schema.layouts[0]
    streams = [WindowStream(corpus, sequencer, layout, 5, 4, NO_VARIATION, origin=i) for i in (0, 1)]
    mixed = MixedStream(streams, [0.7, 0.3], seed=5)
    batches, origins = TrainBatches([mixed]), []
    for t in range(100):
        (origin,) = {corpus.origin(int(example)) for example in batches.batch(t).examples}
        origins.append(origin)
    assert origins.count(1) == 30
    assert batches.epoch == max(round(streams[0].epoch / 0.7), round(streams[1].epoch / 0.3))
    seen = {int(i) for t in range(batches.epoch + 16) for i in batches.batch(t).examples}
    assert seen == set(map(int, corpus.select(val=False)))


def test_sources_without_files_of_a_medium(source, tmp_path):
    (tmp_path / "empty").mkdir()
    empty = Origin(name="empty", path=tmp_path / "empty")
    with pytest.raises(DataError, match=r"empty: no files to train on; accepted suffixes"):
        prepare(replace(source, origins=(*source.origins, empty)))
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        prepare(replace(source, origins=(*source.origins, replace(empty, path=tmp_path / "nowhere"))))
    with pytest.raises(DataError, match="3 sources of pairs; one, with a manifest, is accepted"):
        prepare(replace(source, origins=(*source.origins, empty), examples="pairs"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": []}, "one or more"),
        ({"path": "c"}, "--data.path is the first, a, not c"),
        ({"manifest": "m.csv"}, "each has its own"),
        ({"weights": (0.7, None)}, "1 weights of 2 sources; of all or of none"),
        ({"weights": (0.7, 0.0)}, "above 0, got 0"),
        ({"weights": (0.7, -1)}, "above 0, got -1"),
        ({"weights": (0.7, float("inf"))}, "above 0, got inf"),
        ({"weights": (0.7, float("nan"))}, "above 0, got nan"),
        ({"weights": (0.7, 0.3), "temperature": 2.0}, "one of both"),
        ({"temperature": 0.0}, "--data.temperature must be above 0"),
        ({"sources": None, "temperature": 2.0}, "one source alone"),
        ({"names": ("x", "x")}, "two are called x"),
        ({"names": ("x", "y/z")}, "y/z"),
    ],
)
def test_what_makes_no_mixture_is_one_line(options, message):
    weights, names = options.pop("weights", (None, None)), options.pop("names", (None, None))
    sources = [SourceConfig(path=path, weight=w, name=n) for path, w, n in zip("ab", weights, names)]
    with pytest.raises(DataError, match=message):
        SequenceDataConfig(**{"path": "a", "layouts": ["text"], "sources": sources, **options})
