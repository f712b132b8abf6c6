"""metrics.csv: one row a step, one column a metric, whatever comes when."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from helicon.training.errors import TrainingError
from helicon.training.runs.metrics import MAX_READ_BYTES, MAX_REWRITTEN_BYTES, MetricsLogger, read_metrics


def logged(run: Path, *told: tuple[int, dict[str, float]]) -> str:
    """metrics.csv after a logger, made anew, was told of some steps."""
    logger = MetricsLogger(run)
    for step, values in told:
        logger.log_metrics(values, step)
    return (run / "metrics.csv").read_text()


def test_a_validation_joins_the_row_of_its_step(tmp_path):
    text = logged(
        tmp_path, (0, {"train/a": 2.0, "epoch": 0}), (1, {"train/a": 1.5}), (1, {"val/a": 1.25}), (2, {"train/a": 1})
    )
    assert text == "step,train/a,val/a\n0,2.0,\n1,1.5,1.25\n2,1.0,\n"
    assert read_metrics(tmp_path) == {"train/a": ([0, 1, 2], [2.0, 1.5, 1.0]), "val/a": ([1], [1.25])}


def test_what_is_told_twice_is_written_once_and_what_is_shorter_leaves_nothing_behind(tmp_path):
    text = logged(tmp_path, (3, {"a": 1.123456789}), (3, {"a": 1.123456789}), (3, {"a": 2.0}))
    assert text == "step,a\n3,2.0\n"


def test_a_metric_that_comes_up_late_is_a_column(tmp_path):
    text = logged(tmp_path, (0, {"a": 1}), (1, {'lr-Adam, "x"': 2.0}), (2, {"a": math.nan, "b\n": -math.inf}))
    assert text == 'step,a,"lr-Adam, ""x""",b\\n\n0,1.0,,\n1,,2.0,\n2,nan,,-inf\n'
    found = read_metrics(tmp_path)
    assert found['lr-Adam, "x"'] == ([1], [2.0])
    assert found["b\\n"] == ([2], [-math.inf])
    assert math.isnan(found["a"][1][1])


@pytest.mark.parametrize("torn", ["", "5,1.", "5,1.0,2", "5"])
def test_a_killed_run_is_gone_on_with_from_its_checkpoint(tmp_path, torn):
    """Rows of steps that are made once more are cut off, with a line that was never finished."""
    told = [(step, {"a": float(step), "b": 0.5}) for step in range(5)]
    whole = logged(tmp_path, *told)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write(torn)
    assert read_metrics(tmp_path)["a"][0] == list(range(5))
    assert logged(tmp_path, *told[3:]) == whole


def test_of_a_long_file_the_end_is_read(tmp_path):
    rows = "".join(f"{step},1.0\n" for step in range(MAX_READ_BYTES // 8))
    (tmp_path / "metrics.csv").write_text(f"step,a\n{rows}")
    steps = read_metrics(tmp_path)["a"][0]
    assert steps[-1] == MAX_READ_BYTES // 8 - 1
    assert 0 < steps[0] < steps[-1]
    size = (tmp_path / "metrics.csv").stat().st_size
    logged(tmp_path, (steps[-1] + 1, {"a": 3.0}))
    assert (tmp_path / "metrics.csv").stat().st_size == size + len(f"{steps[-1] + 1},3.0\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [("step,metric,value\n0,train/a,1.0\n", "of an older format"), ("a,b\n", "damaged"), ("step,a", "damaged"),
     ("step,a,a\n", "damaged"), ("step," + "m," * 2000 + "\n", "damaged"), ("\0" * 99, "damaged")],
)  # fmt: skip
def test_what_are_no_metrics_is_refused(tmp_path, content, said):
    (tmp_path / "metrics.csv").write_text(content)
    for use in (lambda: read_metrics(tmp_path), lambda: logged(tmp_path, (7, {"a": 1.0}))):
        with pytest.raises(TrainingError, match=rf"metrics\.csv: {said}"):
            use()
    assert (tmp_path / "metrics.csv").read_text() == content


def test_a_file_that_is_too_long_gets_no_further_column(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"step,a\n")
    with path.open("r+b") as file:
        file.truncate(MAX_REWRITTEN_BYTES + 1)
    with pytest.raises(TrainingError, match=r"too much for another one \(b\)"):
        logged(tmp_path, (0, {"b": 1.0}))
