"""Tokenizer of labels: an example's class (a speaker, a genre, a kind of picture) as one id, or `any-label`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from helicon.formats.checked import fields, text, texts
from helicon.formats.nearest import unknown
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Words
from helicon.tokenizers.base import Tokenizer, check_ids
from helicon.tokenizers.names import slug

ANY = "any-label"  # token of a label that is left open
MAX_LABELS = 1 << 16  # a bound for states from elsewhere
_MARK = "-label"  # suffix added to the token of a label that ends with it, so that none is ANY


class LabelTokenizer(Tokenizer[str], Words):
    """Tokenizer of a label to one id; an empty or unknown label is left open, `any-label`.

    Args:
        labels: slugs. A slug that ends with `-label`, as the open word does, gets another `-label` in its token.
        block: name of the token block.
    """

    def __init__(self, labels: Iterable[str], block: str = "style") -> None:
        self.labels = tuple(labels)
        self._label_of = {label_word(label): label for label in self.labels}
        self.block = TokenBlock(block, (*self._label_of, ANY))

    @staticmethod
    def fit(labels: Iterable[str | None], max_labels: int = 1024) -> LabelTokenizer:
        """Fit to the commonest labels of some examples.

        Args:
            labels: the label of each example, a text; None or empty for none.
            max_labels: greatest number of labels.

        Returns:
            Tokenizer, the commonest labels first.
        """
        return LabelTokenizer(commonest(Counter(filter(None, labels)), max_labels))

    def encode(self, media: str) -> np.ndarray:
        """Encode a label, a text, to its local id, NumPy int64 [1]; that of `any-label` if it is empty or unknown."""
        index = self.block.index
        return np.array([index.get(label_word(slug(media)), index[ANY])], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Decode local ids NumPy int64 [T] to a label, an empty text where it is left open.

        Of several the last counts.
        """
        words = [self.block.tokens[i] for i in check_ids(ids, len(self.block))]
        return self._label_of.get(words[-1], "") if words else ""

    def parse(self, text: str) -> str:
        """Parse a text that a user types, `Lady Gaga` or `lady-gaga`, to a label; empty for `any-label`.

        ValueError for an unknown label names the most similar ones.
        """
        word = slug(text)
        if word in ("", ANY):
            return ""
        if word in self._label_of:
            return self._label_of[word]
        if word in self.labels:
            return word
        raise ValueError(unknown("label", text, self.block.tokens))

    def drop(self, ids: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
        """Apply condition dropout, so that the model learns to do without a label.

        Args:
            ids: local ids NumPy int64 [T].
            rng: NumPy generator of the random numbers.
            p: probability that the label is left open.

        Returns:
            Local ids NumPy int64 [T], all of them `any-label` where the label was left open.
        """
        return np.where(rng.random(len(ids)) < p, self.block.index[ANY], ids)

    def grow(self, labels: Iterable[str | None]) -> LabelTokenizer:
        """Return a tokenizer with texts appended to its labels, as slugs; tokens keep their names, not their ids."""
        slugs = dict.fromkeys(slug(label) for label in labels if label)
        new = [label for label in slugs if label and label not in self.labels]
        return LabelTokenizer((*self.labels, *new), self.block.name)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `labels`, the words of their tokens."""
        return {"labels": list(self._label_of)}

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict that `from_state` restores: `block`, its name, and `labels`."""
        return {"block": self.block.name, "labels": list(self.labels)}

    @staticmethod
    def from_state(state: dict[str, Any]) -> LabelTokenizer:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        state = fields("state", state, ("block", "labels"))  # type: ignore[assignment]
        return LabelTokenizer(texts("labels", state["labels"], MAX_LABELS), text("block", state["block"]))


def commonest(labels: Mapping[str, int], most: int) -> list[str]:
    """Rank labels by frequency.

    Args:
        labels: number of occurrences by label.
        most: greatest number of labels that are returned.

    Returns:
        Slugs, the commonest first; labels with one slug count together.
    """
    counts: Counter[str] = Counter()
    for label, times in labels.items():
        counts[slug(label)] += times
    counts.pop("", None)
    return sorted(counts, key=lambda label: (-counts[label], label))[:most]


def label_word(label: str) -> str:
    """Return the word of a label's token, such as `lady-gaga`; the label is a slug."""
    return label + _MARK if label.endswith(_MARK) else label
