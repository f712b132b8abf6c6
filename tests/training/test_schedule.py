"""How the learning rate rises and falls over a run."""

from __future__ import annotations

import pytest

from helicon.training.run import read_arguments


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", {50: 0.5, 100: 1.0, 550: 0.6, 1000: 0.2}),
        ("linear", {50: 0.5, 100: 1.0, 500: 1.0, 550: 0.92, 750: 0.6, 1000: 0.2}),
    ],
)
def test_the_rate_at_steps_of_a_thousand(schedule, expected):
    options = ["--trainer.max_steps=1000", "--model.warmup=0.1", "--model.final_lr=0.2", f"--model.schedule={schedule}"]
    fit = read_arguments("fit", ["--config=text", "--data.path=nowhere", *options])
    fit.model.trainer = fit.trainer
    assert {step: fit.model._rate(step) for step in expected} == pytest.approx(expected, abs=0.01)
