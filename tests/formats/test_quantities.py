"""Quantities in messages."""

from __future__ import annotations

import pytest

from helicon.formats.quantities import duration, quantity


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 tokens"), (1, "1 token"), (2, "2 tokens"), (2000, "2,000 tokens")]
)
def test_a_number_and_its_noun_agree(number: int, expected: str) -> None:
    assert quantity(number, "token") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"), (0.254, "0.25 s"), (2.04, "2 s"), (9.4, "9.4 s"), (9.5, "10 s"), (42.3, "42 s"), (59.6, "1 min"),
        (400, "6 min 40 s"), (3599.6, "1 h"), (7500, "2 h 5 min"), (3601, "1 h"), (600, "10 min"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
