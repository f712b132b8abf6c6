"""The benchmark of a GPU runs from end to end at tiny sizes on a CPU, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from helicon.gpt.choices import TABLE

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    from gpu import main  # type: ignore[import-not-found]

    return main


def test_every_row_is_measured(main, capsys):
    main(["--dry"])
    said = capsys.readouterr().out
    for row in ("| strided | 128 |", "| 3 pictures |", "| 3 sounds |", "bandwidth floor |", "measured peak |"):
        assert row in said


def test_every_way_is_measured_against_the_oracle(main, capsys):
    before = TABLE.read_bytes()
    main(["--dry", "--attention"])
    said = capsys.readouterr().out
    assert "WRONG" not in said
    for way in ("merged", "masked", "products"):
        assert said.count(f"{way} ") == 2
    assert TABLE.read_bytes() == before
