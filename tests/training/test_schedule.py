"""How the learning rate rises and falls over a run."""

from __future__ import annotations

import pytest
from pytorch_lightning.callbacks import Timer

from helicon.training.run import HeliconCLI


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", {50: 0.5, 100: 1.0, 550: 0.6, 1000: 0.2}),
        ("linear", {50: 0.5, 100: 1.0, 500: 1.0, 550: 0.92, 750: 0.6, 1000: 0.2}),
    ],
)
def test_the_rate_at_steps_of_a_thousand(schedule, expected):
    options = ["--trainer.max_steps=1000", "--model.warmup=0.1", "--model.final_lr=0.2", f"--model.schedule={schedule}"]
    fit = HeliconCLI("fit", ["--config=text", "--data.path=nowhere", *options])
    fit.model.trainer = fit.trainer
    assert {step: fit.model._rate(step) for step in expected} == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("cosine", {0.05: 0.5, 0.1: 1.0, 0.55: 0.6, 1.0: 0.2}), ("linear", {0.05: 0.5, 0.5: 1.0, 0.75: 0.6, 1.0: 0.2})],
)
def test_the_rate_follows_the_clock_where_minutes_are_the_limit(monkeypatch, schedule, expected):
    """Also where steps are limited, but further away."""
    options = [
        "--trainer.max_time=00:00:10:00",
        "--model.warmup=0.1",
        "--model.final_lr=0.2",
        f"--model.schedule={schedule}",
    ]
    fit = HeliconCLI("fit", ["--config=text", "--data.path=nowhere", "--trainer.max_steps=1000000", *options])
    fit.model.trainer = fit.trainer
    fit.model.setup("fit")
    rates = []
    for step, share in enumerate(expected):
        monkeypatch.setattr(Timer, "time_elapsed", lambda self, stage="train", share=share: 600 * share)
        rates.append(fit.model._rate(step))
    assert rates == pytest.approx(list(expected.values()), abs=0.01)
    # Once a step, however often it is asked for
    assert [fit.model._rate(step) for step in range(len(rates))] == rates
