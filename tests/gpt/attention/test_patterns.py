"""Patterns drawn as a reader would check them against the papers: a row a query, a column a key, X where it is seen.

Those of a grid are drawn in test_grid_patterns.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from attention_cases import Dilated, Gaps

from helicon.gpt.attention import pattern_tiles
from helicon.gpt.attention.grid_patterns import UnresolvedPattern
from helicon.gpt.attention.pattern_base import AttentionPattern
from helicon.gpt.attention.patterns import PATTERNS, parse_pattern, parse_patterns, register_pattern
from helicon.gpt.attention.stride_patterns import (
    ColumnPattern,
    DensePattern,
    LocalPattern,
    StridedPattern,
    SummaryPattern,
)
from helicon.gpt.attention.tiles import AttentionTile

DRAWN = {
    "dense": """
        X.......
        XX......
        XXX.....
        XXXX....
        XXXXX...
        XXXXXX..
        XXXXXXX.
        XXXXXXXX""",
    "local:3": """
        X.......
        XX......
        XXX.....
        .XXX....
        ..XXX...
        ...XXX..
        ....XXX.
        .....XXX""",
    "block:4": """
        X.......
        XX......
        XXX.....
        XXXX....
        ....X...
        ....XX..
        ....XXX.
        ....XXXX""",
    "previous:3": """
        ........
        ........
        ........
        XXX.....
        XXX.....
        XXX.....
        ...XXX..
        ...XXX..""",
    "column:3": """
        X.......
        .X......
        ..X.....
        X..X....
        .X..X...
        ..X..X..
        X..X..X.
        .X..X..X""",
    "summary:4,2": """
        ........
        ........
        ..X.....
        ..XX....
        ..XX....
        ..XX....
        ..XX..X.
        ..XX..XX""",
    "strided:3": """
        X.......
        XX......
        XXX.....
        XXXX....
        .XXXX...
        ..XXXX..
        X..XXXX.
        .X..XXXX""",
    "fixed:4,1": """
        X.......
        XX......
        XXX.....
        XXXX....
        ...XX...
        ...XXX..
        ...XXXX.
        ...XXXXX""",
}

EDGES = ["local:1", "block:1", "previous:1", "column:1", "strided:1", "summary:1,1", "summary:4,4", "fixed:4,4"]
GRID = ["row", "row:1", "row:7", "block", "column", "conv:1", "conv:3", "conv:5", "conv:9", "conv:3,6"]
SPECS = [*DRAWN, *EDGES, *GRID]
LENGTHS = [1, 3, 4, 13, 24]
ROWS = [1, 2, 3, 4, 13]  # tokens of a grid's row: narrower than a kernel, ragged, no whole row


def matrix(pattern: AttentionPattern, length: int) -> torch.Tensor:
    index = torch.arange(length)
    return pattern.mask_mod(index[:, None], index)


def executed(spec: str) -> set[AttentionPattern]:
    """The patterns that a spec is in grids of several widths: most are but one."""
    return {parse_pattern(spec).resolve(row) for row in ROWS}


@pytest.mark.parametrize("spec", DRAWN)
def test_the_predicate_is_the_papers_figure(spec):
    drawn = ["".join("X" if seen else "." for seen in row) for row in matrix(parse_pattern(spec).resolve(None), 8)]
    assert drawn == DRAWN[spec].split()


def test_every_pattern_is_drawn():
    assert {spec.partition(":")[0] for spec in DRAWN} == set(PATTERNS.names()) - {"row", "conv"}


def causal(pattern: AttentionPattern, length: int) -> torch.Tensor:
    return matrix(pattern, length).tril().long()


def listed(index_TK: torch.Tensor, valid_TK: torch.Tensor) -> torch.Tensor:
    """How often each key is in each query's list: [T, T]."""
    length = len(index_TK)
    seen = torch.zeros(length, length, dtype=torch.long)
    for query in range(length):
        seen[query].index_add_(0, index_TK[query, valid_TK[query]], torch.ones(int(valid_TK[query].sum())).long())
    return seen


def covered(found: Iterable[AttentionTile], length: int) -> torch.Tensor:
    """How often each pair is in the tiles: [T, T]."""
    position, seen = torch.arange(length)[None, None, :, None], torch.zeros(length, length, dtype=torch.long)
    for tile in found:
        rows = [view.view(position).flatten(0, 2).flatten(1) for view in (tile.queries, tile.keys)]
        for query_R, key_K in zip(*rows, strict=True):
            pairs = torch.ones(len(query_R), len(key_K), dtype=torch.long)
            pairs = pairs.tril() if tile.causal else pairs if tile.mask_RK is None else pairs * tile.mask_RK
            assert pairs.any(1).all(), "a query row without a key"
            seen[query_R[:, None], key_K] += pairs
    return seen


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("length", LENGTHS)
def test_key_lists_name_each_allowed_key_once(spec, length):
    for pattern in executed(spec):
        assert torch.equal(listed(*pattern.keys(torch.arange(length), length)), matrix(pattern, length).long())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("length", LENGTHS)
def test_tiles_cover_each_allowed_pair_once(spec, length):
    for pattern in executed(spec):
        assert torch.equal(covered(pattern.tiles(length), length), matrix(pattern, length).long())


@pytest.mark.parametrize("length", LENGTHS)
def test_what_follows_from_a_predicate_covers_exactly_its_causal_pairs(monkeypatch, length):
    monkeypatch.setattr(pattern_tiles, "QUERIES", 5)  # so that a slot has several blocks
    for pattern in {Dilated(3, 2), Gaps(), *(pattern for spec in SPECS for pattern in executed(spec))}:
        keys = AttentionPattern.keys(pattern, torch.arange(length), length)
        assert torch.equal(listed(*keys), causal(pattern, length))
        assert torch.equal(covered(AttentionPattern.tiles(pattern, length), length), causal(pattern, length))


def test_a_pattern_is_registered_by_its_form(monkeypatch):
    monkeypatch.setattr(PATTERNS, "_entries", dict(PATTERNS._entries))
    assert register_pattern(Dilated) is Dilated
    assert parse_patterns("dense,dilated:4,8", 3) == (DensePattern(), Dilated(4, 8), DensePattern())
    register_pattern(Dilated)  # again, as a module that is imported twice does
    with pytest.raises(
        ValueError, match=r"test_patterns\.py, line \d+: attention pattern 'dense' is registered already, by helicon"
    ):
        register_pattern(type("Other", (Gaps,), {"form": "dense"}))
    with pytest.raises(ValueError, match="a letter for each of 0 fields"):
        register_pattern(type("Other", (Gaps,), {"form": "gaps_too:L"}))


@pytest.mark.parametrize("spec", SPECS)
def test_a_pattern_prints_as_its_spec(spec):
    assert str(parse_pattern(spec)) == spec


def test_a_list_is_tiled_over_the_layers():
    assert parse_patterns("dense,local:128", 3) == (DensePattern(), LocalPattern(128), DensePattern())


def test_a_bare_number_belongs_to_the_item_before_it():
    assert parse_patterns("summary:128, 8,strided:64", 2) == (SummaryPattern(128, 8), StridedPattern(64))


def test_a_list_in_brackets_is_repeated():
    column = UnresolvedPattern(ColumnPattern)
    assert parse_patterns("(dense,column)*2, local:3", 7) == (
        *[DensePattern(), column] * 2,
        LocalPattern(3),
        DensePattern(),
        column,
    )
    assert parse_patterns("dense, ( summary:8, 2 , dense ) * 2", 5) == (
        DensePattern(),
        *[SummaryPattern(8, 2), DensePattern()] * 2,
    )
    assert parse_patterns("(dense)*1000000000000,column", 3) == (DensePattern(),) * 3


def test_dalles_layers_can_be_written():
    # arXiv:2102.12092, appendix B: layer i of 64 is column when (i - 2) mod 4 = 0, else row; the last is conv
    order = ["column" if (i - 2) % 4 == 0 else "row" for i in range(1, 64)] + ["conv:11"]
    for spec in ",".join(order), "(row,column,row,row)*15,row,column,row,conv:11":
        assert list(map(str, parse_patterns(spec, 64))) == order


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("stride:128", "no attention pattern 'stride', did you mean 'strided'? There are dense, local:L, block[:L]"),
        ("stride:128", "strided:L, fixed:L,C, row[:W], conv:K[,W]"),
        ("", "no attention pattern '', did you mean"),
        ("local", "cannot read attention pattern 'local': write local:L with whole numbers"),
        ("local:x", "write local:L"),
        ("local:8,8", "write local:L"),
        ("dense:8", "write dense"),
        ("fixed:128", "write fixed:L,C"),
        ("column:", "cannot read attention pattern 'column:': write column[:L] with whole numbers"),
        ("column:8,8", "write column[:L]"),
        ("conv", "cannot read attention pattern 'conv': write conv:K[,W] with whole numbers"),
        ("conv:3,8,8", "write conv:K[,W]"),
        ("local:0", "'local:0': the numbers of local:L must be at least 1"),
        ("row:0", "'row:0': the numbers of row[:W] must be at least 1"),
        ("conv:0", "'conv:0': the numbers of conv:K[,W] must be at least 1"),
        ("conv:4", "'conv:4': the kernel K of conv:K[,W] must be odd"),
        ("conv:4,32", "'conv:4,32': the kernel K of conv:K[,W] must be odd"),
        ("summary:8,9", "'summary:8,9': the summary C of summary:L,C must fit in its block L"),
        ("fixed:8,9", "must fit in its block L"),
    ],
)
def test_a_wrong_spec_is_explained_in_one_line(spec, message):
    for read in parse_pattern, lambda spec: parse_patterns(spec, 4):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  (the message is checked whole below)
            read(spec)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec", ["(dense", "dense)", "(dense)", "(dense)*", "(dense)*0", "(dense)*x", "(dense)*2dense", "((row)*2,dense)*2"]
)
def test_wrong_brackets_are_explained(spec):
    with pytest.raises(ValueError, match=r"write a list as a,b and a repeated one as \(a,b\)\*3"):
        parse_patterns(spec, 4)


@pytest.mark.parametrize(("spec", "name"), [("()*2", ""), ("(dense,)*2", ""), ("dense,", ""), ("(conv:3)*2,5", "5")])
def test_an_item_that_is_none_is_named(spec, name):
    with pytest.raises(ValueError, match=f"no attention pattern '{name}'"):
        parse_patterns(spec, 4)


@pytest.mark.parametrize("form", ["summary:16777216,16777216", "fixed:16777216,16777216", "summary:16777216,3"])
def test_blocks_far_longer_than_a_sequence_take_no_more_keys(form):
    index, valid = parse_pattern(form).keys(torch.tensor([0, 5, 63]), 64)
    assert index.shape[1] <= 128
    assert not (valid & (index >= 64)).any()
