"""Patterns drawn as a reader would check them against the papers: a row a query, a column a key, X where it is seen."""

from __future__ import annotations

import pytest
import torch

from helicon.gpt.patterns import PATTERNS, Dense, Local, Strided, Summary, parse_pattern, parse_patterns

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
SPECS = [*DRAWN, *EDGES]


def matrix(spec: str, length: int) -> torch.Tensor:
    index = torch.arange(length)
    return parse_pattern(spec).allows(index[:, None], index)


@pytest.mark.parametrize("spec", DRAWN)
def test_the_predicate_is_the_papers_figure(spec):
    drawn = ["".join("X" if seen else "." for seen in row) for row in matrix(spec, 8)]
    assert drawn == DRAWN[spec].split()


def test_every_pattern_is_drawn():
    assert {spec.partition(":")[0] for spec in DRAWN} == set(PATTERNS)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("length", [1, 3, 4, 13, 24])
def test_key_lists_name_each_allowed_key_once(spec, length):
    index_TK, valid_TK = parse_pattern(spec).keys(torch.arange(length), length)
    seen = torch.zeros(length, length, dtype=torch.long)
    for query in range(length):
        seen[query].index_add_(0, index_TK[query, valid_TK[query]], torch.ones(int(valid_TK[query].sum())).long())
    assert torch.equal(seen, matrix(spec, length).long())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("length", [1, 3, 4, 13, 24])
def test_folds_cover_each_allowed_pair_once(spec, length):
    position = torch.arange(length)[None, None, :, None]
    seen = torch.zeros(length, length, dtype=torch.long)
    for fold in parse_pattern(spec).folds(length):
        rows = [tile.view(position).flatten(0, 2).flatten(1) for tile in (fold.queries, fold.keys)]
        for query_R, key_K in zip(*rows, strict=True):
            pairs = torch.ones(len(query_R), len(key_K), dtype=torch.long)
            pairs = pairs.tril() if fold.causal else pairs if fold.mask_RK is None else pairs * fold.mask_RK
            assert pairs.any(1).all(), "a query row without a key"
            seen[query_R[:, None], key_K] += pairs
    assert torch.equal(seen, matrix(spec, length).long())


@pytest.mark.parametrize("spec", SPECS)
def test_a_pattern_prints_as_its_spec(spec):
    assert str(parse_pattern(spec)) == spec


def test_a_list_is_tiled_over_the_layers():
    assert parse_patterns("dense,local:128", 3) == (Dense(), Local(128), Dense())


def test_a_bare_number_belongs_to_the_item_before_it():
    assert parse_patterns("summary:128, 8,strided:64", 2) == (Summary(128, 8), Strided(64))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("stride:128", "no attention pattern 'stride', did you mean 'strided'? There are dense, local:L, block:L"),
        ("", "no attention pattern '', did you mean"),
        ("local", "cannot read attention pattern 'local': write local:L with whole numbers"),
        ("local:x", "write local:L"),
        ("local:8,8", "write local:L"),
        ("dense:8", "write dense"),
        ("fixed:128", "write fixed:L,C"),
        ("local:0", "local:0: the numbers of local:L must be at least 1"),
        ("summary:8,9", "summary:8,9: the summary C of summary:L,C must fit in its block L"),
        ("fixed:8,9", "must fit in its block L"),
    ],
)
def test_a_wrong_spec_is_explained_in_one_line(spec, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the message is checked whole below)
        parse_pattern(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
