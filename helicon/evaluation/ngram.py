"""N-gram models: baselines that a trained model must beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from helicon.data.corpus import Corpus

BASELINES = {"unigram": 1, "bigram": 2}  # name -> order, tokens of an n-gram


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Counts after contexts of one length.

    Attributes:
        contexts: ascending keys of the contexts; a context's id is its row here.
        total: tokens after each context.
        types: different tokens after each context.
        pairs: ascending keys, context id * vocabulary + token.
        count: occurrences of each pair.
    """

    contexts: np.ndarray
    total: np.ndarray
    types: np.ndarray
    pairs: np.ndarray
    count: np.ndarray


class WittenBell:
    """N-gram model of an order (1: unigram, 2: bigram), interpolated down to uniform over the vocabulary.

    p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h)), where c counts, t(h) is the number of different tokens seen
    after h, and h' is h without its oldest token; p(w | h) = p(w | h') if h was never seen. Below the unigram lies
    1 / vocabulary_size. Sequences are padded with a begin symbol, which is never predicted.
    (Witten & Bell, IEEE Trans. Inf. Theory 37(4), 1991, method C; interpolated as in Chen & Goodman, TR-10-98, 1998,
    section 2.6.)

    Args:
        order: tokens of an n-gram, 1 or more.
        vocabulary_size: number of token ids, 1 or more.

    Raises:
        ValueError: either is below 1.
    """

    def __init__(self, order: int, vocabulary_size: int) -> None:
        if order < 1 or vocabulary_size < 1:
            raise ValueError(f"order and vocabulary_size must be at least 1, got {order} and {vocabulary_size}")
        self.order, self.vocabulary_size = order, vocabulary_size
        self._levels: list[_Counts] = []  # by length of context: 0 .. order-1

    def fit(self, sequences: Sequence[np.ndarray]) -> WittenBell:
        """Count n-grams of sequences, NumPy int [T] token ids each.

        Earlier counts are replaced. Return the model itself.
        """
        self._levels = []
        checked = [ids for ids in map(self._checked, sequences) if len(ids)]
        if not checked:
            return self
        tokens, older = np.concatenate(checked), np.concatenate([self._older(ids) for ids in checked])
        ids = np.zeros(len(tokens), np.int64)  # ids of each token's context, of the length at hand
        for length in range(self.order):
            keys = ids if length == 0 else ids * (self.vocabulary_size + 1) + older[:, length - 1]
            contexts, ids = np.unique(keys, return_inverse=True)
            pairs, count = np.unique(ids * self.vocabulary_size + tokens, return_counts=True)
            total = np.bincount(ids, minlength=len(contexts))
            types = np.bincount(pairs // self.vocabulary_size, minlength=len(contexts))
            self._levels.append(_Counts(contexts=contexts, total=total, types=types, pairs=pairs, count=count))
        return self

    def token_nll(self, sequence: np.ndarray) -> np.ndarray:
        """Compute -log p in nats of each token of a sequence, NumPy int [T], given those before: NumPy float64 [T]."""
        tokens = self._checked(sequence)
        older = self._older(tokens)
        p = np.full(len(tokens), 1.0 / self.vocabulary_size)
        ids, seen = np.zeros(len(tokens), np.int64), np.ones(len(tokens), bool)
        for length, level in enumerate(self._levels):
            keys = ids if length == 0 else ids * (self.vocabulary_size + 1) + older[:, length - 1]
            ids, is_known = _rows(level.contexts, keys)
            seen &= is_known  # a context whose shorter part is new is new too
            rows, is_known = _rows(level.pairs, ids * self.vocabulary_size + tokens)
            total, types, count = level.total[ids], level.types[ids], np.where(is_known, level.count[rows], 0)
            p = np.where(seen, (count + types * p) / (total + types), p)
        return -np.log(p)

    def _checked(self, sequence: np.ndarray) -> np.ndarray:
        """Return ids int64 [T]; ValueError for an id outside the vocabulary."""
        ids = np.asarray(sequence, np.int64).reshape(-1)
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.vocabulary_size:
            raise ValueError(f"ids must lie in 0 .. {self.vocabulary_size - 1}, got {ids.min()} .. {ids.max()}")
        return ids

    def _older(self, tokens: np.ndarray) -> np.ndarray:
        """Return earlier tokens int64 [T, order - 1], column j those j + 1 before; begin symbol: `vocabulary_size`."""
        padded = np.concatenate([np.full(self.order, self.vocabulary_size), tokens])
        columns = [padded[self.order - j : len(padded) - j] for j in range(1, self.order)]
        return np.stack(columns, axis=1) if columns else np.zeros((len(tokens), 0), np.int64)


def _rows(sorted_keys: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Look up keys: row of each among `sorted_keys` (any valid row if missing), and True where it is there."""
    rows = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return rows, sorted_keys[rows] == keys


def baselines(corpus: Corpus, slot: str, tokens: int) -> dict[str, float]:
    """Measure n-grams fitted to the training part on the validation part.

    Args:
        corpus: `Corpus` of examples.
        slot: name of the slot that is predicted.
        tokens: number of ids of the slot's block without `eos`, which is added.

    Returns:
        Name of the n-gram, `unigram` or `bigram`, -> mean nats a token; empty when the corpus has no validation part.
    """
    train, val = (list(_sequences(corpus, slot, tokens, val)) for val in (False, True))
    if not train or not val:
        return {}
    models = {name: WittenBell(order, tokens + 1).fit(train) for name, order in BASELINES.items()}
    return {name: float(np.concatenate([model.token_nll(ids) for ids in val]).mean()) for name, model in models.items()}


def _sequences(corpus: Corpus, slot: str, eos: int, val: bool) -> Iterator[np.ndarray]:
    for example in corpus.select(val):
        yield np.append(corpus.example(int(example))[slot], eos)
