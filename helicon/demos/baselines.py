"""What counting alone achieves on a corpus: the levels that a trained model must get below."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from helicon.data.corpus import Corpus
from helicon.evaluation.ngram import WittenBell

NAMES = {"unigram": 1, "bigram": 2}


def baselines(corpus: Corpus, slot: str, tokens: int) -> dict[str, float]:
    """Nats a token of n-grams fitted to the training side, on what is held out: the targets a model is measured on.

    tokens: of the slot's block; `stop`, the token after the last, is one more. Empty when nothing is held out.
    """
    train, held = list(_sequences(corpus, slot, tokens, held=False)), list(_sequences(corpus, slot, tokens, held=True))
    if not train or not held:
        return {}
    models = {name: WittenBell(order, tokens + 1).fit(train) for name, order in NAMES.items()}
    return {name: float(np.concatenate([model.nats(ids) for ids in held]).mean()) for name, model in models.items()}


def _sequences(corpus: Corpus, slot: str, stop: int, held: bool) -> Iterator[np.ndarray]:
    for example in corpus.select(held):
        yield np.append(corpus.example(int(example))[slot], stop)
