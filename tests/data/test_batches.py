"""Batch t is a function of (data, seed, t), whoever makes it; held-out windows score every token once."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import helicon.data.batches as batches_module
from helicon.data.batches import NO_VARIATION, TrainBatches, Variation, WindowStream, val_windows
from helicon.data.collate import collate
from helicon.data.corpus import Corpus
from helicon.data.corpus_writer import write_corpus
from helicon.data.packing import GROUP, EpochOrder
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.demos.composer import write_folder
from helicon.objectives.base import Batch
from helicon.sequence.layout import Layout
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.augment import MusicRanges
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence, Sequencer
from helicon.tokenizers.text import BytesTokenizer

MUSIC = {"music": MusicRanges()}


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> tuple[list[Corpus], Sequencer]:
    """Two layouts over six composed pieces."""
    folder = tmp_path_factory.mktemp("music")
    write_folder(folder / "midi", 6, seed=2)
    layouts = ("style[3] music", "music")
    found = prepare(DataSource(path=folder / "midi", layouts=layouts, val_split=0.4, cache=folder / "cache"))
    return found.corpora, Sequencer([Layout.parse(x) for x in layouts], found.tokenizers, 50)


def streams(music, batch: int = 6, seed: int = 4, how: Variation | None = None) -> list[WindowStream]:
    corpora, sequencer = music
    how = how or Variation(MUSIC, condition_dropout=0.3, plan=0.5)
    return [WindowStream(c, sequencer, x, seed, batch, how) for c, x in zip(corpora, sequencer.schema.layouts)]


def texts(
    folder: Path, lengths: list[int], held: list[bool], context: int, layout: str = "text"
) -> tuple[Corpus, Sequencer]:
    """Example i is the bytes i, i, ... so that a token tells where it is from."""
    rows = [(f"t{i}", None, held[i], {"text": np.full(n, i % 256)}) for i, n in enumerate(lengths)]
    corpus = write_corpus(folder, layout, rows, {"text": 256})
    return corpus, Sequencer([Layout.parse(layout)], {"text": BytesTokenizer()}, context)


def equal(a: Batch, b: Batch) -> bool:
    return a.layout == b.layout and all(torch.equal(x, y) for x, y in zip(a[1:7], b[1:7]))


@pytest.mark.parametrize("workers", [0, 2, 3])
def test_batches_do_not_depend_on_the_number_of_workers(music, workers):
    expected = [TrainBatches(streams(music)).batch(t) for t in range(5, 17)]
    loader = DataLoader(TrainBatches(streams(music), first=5), batch_size=None, num_workers=workers)
    found = list(itertools.islice(loader, 12))
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))
    assert [batch.layout for batch in found[:4]] == [1, 0, 1, 0]
    assert not equal(found[0], found[2])


def test_shares_of_two_processes_are_the_whole(music):
    whole = TrainBatches(streams(music))
    shares = [TrainBatches(streams(music), rank=rank, world=2) for rank in (0, 1)]
    for t in (0, 3, 40):
        expected, parts = whole.batch(t), [share.batch(t) for share in shares]
        for i in range(6):
            part, n = parts[i % 2], parts[i % 2].ids.shape[1]
            assert torch.equal(part.ids[i // 2], expected.ids[i, :n])
            assert torch.equal(part.targets[i // 2], expected.targets[i, :n])
            assert (expected.targets[i, n:] == NO_TARGET).all()


def test_processes_share_short_pieces_evenly(tmp_path):
    """Of 16 sequences each of two processes has as many pieces as the other, of half the tokens at most."""
    lengths = np.random.default_rng(1).integers(1, 60, 3000).tolist()
    corpus, sequencer = texts(tmp_path, lengths, [False] * 3000, 60)

    def make(**share):
        return TrainBatches(
            [WindowStream(corpus, sequencer, sequencer.schema.layouts[0], 0, 16, NO_VARIATION)], **share
        )

    whole, shares = make(), [make(rank=rank, world=2) for rank in (0, 1)]
    for t in range(20):
        expected, parts = whole.batch(t), [share.batch(t) for share in shares]
        assert [len(part.ids) for part in parts] == [len(expected.ids) / 2] * 2
        assert all(int(part.lengths.sum()) <= 8 * 60 for part in parts)
        for i, (ids, n) in enumerate(zip(expected.ids, expected.lengths.tolist())):
            assert torch.equal(parts[i % 2].ids[i // 2, :n], ids[:n])
            assert parts[i % 2].lengths[i // 2] == n


def test_the_seed_changes_everything(music):
    assert not equal(TrainBatches(streams(music)).batch(0), TrainBatches(streams(music, seed=5)).batch(0))


def places(
    folder: Path, lengths: list[int], held: list[bool], context: int, layout: str = "text"
) -> tuple[Corpus, Sequencer, list[int]]:
    """No two tokens are the same: those of example i are numbered from the i-th start on."""
    starts = np.cumsum([0, *lengths]).tolist()
    rows = [(f"t{i}", None, held[i], {"text": np.arange(starts[i], starts[i + 1])}) for i in range(len(lengths))]
    corpus = write_corpus(folder, layout, rows, {"text": starts[-1] + 1})
    tokenizer = BytesTokenizer()
    tokenizer.block = TokenBlock("text", tuple(map(str, range(starts[-1] + 1))))
    return corpus, Sequencer([Layout.parse(layout)], {"text": tokenizer}, context), starts


def seen_in_epochs(batches: TrainBatches, epochs: int, world: int = 1) -> dict[int, list[PackedSequence]]:
    """Windows of each of the first epochs, as a training of so many processes sees them."""
    (stream,) = batches.streams
    counts = [len(bucket.windows) for bucket in stream.batches.buckets]
    seen: dict[int, list[PackedSequence]] = {epoch: [] for epoch in range(epochs)}
    t = 0
    while sum(map(len, seen.values())) < epochs * sum(counts):
        numbers = [number for number, _ in stream.rows(t)]
        for rank in range(world):
            share = TrainBatches([stream], rank=rank, world=world).batch(t)
            assert len(share.ids) <= -(-len(numbers) // world)
            for number, ids, targets, n in zip(numbers[rank::world], share.ids, share.targets, share.lengths.tolist()):
                if (epoch := stream.batches.epoch_of(number)) in seen:
                    seen[epoch].append(PackedSequence(ids[:n].numpy(), np.empty(0), targets[:n].numpy()))
        t += 1
    return seen


@pytest.mark.parametrize("context", [2, 3, 12, 33])
@pytest.mark.parametrize(("batch", "world"), [(1, 1), (3, 1), (8, 2), (6, 3)])
def test_every_token_is_a_target_once_an_epoch(tmp_path, context, batch, world):
    lengths = [3, 100, 40, 0, 9, 33, *range(20, 50), 257]
    held = [i == 5 for i in range(len(lengths))]
    corpus, sequencer, starts = places(tmp_path, lengths, held, context)
    stream = WindowStream(corpus, sequencer, sequencer.schema.layouts[0], 1, batch, NO_VARIATION)
    first, stop = sequencer.schema.vocabulary.slice("text").start, sequencer.schema.vocabulary.eos("text")
    expected = {place for i, n in enumerate(lengths) if not held[i] for place in range(starts[i], starts[i] + n)}
    cuts = set()
    for windows in seen_in_epochs(TrainBatches([stream]), 3, world).values():
        targets = np.concatenate([window.targets[window.targets != NO_TARGET] for window in windows])
        assert sorted((targets[targets != stop] - first).tolist()) == sorted(expected)  # every one, and no more
        assert (targets == stop).sum() == held.count(False)
        for window in windows:  # each follows its piece
            assert (window.targets[:-1] == window.ids[1:]).all()
        cuts.add(tuple(sorted(int(window.targets[0]) for window in windows)))
    assert len(cuts) == (3 if context > 2 else len(cuts))  # in other windows each time


def test_every_token_of_a_changed_piece_is_a_target_once_an_epoch(music, monkeypatch):
    """Tempo changes how many tokens a piece has: its windows of an epoch are of one and the same variation of it."""
    (corpus, _), sequencer = music
    (layout, _) = sequencer.schema.layouts
    how = Variation({"music": MusicRanges(tempo=(0.5, 2.0))}, condition_dropout=0.0, plan=0.0)
    stream = WindowStream(corpus, sequencer, layout, 0, 4, how)
    pieces: dict[int, set[bytes]] = {}
    pack = sequencer.pack

    def remembered(layout: Layout, ids, *rest) -> PackedSequence:
        pieces[len(pieces) - 1].add(ids["music"].tobytes())
        return pack(layout, ids, *rest)

    monkeypatch.setattr(sequencer, "pack", remembered)
    lengths = set()
    for epoch in range(8):
        for piece in range(len(stream.examples)):
            pieces[len(pieces)] = set()
            windows = np.flatnonzero(stream.windows.pieces == piece)
            packed = [stream.window(number_of(stream, int(window), epoch), int(window)) for window in windows]
            (whole,) = [np.frombuffer(ids, np.int64) for ids in pieces[len(pieces) - 1]]
            start, stop = sequencer.schema.vocabulary.slice("music").start, sequencer.schema.vocabulary.eos("music")
            made = [window.targets[layout.prefix - 1 :] for window in packed]
            parts = [targets[targets != NO_TARGET] for targets in made]
            assert sorted(np.concatenate(parts)) == sorted([*(whole + start), stop])
            lengths.add((piece, len(whole)))
            assert all(len(window.ids) <= sequencer.context for window in packed)
    assert len(lengths) > 2 * len(stream.examples)


def test_a_change_that_has_no_room_is_drawn_again(tmp_path, monkeypatch):
    """Of pieces that end with their last token up to eight times, those that do not fit: nothing is ever cut off."""
    lengths = [5, 30, 40, 11, 12, 95]
    corpus, sequencer, starts = places(tmp_path, lengths, [False] * 6, 12)
    longer = lambda sequencer, ids, rng, ranges: {"text": np.append(ids["text"], [ids["text"][-1]] * rng.integers(9))}  # noqa: E731
    monkeypatch.setattr(batches_module, "augmented", longer)
    stream = WindowStream(
        corpus, sequencer, sequencer.schema.layouts[0], 0, 2, Variation(MUSIC, condition_dropout=0.0, plan=0.0)
    )
    start, stop = sequencer.schema.vocabulary.slice("text").start, sequencer.schema.vocabulary.eos("text")
    times: dict[int, set[int]] = {}
    for epoch in range(30):
        for piece, length in enumerate(lengths):
            windows = np.flatnonzero(stream.windows.pieces == piece).tolist()
            packed = [stream.window(number_of(stream, window, epoch), window) for window in windows]
            assert all(len(each.ids) <= 12 for each in packed)
            targets = np.concatenate([each.targets[each.targets != NO_TARGET] for each in packed])
            counts = np.bincount(targets[targets != stop] - start - starts[piece], minlength=length)
            assert (targets == stop).sum() == 1
            assert set(counts[:-1]) == {1}
            times.setdefault(length, set()).add(int(counts[-1]))
    assert times[11] == {1}  # and its end are a whole window
    assert len(times[95]) > 2


@pytest.mark.parametrize("slot", ["music", "style"])
@pytest.mark.parametrize("how", [NO_VARIATION, Variation(MUSIC, condition_dropout=0.5)])
def test_ids_that_the_model_does_not_know_are_refused(tmp_path, music, slot, how):
    """A cache of another vocabulary: an error in one line before they are looked up in any table."""
    (corpus, _), sequencer = music
    (layout, _) = sequencer.schema.layouts
    ids = corpus.example(0)
    ids[slot] = np.append(ids[slot][:-1], 60_000)
    wrong = write_corpus(tmp_path, str(layout), [("a", None, False, ids)] * 2, dict.fromkeys(ids, 1 << 16))
    stream = WindowStream(wrong, sequencer, layout, 0, 2, how)
    with pytest.raises(ValueError, match=f"^slot {slot}: ids must be 0 .. [0-9]+, got [0-9]+ .. 60000$"):
        [stream.window(0, window) for window in range(len(stream.windows.pieces))]


def number_of(stream: WindowStream, window: int, epoch: int) -> int:
    """A number at which a window may come in an epoch."""
    for k, bucket in enumerate(stream.batches.buckets):
        if window in bucket.windows:
            return epoch * len(bucket.windows) * len(stream.batches.buckets) + k
    raise LookupError(window)


def test_batches_are_of_like_lengths_and_full(tmp_path):
    lengths = np.random.default_rng(0).integers(1, 100, 2000).tolist()
    corpus, sequencer = texts(tmp_path, lengths, [False] * 2000, 100)
    batches = TrainBatches([WindowStream(corpus, sequencer, sequencer.schema.layouts[0], 0, 8, NO_VARIATION)])
    found = [batches.batch(t) for t in range(2 * GROUP)]
    assert np.mean([(batch.targets == NO_TARGET).double().mean() for batch in found]) < 0.1
    fed = [int(batch.lengths.sum()) for batch in found]
    assert max(fed) <= 8 * 100
    assert np.mean(fed) > 0.9 * 8 * 100
    assert min(len(batch.ids) for batch in found) >= 8


def test_pieces_of_a_batch_are_each_on_their_own(tmp_path):
    """Four texts of two letters to a sequence of 12 tokens: the task token and the letters each."""
    corpus, sequencer = texts(tmp_path, [2] * 40, [False] * 40, 12)
    batch = TrainBatches([WindowStream(corpus, sequencer, sequencer.schema.layouts[0], 0, 2, NO_VARIATION)]).batch(0)
    first, stop = sequencer.schema.vocabulary.slice("text").start, sequencer.schema.vocabulary.eos("text")
    assert batch.lengths.tolist() == [3] * 8
    assert (batch.ids[:, 1] == batch.ids[:, 2]).all()
    assert len(set(batch.ids[:, 1].tolist())) == 8
    assert all(0 <= letter - first < 40 for letter in batch.ids[:, 1].tolist())
    assert batch.targets.tolist() == [[a, a, stop] for a in batch.ids[:, 1].tolist()]


def test_a_longer_variant_of_a_piece_stays_within_its_place(tmp_path):
    """Of each text a variant of 9 letters and one of 2: there is room for 9 wherever it stands."""
    rows = [(f"t{i}", None, False, {"text": [np.full(2, i), np.full(9, i)]}) for i in range(40)]
    corpus = write_corpus(tmp_path, "text", rows, {"text": 256})
    assert corpus.longest("text").tolist() == [9] * 40
    sequencer = Sequencer([Layout.parse("text")], {"text": BytesTokenizer()}, 40)
    batches = TrainBatches([WindowStream(corpus, sequencer, sequencer.schema.layouts[0], 0, 2, NO_VARIATION)])
    found = [batches.batch(t).lengths for t in range(10)]
    assert {len(lengths) for lengths in found} == {8}
    assert set(torch.cat(found).tolist()) == {1 + 2, 1 + 9}


def test_fewer_examples_than_a_batch_are_enough(tmp_path):
    corpus, sequencer = texts(tmp_path, [5, 6], [False, False], 11)
    batches = TrainBatches([WindowStream(corpus, sequencer, sequencer.schema.layouts[0], 0, 16, NO_VARIATION)])
    assert batches.batch(7).ids.shape[0] == 16


def test_words_are_dropped_and_pieces_changed_at_random(music):
    sequencer = music[1]
    plain, varied = (
        streams(music, how=NO_VARIATION)[0],
        streams(music, how=Variation(MUSIC, condition_dropout=0.5, plan=1.0))[0],
    )
    style, words = sequencer.schema.vocabulary.slice("style"), sequencer.tokenizers["style"]
    number, window = plain.rows(0)[0]
    assert np.array_equal(plain.window(number, window).ids, plain.window(number, window).ids)
    found = [varied.window(number_of(varied, window, epoch), window) for epoch in range(200)]
    fed = [packed.ids[1:4] - style.start for packed in found]
    left_open = np.mean([[word.startswith("any-") for word in words.to_words(ids)] for ids in fed], axis=0)
    assert left_open == pytest.approx([0.5] * 3, abs=0.15)
    assert len({tuple(packed.ids[4:20].tolist()) for packed in found[:50]}) > 30
    part = list(sequencer.schema.axes).index("music.part")
    first = sequencer.schema.axis_starts["music.part"]
    assert (found[0].coord_ids[4:, part] > first + 1).all()
    assert (plain.window(number, window).coord_ids[4:, part] == first + 1).all()


@pytest.mark.parametrize("context", [2, 3, 7, 12])
def test_held_out_windows_score_every_token_once(tmp_path, context):
    lengths = [0, 1, 5, 6, 7, 13, 50, 99]
    corpus, sequencer = texts(tmp_path, [*lengths, 40], [True] * 8 + [False], context)
    stop = sequencer.schema.vocabulary.eos("text")
    start = sequencer.schema.vocabulary.slice("text").start
    scored = np.concatenate([w.targets for ((_, w),) in val_windows(corpus, sequencer, sequencer.schema.layouts[0])])
    scored = scored[scored != NO_TARGET].tolist()
    assert scored.count(stop) == len(lengths)
    assert [scored.count(start + i) for i in range(9)] == [*lengths, 0]


def test_held_out_windows_follow_the_piece(tmp_path):
    """Letters in order, so that each target must be the one after what is fed."""
    rows = [("a", None, True, {"text": np.arange(100)})]
    corpus = write_corpus(tmp_path, "text", rows, {"text": 256})
    sequencer = Sequencer([Layout.parse("text")], {"text": BytesTokenizer()}, 9)
    windows = [window for ((_, window),) in val_windows(corpus, sequencer, sequencer.schema.layouts[0])]
    start, stop = sequencer.schema.vocabulary.slice("text").start, sequencer.schema.vocabulary.eos("text")
    heard = []
    for number, window in enumerate(windows):
        places = np.flatnonzero(window.targets != NO_TARGET)
        assert number == 0 or places[0] >= 4  # half a window comes before
        for place in places:
            before, target = window.ids[place], window.targets[place]
            heard.append(int(target))
            if place:
                assert target == (before + 1 if before - start < 99 else stop)
    assert heard == [*range(start, start + 100), stop]


def test_collate_pads_with_what_is_never_learned():
    a = PackedSequence(np.array([1, 2, 3]), np.ones((3, 2), np.int64), np.array([2, 3, 4]))
    b = PackedSequence(np.array([1]), np.ones((1, 2), np.int64), np.array([5]))
    batch = collate(7, [a, b])
    assert batch.layout == 7
    assert batch.ids.tolist() == [[1, 2, 3], [1, 0, 0]]
    assert batch.targets.tolist() == [[2, 3, 4], [5, NO_TARGET, NO_TARGET]]
    assert batch.coord_ids[1].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert batch.lengths.tolist() == [3, 1]


def test_the_order_of_an_epoch_is_drawn_once(tmp_path, monkeypatch):
    corpus, sequencer = texts(tmp_path, [5] * 30_000, [False] * 30_000, 11)
    stream = WindowStream(corpus, sequencer, sequencer.schema.layouts[0], 0, 64, NO_VARIATION)
    drawn, order = [], EpochOrder._order
    monkeypatch.setattr(
        EpochOrder, "_order", lambda self, epoch: drawn.append(epoch in self._orders) or order(self, epoch)
    )
    for t in range(2 * GROUP):
        stream.rows(t)
    assert len(drawn) == 2 * GROUP
    assert drawn.count(False) == 1


def test_windows_share_no_random_numbers(music):
    """A thousand each of neighbouring windows, none of them twice."""
    (stream, _) = streams(music)
    drawn = [stream._draws(number).integers(2**63, size=1000) for number in (0, 1, 2)]
    assert len(np.unique(np.concatenate(drawn))) == 3000
    assert (stream._draws(1).integers(2**63, size=1000) == drawn[1]).all()
