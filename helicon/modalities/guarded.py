"""Calls of tokenizers, whose mistakes are told in one line where they are somebody's own.

What such a one raises, and ids or media that are none, become a PluginError with the file and the line of a plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from helicon.modalities.registry import registered, spec
from helicon.modalities.trial import tried, wrong_ids
from helicon.plugins.errors import in_one_line
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import decode_all, encode_all


def fitted(slot: str, name: str, surveys: Sequence[Any], options: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of that name, fitted to what was surveyed.

    Args:
        slot: that the tokenizer is of.
        name: of the tokenizer.
        surveys: of its medium.
        options: by name; those that are of others are passed over.

    Raises:
        PluginError: for a tokenizer of a plugin that fails, or that something is wrong with.
    """
    (registry, thing), made_by = registered(slot, name), spec(slot, name)
    with registry.running(thing):
        tokenizer = made_by.fit(surveys, **options)
    if registry.is_own(thing):
        return tokenizer
    try:
        with registry.running(thing):
            wrong = tried(tokenizer, made_by.from_state)
    except (TypeError, AttributeError) as error:  # a method of another signature, or none
        raise registry.fault(thing, in_one_line(error)) from error
    if wrong:
        raise registry.fault(thing, wrong)
    return tokenizer


def extended(slot: str, name: str, tokenizer: Tokenizer, surveys: Sequence[Any]) -> Tokenizer:
    """With tokens added that the surveys ask for, where the tokenizer can have more; errors as those of `fitted`."""
    (registry, thing), extend = registered(slot, name), spec(slot, name).extend_vocabulary
    if extend is None:
        return tokenizer
    with registry.running(thing):
        found = extend(tokenizer, surveys)
    if not isinstance(found, Tokenizer):
        raise registry.fault(thing, f"extend_vocabulary gives {type(found).__name__}; a helicon.Tokenizer is needed")
    return found


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
    registry, thing = registered(slot, name)
    with registry.running(thing):
        found = encode_all(tokenizer, media)
    if registry.is_own(thing):
        return found
    for ids, _ in found:
        if wrong := wrong_ids(ids, len(tokenizer.block)):
            raise registry.fault(thing, f"encode gives {wrong}")
    return found


def decoded(slot: str, name: str, tokenizer: Tokenizer, ids: Sequence[np.ndarray]) -> list[Any]:
    """Media of each of some id sequences; arguments and errors as those of `encoded`."""
    registry, thing = registered(slot, name)
    with registry.running(thing):
        found = decode_all(tokenizer, ids)
    if not registry.is_own(thing) and any(each is None for each in found):
        raise registry.fault(thing, "decode gives None; media are needed")
    return found
