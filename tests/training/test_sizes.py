"""Sizes that suit machines, folders and minutes."""

from pathlib import Path

import pytest

from helicon.training.settings.sizes import (
    Machine,
    check_size,
    choose_size,
    learning_rate,
    task_config,
    validation_seconds,
)

TWO_CORES, GPU = Machine("cpu", threads=2, bf16=True), Machine("cuda", bf16=True)


@pytest.mark.parametrize(
    ("machine", "tokens", "minutes", "size"),
    [
        (TWO_CORES, 1_000, 600, "tiny"),  # too few tokens for more
        (TWO_CORES, 500_000, 1, "tiny"),  # too few minutes
        (TWO_CORES, 500_000, 30, "small"),
        (TWO_CORES, 500_000, 6000, "small"),  # minutes do not make up for tokens
        (GPU, 20_000_000, 60, "medium"),
        (GPU, 1_000_000_000, 1440, "large"),
    ],
)
def test_the_largest_size_that_tokens_and_minutes_suffice_for(
    machine: Machine, tokens: int, minutes: float, size: str
) -> None:
    choice = choose_size(machine, tokens, minutes, vocabulary=3000)
    assert choice.name == size
    assert choice.reason


def test_validations_are_rarer_where_steps_are_few() -> None:
    assert validation_seconds(10, steps=10_000) == 30
    assert validation_seconds(10, steps=20) == 200
    assert validation_seconds(0.01, steps=1) >= 1


def test_wider_models_learn_more_slowly() -> None:
    assert learning_rate(128) > learning_rate(256) > learning_rate(1024)


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_config_file_is_a_task_where_it_says_what_is_trained(tmp_path: Path, suffix: str) -> None:
    mine = tmp_path / f"mine{suffix}"
    mine.write_text('data: {layouts: ["text"]}')
    task_config(str(mine))
    mine.write_text("model: {layers: 2}")
    with pytest.raises(ValueError, match="unknown task"):
        task_config(str(mine))


def test_names_that_are_no_size_or_task_show_the_nearest() -> None:
    check_size("auto")
    check_size("tiny")
    task_config("text-to-music")
    with pytest.raises(ValueError, match="nearest: medium"):
        check_size("medum")
    with pytest.raises(ValueError, match="unknown task 'tiny'"):
        task_config("tiny")
