"""The benchmark of a GPU runs from end to end at tiny sizes on a CPU, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from helicon.gpt.attention.selection import TABLE

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    import gpu_attention  # type: ignore[import-not-found]
    from gpu import main  # type: ignore[import-not-found]

    for name, value in {"HEADS": 2, "CHECKED": 140, "PREFIX": 10, "ROW": 8}.items():
        monkeypatch.setattr(gpu_attention, name, value)
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
    for way in ("lse_merged", "masked", "matmul"):
        assert said.count(f"{way} ") == 2
    assert TABLE.read_bytes() == before


def test_the_quick_run_checks_every_kernel_and_writes_each_figure(main, tmp_path, capsys):
    main(["--dry", "--quick", "-o", str(tmp_path / "quick.md")])
    written = (tmp_path / "quick.md").read_text(encoding="utf-8")
    assert "WRONG" not in written
    assert "FAILED" not in written
    for row in (
        "| lse_merged | torch.bfloat16 | 11 of 11 |",
        "all right",
        "| 3 sounds |",
        ", int8, batch 1 |",
        "TFLOP/s",
    ):
        assert row in written
    for tokens in (130, 260):
        assert sum(line.startswith(f"| strided:128 | {tokens} ") for line in written.splitlines()) == 1
    assert written in capsys.readouterr().out


def test_a_wrong_kernel_fails_the_quick_run(main, monkeypatch, tmp_path):
    import gpu  # type: ignore[import-not-found]
    import gpu_attention  # type: ignore[import-not-found]

    monkeypatch.setattr(gpu_attention, "is_the_oracle", lambda *args: False)
    monkeypatch.setattr(gpu, "QUICK", {"kernels": gpu_attention.check_ways})
    with pytest.raises(SystemExit, match="failed: kernels"):
        main(["--dry", "--quick", "-o", str(tmp_path / "quick.md")])
    assert " WRONG" in (tmp_path / "quick.md").read_text(encoding="utf-8")


def test_a_quick_run_that_is_late_begins_nothing_more(main, monkeypatch, tmp_path):
    import gpu  # type: ignore[import-not-found]

    monkeypatch.setattr(gpu, "MINUTES", -1)
    main(["--dry", "--quick", "-o", str(tmp_path / "quick.md")])
    assert (tmp_path / "quick.md").read_text(encoding="utf-8").count("no time left") == len(gpu.QUICK)
