"""Base class of tokenizers whose ids are the codes of a network, and batched encoding with any tokenizer."""

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
    """Tokenizer of a codec's codes. Media are processed in batches, on the device of the codec's weights.

    Args:
        codec: the network.
        codebook_size: number of codes.
        config: JSON-able config of the codec, with the fingerprint of its weights.
        weights: of the codec, stored with every model that uses its codes.
        block: name of the token block.
    """

    def __init__(
        self, codec: Any, codebook_size: int, config: Mapping[str, Any], weights: Mapping[str, Tensor], block: str
    ) -> None:
        self.codec, self._config, self._weights = codec, dict(config), dict(weights)
        digits = len(str(codebook_size - 1))
        self.block = TokenBlock(block, tuple(f"v{i:0{digits}}" for i in range(codebook_size)))

    @abstractmethod
    def at_level(self, level: int, block: str) -> Self:
        """Return the tokenizer of a level of the same codec, for another slot.

        Args:
            level: 0 is the finest, -1 the top.
            block: name of the token block, which is the slot's.

        Returns:
            A tokenizer that shares the codec.

        Raises:
            ValueError: there is no such level.
        """

    @abstractmethod
    def encode_many(self, media: Sequence[Media]) -> list[np.ndarray]:
        """Encode a sequence of media to codes, an int64 array [T] for each, as `encode` would."""

    @abstractmethod
    def decode_many(self, ids: Sequence[np.ndarray]) -> list[Media]:
        """Decode a sequence of int64 arrays [T] of codes to a medium for each, as `decode` would."""

    def encode(self, media: Media) -> np.ndarray:
        """Encode a picture or a `Sound` to codes NumPy int64 [T].

        ValueError for media that the codec does not accept.
        """
        return self.encode_many([media])[0]

    def decode(self, ids: np.ndarray) -> Media:
        """Decode any number of codes, NumPy int64 [T], to a picture or a `Sound`.

        ValueError for ids outside the block.
        """
        return self.decode_many([ids])[0]

    @property
    def device(self) -> torch.device:
        """Device of the codec's weights."""
        weights = self.codec.parameters() if isinstance(self.codec, nn.Module) else iter(())
        return next((weight.device for weight in weights), torch.device("cpu"))

    def to(self, device: torch.device | str) -> Self:
        """Return a tokenizer with a copy of the codec on a PyTorch device; this one stays as it is."""
        moved = copy(self)
        moved.codec = deepcopy(self.codec).to(device)
        return moved

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `codec`, the codec's fingerprint, and its config by option."""
        return {"codec": self._config["fingerprint"], **self._config["config"]}

    def state(self) -> dict[str, Any]:
        """Return the state without weights, a JSON-able dict: `block`, its name; `codec`, config and fingerprint."""
        return {"block": self.block.name, "codec": self._config}

    def weights(self) -> dict[str, Tensor]:
        """Return the codec's weight tensors by name."""
        return self._weights


def tokenizer_weights(tokenizer: Tokenizer) -> dict[str, Tensor]:
    """Return the tensors by name that a `Tokenizer` needs beside its `state()`; empty unless it has a codec."""
    return tokenizer.weights() if isinstance(tokenizer, CodecTokenizer) else {}


def encode_all(tokenizer: Tokenizer, media: Sequence[Any]) -> list[tuple[np.ndarray, dict[str, int]]]:
    """Encode several media, batched where the tokenizer has a codec.

    Args:
        tokenizer: `Tokenizer` of the media.
        media: any number of them, of the tokenizer's kind.

    Returns:
        For each its local ids NumPy int64 [T], and counts of losses by what was lost.
    """
    if isinstance(tokenizer, CodecTokenizer):
        return [(ids, {}) for ids in tokenizer.encode_many(media)]
    if isinstance(tokenizer, CountsLosses):
        return [(ids, report.counts) for ids, report in map(tokenizer.encode_with_report, media)]
    return [(tokenizer.encode(item), {}) for item in media]


def decode_all(tokenizer: Tokenizer, ids: Sequence[np.ndarray]) -> list[Any]:
    """Decode several id sequences, batched where the tokenizer has a codec.

    Args:
        tokenizer: `Tokenizer` of the ids.
        ids: local ids, NumPy int64 [T] each.

    Returns:
        A medium of the tokenizer's kind for each.
    """
    if isinstance(tokenizer, CodecTokenizer):
        return tokenizer.decode_many(ids)
    return [tokenizer.decode(local) for local in ids]
