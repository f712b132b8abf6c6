"""What `helicon train` decides before it starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_bundles import text_bundle

from helicon.bundle.storage import save_bundle
from helicon.training.plan import Plan, Wanted, make_plan
from helicon.training.run import read_arguments
from helicon.training.sizes import learning_rate


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    """Of a few texts."""
    (tmp_path / "texts").mkdir()
    for i in range(12):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"once upon a time {i} " * 9)
    rest = ["--data.cache", str(tmp_path / "cache"), "--data.held_out", "0.3", "--data.tokenizer", "bytes"]
    return Wanted("text", tmp_path / "texts", size="tiny", runs=tmp_path / "runs", rest=rest)


def planned(wanted: Wanted) -> Plan:
    return make_plan(wanted, lambda line: None)


@pytest.mark.parametrize(("steps", "every"), [(35, 3), (9, 1)])
def test_ten_validations_of_so_many_steps(wanted, steps, every):
    config = read_arguments("fit", planned(replace(wanted, steps=steps)).arguments)
    assert config.trainer.max_steps == steps
    assert config.trainer.val_check_interval == every


def test_fine_tuning_takes_half_the_rate(wanted, tmp_path):
    save_bundle(text_bundle(), tmp_path / "bundle")
    plan = planned(replace(wanted, size="auto", adopt=tmp_path / "bundle", rest=wanted.rest[:4]))
    model = read_arguments("fit", plan.arguments).model
    assert model.shape.width == 16
    assert model.lr == pytest.approx(learning_rate(16) / 2, rel=0.05)
