"""`helicon prepare --part` and `--on`, as they are typed."""

from __future__ import annotations

import sys

import pytest

from helicon.cli import main


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Words of a command that prepares eight texts, with a cache of its own."""
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    (tmp_path / "texts").mkdir()
    for i in range(8):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"{i} once upon a time " * 30)
    return ["prepare", "--config", "text", "--data.path", str(tmp_path / "texts")]


def test_parts_are_typed_one_by_one(texts, capsys):
    assert main([*texts, "--part", "2/2"]) == 0
    assert capsys.readouterr().err.splitlines()[-1].startswith("part       2/2 is surveyed; 1 of 2 are. Once all are")
    assert main([*texts, "--part=1/2"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "part       1/2 is made; 1 of 2 are, the last joins them"
    assert main([*texts, "--part=2/2"]) == 0
    joined = capsys.readouterr().err.splitlines()
    place = next(i for i, line in enumerate(joined) if "joined from 2 parts" in line)
    assert main(texts) == 0
    whole = capsys.readouterr().err.splitlines()
    assert whole[-len(joined[place + 1 :]) :] == joined[place + 1 :]
    assert whole[-1].startswith("tokens ")


def test_what_parts_cannot_be_made_of_is_one_line(texts, capsys, monkeypatch):
    for words, message in (
        (["--part=17/16"], "--part 17/16: NUMBER/COUNT is accepted, 1/1 to 10000/10000, such as 3/16"),
        (["--on=spark"], "--on spark: ray is accepted"),
        (["--part=1/2", "--data.stream=true"], "--part: --data.stream true has no cache of the whole set"),
    ):
        assert main([*texts, *words]) != 0
        assert capsys.readouterr().err.splitlines()[-1] == f"helicon: {message}"
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*texts, "--on=ray"]) != 0
    assert capsys.readouterr().err.splitlines()[-1].endswith('not installed; pip install "helicon-gpt[ray]"')


@pytest.mark.slow
def test_parts_are_spread_over_a_cluster(texts, capsys):
    pytest.importorskip("ray")
    assert main([*texts, "--on=ray", "--part=3"]) == 0
    spread = capsys.readouterr().err.splitlines()
    assert any(line.startswith("parts      3 on 1 machines") for line in spread)
    assert main(texts) == 0
    assert capsys.readouterr().err.splitlines()[-2:] == spread[-2:]
