"""What an example is labelled with, as one id: a label (a speaker, a genre, a kind of picture), or `any-label`."""

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

ANY = "any-label"
MOST_LABELS = 1 << 16
_MARK = "-label"


class LabelTokenizer(Tokenizer[str], Words):
    """Labels to one id. An empty label, or one without a word of its own, is left open.

    labels: slugs. One that ends with `-label`, as the open word does, is written with another `-label` after it.
    """

    def __init__(self, labels: Iterable[str], block: str = "style") -> None:
        self.labels = tuple(labels)
        self._label_of = {label_word(label): label for label in self.labels}
        self.block = TokenBlock(block, (*self._label_of, ANY))

    @staticmethod
    def fit(labels: Iterable[str | None], max_labels: int = 1024) -> LabelTokenizer:
        """The commonest of the labels of some examples, those first that are found most often."""
        return LabelTokenizer(commonest(Counter(filter(None, labels)), max_labels))

    def encode(self, media: str) -> np.ndarray:
        """int64 [1]: the id of the label."""
        index = self.block.index
        return np.array([index.get(label_word(slug(media)), index[ANY])], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        """Label of any ids, empty where they leave it open; of several the last counts."""
        words = [self.block.tokens[i] for i in check_ids(ids, len(self.block))]
        return self._label_of.get(words[-1], "") if words else ""

    def parse(self, text: str) -> str:
        """Label that is typed, `Lady Gaga` or `lady-gaga`; empty for none. ValueError names those nearest to it."""
        word = slug(text)
        if word in ("", ANY):
            return ""
        if word in self._label_of:
            return self._label_of[word]
        if word in self.labels:
            return word
        raise ValueError(unknown("label", text, self.block.tokens))

    def drop(self, ids: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
        """Left open with probability p, so that the model learns to do without."""
        return np.where(rng.random(len(ids)) < p, self.block.index[ANY], ids)

    def grow(self, labels: Iterable[str | None]) -> LabelTokenizer:
        """With labels added after its own; tokens keep their names, not their ids."""
        found = dict.fromkeys(slug(label) for label in labels if label)
        new = [label for label in found if label and label not in self.labels]
        return LabelTokenizer((*self.labels, *new), self.block.name)

    def describe(self) -> dict[str, Any]:
        """For people: the words."""
        return {"labels": list(self._label_of)}

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {"block": self.block.name, "labels": list(self.labels)}

    @staticmethod
    def from_state(state: dict[str, Any]) -> LabelTokenizer:
        """Inverse of `state`."""
        state = fields("state", state, ("block", "labels"))  # type: ignore[assignment]
        return LabelTokenizer(texts("labels", state["labels"], MOST_LABELS), text("block", state["block"]))


def commonest(labels: Mapping[str, int], most: int) -> list[str]:
    """Slugs of labels that were found so often, the commonest first."""
    counts: Counter[str] = Counter()
    for label, times in labels.items():
        counts[slug(label)] += times
    counts.pop("", None)
    return sorted(counts, key=lambda label: (-counts[label], label))[:most]


def label_word(label: str) -> str:
    """Word of a label."""
    return label + _MARK if label.endswith(_MARK) else label
