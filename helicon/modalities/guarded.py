"""Calls of tokenizers, whose mistakes are told in one line where they are somebody's own.

What such a one raises, and ids or media that are none, become a PluginError with the file and the line of a plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from helicon.modalities.registry import MODALITIES, TOKENIZERS
from helicon.plugins.registry import Registry
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import decode_all, encode_all


def encoded(
    slot: str, name: str, tokenizer: Tokenizer, media: Sequence[Any]
) -> list[tuple[np.ndarray, dict[str, int]]]:  # fmt: skip
    """Local ids of each of some media, and counts of what was lost.

    Args:
        slot: that the tokenizer is of.
        name: of the tokenizer, as the registry knows it; another one is taken for Helicon's own.
        tokenizer: itself.
        media: of its medium.

    Raises:
        PluginError: for a tokenizer of a plugin that fails, or gives other than numbers of its block.
    """
    registry, thing = _registered(slot, name)
    with registry.running(thing):
        found = encode_all(tokenizer, media)
    if registry.is_own(thing):
        return found
    for ids, _ in found:
        if wrong := _what_is_wrong(ids, len(tokenizer.block)):
            needed = f"int64 [T] from 0 to {len(tokenizer.block) - 1} is needed"
            raise registry.fault(thing, f"encode gives {wrong}; {needed}")
    return found


def decoded(slot: str, name: str, tokenizer: Tokenizer, ids: Sequence[np.ndarray]) -> list[Any]:
    """Media of each of some id sequences; arguments and errors as those of `encoded`."""
    registry, thing = _registered(slot, name)
    with registry.running(thing):
        found = decode_all(tokenizer, ids)
    if not registry.is_own(thing) and any(each is None for each in found):
        raise registry.fault(thing, "decode gives None; media are needed")
    return found


def making(slot: str, name: str) -> AbstractContextManager[None]:
    """While a tokenizer is made."""
    registry, thing = _registered(slot, name)
    return registry.running(thing)


def _registered(slot: str, name: str) -> tuple[Registry[Any], str]:
    """Where a tokenizer is registered, and under which name: by itself, or with its medium."""
    if (thing := f"{slot}/{name}") in TOKENIZERS:
        return TOKENIZERS, thing
    for medium, modality in MODALITIES.items().items():
        if name in modality.slots.get(slot, ()):
            return MODALITIES, medium
    return MODALITIES, ""


def _what_is_wrong(ids: Any, size: int) -> str:
    """Of local ids, in words; empty where nothing is."""
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
        return f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, np.ndarray) else type(ids).__name__
    outside = len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size
    return f"ids from {ids.min()} to {ids.max()}" if outside else ""
