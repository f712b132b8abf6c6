"""Checked calls of a tokenizer, which may be a plugin's.

Exceptions, and outputs of a wrong type or range, become a PluginError that names the file and line of the registration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from helicon.modalities.registry import media_class, registration, spec
from helicon.modalities.trial import ids_fault, media_fault, tokenizer_fault
from helicon.plugins.errors import in_one_line, speaks_for_itself
from helicon.plugins.registry import Registry
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import decode_all, encode_all


def fit_tokenizer(slot: str, name: str, surveys: Sequence[Any], options: Mapping[str, Any]) -> Tokenizer:
    """Make a tokenizer, and try it if it is a plugin's.

    Args:
        slot: name of the slot that it tokenizes.
        name: of the tokenizer.
        surveys: results of `Modality.survey` for the training media; unused if it needs no fitting.
        options: by name; those of other tokenizers are ignored.

    Returns:
        The fitted tokenizer.

    Raises:
        PluginError: a plugin's tokenizer fails, or has a fault.
    """
    (registry, key), tokenizer_spec = registration(slot, name), spec(slot, name)
    with registry.running(key):
        tokenizer = tokenizer_spec.fit(surveys, **options)
    if registry.is_own(key):
        return tokenizer
    with _running(registry, key):
        fault = tokenizer_fault(tokenizer, tokenizer_spec.from_state, media_class(slot))
    if fault:
        raise registry.fault(key, fault)
    return tokenizer


def extend_tokenizer(slot: str, name: str, tokenizer: Tokenizer, surveys: Sequence[Any]) -> Tokenizer:
    """Add the tokens that more media need, if the vocabulary can grow.

    Args:
        slot: name of the slot that it tokenizes.
        name: of the tokenizer.
        tokenizer: `Tokenizer` to be extended.
        surveys: results of `Modality.survey` for the new training media.

    Returns:
        The extended tokenizer, whose old ids keep their meaning; the same one if its vocabulary is fixed.

    Raises:
        PluginError: a plugin's `extend_vocabulary` fails, or returns no tokenizer.
    """
    (registry, key), extend_vocabulary = registration(slot, name), spec(slot, name).extend_vocabulary
    if extend_vocabulary is None:
        return tokenizer
    with registry.running(key):
        extended = extend_vocabulary(tokenizer, surveys)
    if not isinstance(extended, Tokenizer):
        raise registry.fault(key, f"extend_vocabulary gives {type(extended).__name__}; a helicon.Tokenizer is needed")
    return extended


def encode_media(
    slot: str, name: str, tokenizer: Tokenizer, media: Sequence[Any]
) -> list[tuple[np.ndarray, dict[str, int]]]:  # fmt: skip
    """Encode media.

    Args:
        slot: name of the slot that the tokenizer is for.
        name: of the tokenizer; an unregistered one counts as Helicon's own, and is not checked.
        tokenizer: `Tokenizer` that encodes.
        media: of its slot.

    Returns:
        For each medium, local ids NumPy int64 [T], T tokens, and counts of what was lost, by what it was.

    Raises:
        PluginError: a plugin's tokenizer fails, or returns other than ids of its block.
    """
    registry, key = registration(slot, name)
    with _running(registry, key):
        encodings = encode_all(tokenizer, media)
    if registry.is_own(key):
        return encodings
    if len(encodings) != len(media):
        raise registry.fault(key, f"encode_many gives a list of {len(encodings)} arrays; {len(media)} are needed")
    for ids, _ in encodings:
        if fault := ids_fault(ids, len(tokenizer.block)):
            raise registry.fault(key, f"encode gives {fault}")
    return encodings


def decode_ids(slot: str, name: str, tokenizer: Tokenizer, ids: Sequence[np.ndarray]) -> list[Any]:
    """Decode id sequences.

    Args:
        slot: name of the slot that the tokenizer is for.
        name: of the tokenizer; an unregistered one counts as Helicon's own, and is not checked.
        tokenizer: `Tokenizer` that decodes.
        ids: local ids, NumPy int64 [T] each, T tokens.

    Returns:
        A medium of the slot for each.

    Raises:
        PluginError: a plugin's tokenizer fails, or returns other than media of the slot.
    """
    registry, key = registration(slot, name)
    with _running(registry, key):
        media = list(decode_all(tokenizer, ids))
    if registry.is_own(key):
        return media
    if len(media) != len(ids):
        raise registry.fault(key, f"decode_many gives a list of {len(media)} media; {len(ids)} are needed")
    for medium in media:
        if fault := media_fault(medium, media_class(slot)):
            raise registry.fault(key, fault)
    return media


def check_any_ids(slot: str, name: str) -> None:
    """Refuse a plugin's tokenizer that has encoded all media to no ids.

    Args:
        slot: name of the slot that it tokenizes.
        name: of the tokenizer.

    Raises:
        PluginError: it is a plugin's.
    """
    registry, key = registration(slot, name)
    if not registry.is_own(key):
        raise registry.fault(key, "encode gives no ids for any piece; one or more are needed")


@contextmanager
def _running(registry: Registry[Any], key: str) -> Iterator[None]:
    """Locate errors as `Registry.running` does, and those of a method of another signature or with unusable output."""
    try:
        with registry.running(key):
            yield
    except (TypeError, AttributeError, ValueError) as error:
        if registry.is_own(key) or speaks_for_itself(error):
            raise
        raise registry.fault(key, in_one_line(error)) from error
