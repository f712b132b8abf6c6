"""Parser of attention patterns: `strided:128`, `column`, `(row,column,row,row)*15,row,column,row,conv:11`."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

from helicon.formats.kinds import kind_of
from helicon.gpt.attention.grid_patterns import ConvPattern, RowPattern, UnresolvedPattern
from helicon.gpt.attention.pattern_base import AttentionPattern, PatternSpec
from helicon.gpt.attention.stride_patterns import (
    BlockPattern,
    ColumnPattern,
    DensePattern,
    FixedPattern,
    LocalPattern,
    PreviousPattern,
    StridedPattern,
    SummaryPattern,
)
from helicon.plugins.plugin import Plugin
from helicon.plugins.registry import Registry

# Classes of patterns by the name in their `form`
PATTERNS: Registry[type[Any]] = Registry("attention pattern")
MAX_SPEC_CHARS = 2000  # characters of a list of patterns, which may come from a stranger's bundle
TRIAL_TOKENS = 8  # tokens that a plugin's predicate is tried on
# Next item of a list, up to and with its comma: `(LIST)*TIMES` or a spec without brackets; at most 18 digits, so that a
# stranger's number is cheap to read
_ITEM = re.compile(r"(?:\((?P<list>[^()]*)\)\*(?P<times>[1-9][0-9]{0,17})|(?P<item>[^(),*]*)),")


def register_pattern(pattern: type[AttentionPattern]) -> type[AttentionPattern]:
    """Register an attention pattern under the name in its `form`; a class decorator, which returns the class.

    Args:
        pattern: a frozen dataclass whose `form` has a letter for each of its fields, such as `dilated:L,N`.

    Raises:
        ValueError: another pattern has the name, or the form does not fit the fields.
    """
    name, _, letters = pattern.form.partition(":")
    if not re.fullmatch("[a-z_]+", name) or len(letters.split(",") if letters else []) != len(fields(pattern)):
        raise ValueError(
            f"form {pattern.form!r} is to be a name and a letter for each of {len(fields(pattern))} fields"
        )
    return PATTERNS.register(name, pattern)


for _pattern in (
    DensePattern,
    LocalPattern,
    BlockPattern,
    PreviousPattern,
    ColumnPattern,
    SummaryPattern,
    StridedPattern,
    FixedPattern,
    RowPattern,
    ConvPattern,
):
    PATTERNS.register(_pattern.name(), _pattern)


def parse_pattern(spec: str) -> PatternSpec:
    """Parse the text of one pattern to a `PatternSpec`: `strided:128` to StridedPattern(128); `str` is the inverse.

    `column`, whose width is left to the grid, becomes an UnresolvedPattern. ValueError lists the forms.
    """
    name, colon, numbers = spec.strip().partition(":")
    if name not in PATTERNS:
        near = difflib.get_close_matches(name[:40], PATTERNS.names(), n=1, cutoff=0)
        forms = ", ".join(pattern.form for pattern in PATTERNS.items().values())
        raise ValueError(f"no attention pattern {name[:40]!r}, did you mean {near[0]!r}? There are {forms}")
    pattern = PATTERNS.get(name)
    words = numbers.split(",") if colon else []
    missing = len(fields(pattern)) - len(words)
    if missing not in (0, int("[" in pattern.form)) or not all(map(_is_number, words)):
        raise ValueError(f"cannot read attention pattern {spec[:60]!r}: write {pattern.form} with whole numbers")
    try:
        parsed = UnresolvedPattern(pattern, tuple(map(int, words))) if missing else pattern(*map(int, words))
    except ValueError as error:
        raise ValueError(f"{spec.strip()[:60]!r}: {error}") from None
    if PATTERNS.plugin_of(name):
        _check_predicate(parsed.resolve(1), name)
    return parsed


def _check_predicate(pattern: AttentionPattern, name: str) -> None:
    """Raise PluginError unless a plugin's predicate returns booleans of the right shape."""
    index = torch.arange(TRIAL_TOKENS)
    with PATTERNS.running(name):
        mask = pattern.mask_mod(index[:, None], index)
    size = TRIAL_TOKENS
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (size, size):
        needed = f"torch.bool [{size}, {size}] is needed of {size} x {size} pairs"
        raise PATTERNS.fault(name, f"mask_mod gives {kind_of(mask)}; {needed}")


def parse_patterns(spec: str, layers: int) -> tuple[PatternSpec, ...]:
    """Parse a list of patterns and tile it over the layers.

    Args:
        spec: text of patterns separated by commas, such as `dense,local:128`. A bare number belongs to the item before
            it, and `(a,b)*3` is a, b, a, b, a, b.
        layers: number of layers.

    Returns:
        One `PatternSpec` per layer: the list repeated, or cut if it is longer.

    Raises:
        ValueError: the list or one of its patterns cannot be read.
    """
    items = _items(spec, layers)
    patterns = {item: parse_pattern(item) for item in dict.fromkeys(items)}
    return tuple(islice(cycle([patterns[item] for item in items]), layers))


def plugins_of_patterns(spec: str, layers: int) -> list[Plugin]:
    """List the plugins that define patterns of a list.

    Args:
        spec: text of patterns as for `parse_patterns`.
        layers: number of layers.

    Returns:
        A `Plugin` for each pattern that one registered, in the order of their patterns' names.
    """
    names = {item.partition(":")[0].strip() for item in _items(spec, layers)}
    return [plugin for name in sorted(names) if (plugin := PATTERNS.plugin_of(name))]


def _items(spec: str, layers: int) -> list[str]:
    """Split a list into specs, repeating no list within it more often than `layers`."""
    if not isinstance(spec, str) or len(spec) > MAX_SPEC_CHARS:
        raise ValueError(
            f"attention patterns {repr(spec)[:40]}...: a text of at most {MAX_SPEC_CHARS:,} characters is needed"
        )
    items: list[str] = []
    # Remove spaces beside marks first: a regular expression that also skips them backtracks for very long
    text = re.sub(r"\s+(?=[(),*])|(?<=[(),*])\s+", "", spec) + ","
    position, open_item = 0, False
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None:
            raise ValueError(
                f"cannot read attention patterns {spec[:60]!r}: write a list as a,b and a repeated one as (a,b)*3"
            )
        if match["times"]:
            items += _items(match["list"], layers) * min(int(match["times"]), layers)
        elif open_item and _is_number(match["item"]):
            items[-1] += "," + match["item"].strip()
        else:
            items.append(match["item"].strip())
        position, open_item = match.end(), match["times"] is None
    return items


def _is_number(word: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", word.strip()) is not None
