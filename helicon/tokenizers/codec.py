"""Tokenizers whose ids are the codes of a network, and how to encode and decode several media with any tokenizer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import CountsLosses
from helicon.tokenizers.base import Media, Tokenizer


class CodecTokenizer(Tokenizer[Media]):
    """Codes of a codec as tokens. Several media go through it at once, on the device of its weights.

    Args:
        codec: the network.
        codebook_size: codes there are.
        config: JSON-able, with the fingerprint of the weights.
        weights: of the codec, to be kept with what uses its codes.
        block: name of the block.
    """

    def __init__(
        self, codec: Any, codebook_size: int, config: Mapping[str, Any], weights: Mapping[str, Tensor], block: str
    ) -> None:
        self.codec, self._config, self._weights = codec, dict(config), dict(weights)
        digits = len(str(codebook_size - 1))
        self.block = TokenBlock(block, tuple(f"v{i:0{digits}}" for i in range(codebook_size)))

    @abstractmethod
    def at_level(self, level: int, block: str) -> Self:
        """The tokenizer of a level of the same codec, 0 the finest, -1 the top, for another slot.

        Raises:
            ValueError: there is no such level.
        """

    @abstractmethod
    def encode_many(self, media: Sequence[Media]) -> list[np.ndarray]:
        """`encode` of each."""

    @abstractmethod
    def decode_many(self, ids: Sequence[np.ndarray]) -> list[Media]:
        """`decode` of each."""

    def encode(self, media: Media) -> np.ndarray:
        """int64 [T]: codes; ValueError for media that the codec does not take."""
        return self.encode_many([media])[0]

    def decode(self, ids: np.ndarray) -> Media:
        """Media of any number of codes; ValueError for ids outside the block."""
        return self.decode_many([ids])[0]

    @property
    def device(self) -> torch.device:
        """Where the codec is."""
        weights = self.codec.parameters() if isinstance(self.codec, nn.Module) else iter(())
        return next((weight.device for weight in weights), torch.device("cpu"))

    def to(self, device: torch.device | str) -> Self:
        """The same with a copy of the codec on that device."""
        found = copy(self)
        found.codec = deepcopy(self.codec).to(device)
        return found

    def describe(self) -> dict[str, Any]:
        """For people: which codec, and what it is made of."""
        return {"codec": self._config["fingerprint"], **self._config["config"]}

    def state(self) -> dict[str, Any]:
        """JSON-able; the weights apart."""
        return {"block": self.block.name, "codec": self._config}

    def weights(self) -> dict[str, Tensor]:
        """The codec's."""
        return self._weights


def tokenizer_weights(tokenizer: Tokenizer) -> dict[str, Tensor]:
    """Tensors that a tokenizer needs beside its `state()`: none of most."""
    return tokenizer.weights() if isinstance(tokenizer, CodecTokenizer) else {}


def encode_all(tokenizer: Tokenizer, media: Sequence[Any]) -> list[tuple[np.ndarray, dict[str, int]]]:
    """Local ids of each of some media, and counts of what was lost."""
    if isinstance(tokenizer, CodecTokenizer):
        return [(ids, {}) for ids in tokenizer.encode_many(media)]
    if isinstance(tokenizer, CountsLosses):
        return [(ids, report.counts) for ids, report in map(tokenizer.encode_with_report, media)]
    return [(tokenizer.encode(each), {}) for each in media]


def decode_all(tokenizer: Tokenizer, ids: Sequence[np.ndarray]) -> list[Any]:
    """Media of each of some id sequences."""
    if isinstance(tokenizer, CodecTokenizer):
        return tokenizer.decode_many(ids)
    return [tokenizer.decode(each) for each in ids]
