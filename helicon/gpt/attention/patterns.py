"""Attention patterns as they are written: `strided:128`, `column`, `(row,column,row,row)*15,row,column,row,conv:11`."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor

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

PATTERNS: Registry[type[Any]] = Registry("attention pattern")
LONGEST, FEW = 2000, 8  # characters of a list of patterns; tokens that a predicate is tried on
_PIECE = re.compile(r"(?:\((?P<list>[^()]*)\)\*(?P<times>[1-9][0-9]{0,17})|(?P<item>[^(),*]*)),")


def register_pattern(pattern: type[AttentionPattern]) -> type[AttentionPattern]:
    """Adds a pattern of one's own under the name of its `form`; a class decorator.

    Args:
        pattern: a frozen dataclass whose `form` has a letter for each of its fields, such as `dilated:L,N`.

    Raises:
        ValueError: the name is another's, or the form does not fit the fields.
    """
    name, _, letters = pattern.form.partition(":")
    if not re.fullmatch("[a-z_]+", name) or len(letters.split(",") if letters else []) != len(fields(pattern)):
        raise ValueError(
            f"form {pattern.form!r} is to be a name and a letter for each of {len(fields(pattern))} fields"
        )
    return PATTERNS.register(name, pattern)


for _own in (
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
    PATTERNS.register(_own.name(), _own)


def parse_pattern(spec: str) -> PatternSpec:
    """`strided:128` -> Strided(128), `column` -> UnresolvedPattern(Column); `str` is the inverse.

    ValueError lists the forms.
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
        found = UnresolvedPattern(pattern, tuple(map(int, words))) if missing else pattern(*map(int, words))
    except ValueError as error:
        raise ValueError(f"{spec.strip()[:60]!r}: {error}") from None
    if PATTERNS.plugin_of(name):
        _check_predicate(found.resolve(1), name)
    return found


def _check_predicate(pattern: AttentionPattern, name: str) -> None:
    """PluginError unless the predicate of a pattern of somebody's own says yes or no of each pair."""
    index = torch.arange(FEW)
    with PATTERNS.running(name):
        found = pattern.mask_mod(index[:, None], index)
    if not isinstance(found, Tensor) or found.dtype != torch.bool or found.shape != (FEW, FEW):
        given = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        needed = f"torch.bool [{FEW}, {FEW}] is needed of {FEW} x {FEW} pairs"
        raise PATTERNS.fault(name, f"mask_mod gives {given}; {needed}")


def parse_patterns(spec: str, layers: int) -> tuple[PatternSpec, ...]:
    """`dense,local:128` -> one pattern a layer, the list repeated, or cut when it is longer.

    A bare number belongs to the item before it; `(a,b)*3` is a, b, a, b, a, b.
    """
    items = _items(spec, layers)
    patterns = {item: parse_pattern(item) for item in dict.fromkeys(items)}
    return tuple(islice(cycle([patterns[item] for item in items]), layers))


def plugins_of_patterns(spec: str, layers: int) -> list[Plugin]:
    """Plugins that the patterns of a list come from."""
    names = {item.partition(":")[0].strip() for item in _items(spec, layers)}
    return [plugin for name in sorted(names) if (plugin := PATTERNS.plugin_of(name))]


def _items(spec: str, layers: int) -> list[str]:
    """The specs of a list, no list within it repeated more often than `layers`."""
    if not isinstance(spec, str) or len(spec) > LONGEST:
        raise ValueError(f"attention patterns {repr(spec)[:40]}...: a text of at most {LONGEST:,} characters is needed")
    items: list[str] = []
    # Spaces beside a mark mean nothing. They go first, since an expression that also skips them backtracks for long
    text = re.sub(r"\s+(?=[(),*])|(?<=[(),*])\s+", "", spec) + ","
    position, open_item = 0, False
    while position < len(text):
        piece = _PIECE.match(text, position)
        if piece is None:
            raise ValueError(
                f"cannot read attention patterns {spec[:60]!r}: write a list as a,b and a repeated one as (a,b)*3"
            )
        if piece["times"]:
            items += _items(piece["list"], layers) * min(int(piece["times"]), layers)
        elif open_item and _is_number(piece["item"]):
            items[-1] += "," + piece["item"].strip()
        else:
            items.append(piece["item"].strip())
        position, open_item = piece.end(), piece["times"] is None
    return items


def _is_number(word: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", word.strip()) is not None
