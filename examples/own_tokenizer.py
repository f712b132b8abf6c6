"""A tokenizer of one's own for a medium that is there: a token for each character that the texts have.

helicon train text FOLDER_OF_TEXT_FILES --data.tokenizer characters --plugin own_tokenizer.py
helicon generate runs/text-1 --plugin own_tokenizer.py
"""

from collections.abc import Iterable

import numpy as np

import helicon

OTHER = "\N{REPLACEMENT CHARACTER}"  # what was never seen


class Characters(helicon.Tokenizer[str]):
    """One token a character; those that the training texts lack are one and the same."""

    def __init__(self, characters: Iterable[str]) -> None:
        self.block = helicon.TokenBlock("characters", tuple(characters))

    def encode(self, media: str) -> np.ndarray:
        other = self.block.index[OTHER]
        return np.array([self.block.index.get(character, other) for character in media], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        return "".join(self.block.tokens[i] for i in ids)

    def state(self) -> dict[str, object]:
        return {"characters": "".join(self.block.tokens)}


def fit(texts: Iterable[str]) -> Characters:
    """The tokenizer of what is in these texts."""
    return Characters(sorted({OTHER, *(character for text in texts for character in text)}))


def restore(state: dict[str, str]) -> Characters:
    """Inverse of its `state()`."""
    return Characters(state["characters"])


helicon.register_tokenizer("text", "characters", helicon.TokenizerSpec(make=fit, from_state=restore))
