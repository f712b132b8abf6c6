"""Windows of like length make a batch that is as full as one of whole sequences, and every batch is found at once."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.data.packing import GROUP, PIECES, Batches, EpochOrder, buckets, full_batches

WORLDS = {
    "full": np.full(100, 64),
    "short": np.full(1000, 7),
    "tiny": np.full(5000, 1),
    "any": np.random.default_rng(0).integers(1, 65, 900),
    "few": np.array([64, 3, 2]),
    "one": np.array([5]),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("batch", [1, 8, 24])
def test_buckets_part_the_windows_and_never_overflow(name, batch):
    lengths = WORLDS[name]
    found = buckets(lengths, batch, 64)
    assert sorted(np.concatenate([bucket.windows for bucket in found]).tolist()) == list(range(len(lengths)))
    longest = [int(lengths[bucket.windows].max()) for bucket in found]
    assert longest == sorted(longest, reverse=True)
    for bucket, most in zip(found, longest):
        assert most <= bucket.limit
        assert bucket.size * bucket.limit <= batch * 64
        assert batch <= bucket.size <= PIECES * batch
        assert bucket.size <= max(batch, len(lengths))


def test_full_sequences_are_as_many_as_the_batch_says():
    (bucket,) = buckets(np.full(100, 64), 8, 64)
    assert (bucket.size, bucket.limit) == (8, 64)


def test_short_windows_take_the_place_of_long_ones():
    """Eight sequences of 64 tokens: 9 of 56, 18 of 28."""
    found = buckets(np.repeat([64, 56, 28], 50), 8, 64)
    assert [(bucket.size, len(bucket.windows)) for bucket in found] == [(8, 50), (9, 50), (18, 50)]


def test_a_batch_is_as_full_as_one_window_less_at_worst():
    lengths = np.random.default_rng(1).integers(10, 513, 100_000)
    filled = [lengths[bucket.windows].mean() * bucket.size / (8 * 512) for bucket in buckets(lengths, 8, 512)]
    assert min(filled[:-1]) > 8 / 9
    assert max(filled) <= 1


def test_many_sequences_are_shared_out_to_the_window():
    """Of 64 sequences each of 2, 4 or 8 processes has as many windows as the others."""
    sizes = {bucket.size for bucket in buckets(np.random.default_rng(2).integers(1, 513, 100_000), 64, 512)}
    assert len(sizes) > 20
    assert all(size % 8 == 0 for size in sizes)


@pytest.mark.parametrize("name", WORLDS)
def test_every_window_comes_as_often_as_the_others(name):
    """Numbers of a bucket in order, each once; over its epochs each window once an epoch."""
    lengths = WORLDS[name]
    batches = Batches(np.arange(len(lengths)) + 1000, lengths, 4, 64, seed=3)
    count = 40 * GROUP
    rows = [row for t in range(count) for row in batches.rows(t)]
    numbers = [number for number, _ in rows]
    assert len(set(numbers)) == len(numbers)
    kinds = len(batches.buckets)
    visits = np.bincount([item - 1000 for _, item in rows], minlength=len(lengths))
    for k, bucket in enumerate(batches.buckets):
        own = sorted((number // kinds, item) for number, item in rows if number % kinds == k)
        assert [number for number, _ in own] == list(range(len(own)))
        assert visits[bucket.windows].max() - visits[bucket.windows].min() <= 1


def test_turns_are_counted_as_if_one_by_one():
    """The closed form against counting: batch n is number `before` of its bucket, and shares are kept all along."""
    lengths = WORLDS["any"]
    batches = Batches(np.arange(900), lengths, 4, 64, seed=0)
    rates = np.array([len(bucket.windows) / bucket.size for bucket in batches.buckets])
    seen = np.zeros(len(rates), int)
    for n in range(3000):
        k, before = batches.turns.in_order(n)
        assert before == seen[k]
        seen[k] += 1
        assert np.abs(seen - (n + 1) * rates / rates.sum()).max() < 3


def test_a_batch_is_found_at_once_and_depends_on_the_seed():
    lengths = WORLDS["any"]
    one, other, third = (Batches(np.arange(900), lengths, 4, 64, seed) for seed in (5, 5, 6))
    later = {t: one.rows(t) for t in (100_000, 3, 77)}
    assert later == {t: other.rows(t) for t in (3, 77, 100_000)}
    assert third.rows(3) != later[3]


def test_held_out_windows_make_full_batches():
    """12 tokens a batch: three of 4 or fewer, two of 6, one of 7 and more; what is too long is alone."""
    lengths = np.array([4, 7, 2, 6, 5, 13, 3])
    found = full_batches(lengths, 12)
    assert [lengths[group].tolist() for group in found] == [[2, 3, 4], [5, 6], [7], [13]]
    assert full_batches(np.array([], np.int64), 12) == []
    assert [len(group) for group in full_batches(np.full(10, 6), 24)] == [4, 4, 2]


def test_epochs_have_every_item_once_in_their_own_order():
    epochs = EpochOrder(np.array([7, 8, 9]), seed=1)
    found = np.concatenate([epochs.at(np.arange(i, i + 5)) for i in range(0, 30, 5)]).reshape(10, 3)
    assert (np.sort(found) == [7, 8, 9]).all()
    assert len({tuple(row) for row in found.tolist()}) > 2


def test_every_bucket_has_an_order_of_its_own():
    """Two of as many windows: the same order in both would show the same neighbours again and again."""
    first, second = (EpochOrder(np.arange(50), seed=1, stream=stream).at(np.arange(50)).tolist() for stream in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


@pytest.mark.parametrize("count", [3, 50, 333])
def test_batches_of_one_pass_have_each_window_once(count):
    """Up to whole batches of each bucket, and in other orders in other passes."""
    lengths = np.random.default_rng(1).integers(1, 65, count)
    batches = Batches(np.arange(count), lengths, batch=2, context=64, seed=5, passes=True)
    orders = []
    for epoch in range(3):
        numbers = range(epoch * batches.epoch, (epoch + 1) * batches.epoch)
        orders.append([window for t in numbers for _, window in batches.rows(t)])
    spare = sum(bucket.size for bucket in batches.buckets)
    for order in orders:
        times = np.bincount(order, minlength=count)
        assert np.abs(times - 1).sum() <= spare
    assert count == 3 or orders[0] != orders[1]
    assert sorted(batches.rows(0)) == sorted(Batches(np.arange(count), lengths, 2, 64, 5, passes=True).rows(0))
