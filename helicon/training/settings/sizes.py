"""Choice of a model size, learning rate and validation interval for a machine, a folder and a time limit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from helicon.formats.nearest import unknown
from helicon.formats.quantities import duration
from helicon.gpt.numbers import has_bf16
from helicon.modalities import registry
from helicon.objectives.registry import OBJECTIVES
from helicon.presets import config_path, preset, preset_names, without
from helicon.training.settings.places import found_from_here

# Size -> training tokens below which a model of that size overfits before it has learned anything general
MIN_TOKENS = {"tiny": 0, "small": 30_000, "medium": 5_000_000, "large": 200_000_000}
CODECS = ("codec", "audio-codec")  # tasks that train a codec, rather than a GPT
MIN_STEPS = 300  # with fewer optimizer steps a model ends worse than a smaller one that had more
# Floating-point operations per second that training reaches, about: of a CPU thread, of a GPU
CPU_THREAD_FLOPS, GPU_FLOPS = 25e9, {"cuda": 60e12, "mps": 2e12}


@dataclass(frozen=True)
class Machine:
    """Machine that trains.

    Args:
        device: `cpu`, `cuda` or `mps`.
        threads: of the CPU.
        bf16: whether the device multiplies bfloat16 in hardware.
        gpus: ranks that share a batch.
    """

    device: str = "cpu"
    threads: int = 1
    bf16: bool = False
    gpus: int = 1

    @property
    def flops(self) -> float:
        """Floating-point operations a second that training reaches, about."""
        if self.device in GPU_FLOPS:
            return GPU_FLOPS[self.device] * self.gpus
        # bfloat16 instructions about double a CPU's
        return CPU_THREAD_FLOPS * self.threads * (2 if self.bf16 else 1)

    @staticmethod
    def of(device: str, gpus: int = 1) -> Machine:
        """Return this machine.

        Args:
            device: `cpu`, `cuda` or `mps`.
            gpus: ranks that share a batch.

        Returns:
            A `Machine` with the threads that PyTorch uses.
        """
        return Machine(device, torch.get_num_threads() or os.cpu_count() or 1, has_bf16(device), gpus)


@dataclass(frozen=True)
class SizeChoice:
    """Chosen size: name of a shape preset, and the reason in words."""

    name: str
    reason: str


def choose_size(
    machine: Machine, tokens: int, minutes: float, vocabulary: int, fixed: int | None = None,
    max_steps: int | None = None,
) -> SizeChoice:  # fmt: skip
    """Choose the largest size that has enough tokens in the folder and gets enough steps in the minutes.

    Args:
        machine: `Machine` that trains.
        tokens: number of training tokens of the folder.
        minutes: time limit.
        vocabulary: number of rows of the token embedding.
        fixed: tokens of a sequence, where the layouts settle it; None where each size has its own context.
        max_steps: limit of optimizer steps, if any.

    Returns:
        `SizeChoice`: name of the size, and why not a larger one.
    """
    chosen = SizeChoice("tiny", "the smallest")
    for name in list(MIN_TOKENS)[1:]:
        config = preset(name)
        config["model"]["context"] = fixed or config["model"]["context"]
        steps = expected_steps(machine, config, vocabulary, minutes)
        within = f"about {steps:,} steps in {duration(60 * minutes)} on {machine.device}"
        if max_steps is not None and max_steps <= steps:
            steps, within = max_steps, f"{max_steps:,} steps"
        if tokens < MIN_TOKENS[name]:
            return SizeChoice(chosen.name, f"{name} wants {MIN_TOKENS[name]:,} tokens, there are {tokens:,}")
        if steps < MIN_STEPS:
            return SizeChoice(chosen.name, f"{name} would get {within}")
        chosen = SizeChoice(name, f"{within}, and {tokens:,} tokens")
    return chosen


def expected_steps(machine: Machine, config: dict[str, Any], vocabulary: int, minutes: float) -> int:
    """Estimate the optimizer steps in a time: 6 operations per parameter and token (arXiv:2001.08361, section 2.1).

    Args:
        machine: `Machine` that trains.
        config: nested dict with `model.layers`, `model.width` and `model.context`; `data.batch_size` is 16 unless set.
        vocabulary: number of rows of the token embedding; the output matrix counts among the parameters.
        minutes: time limit.

    Returns:
        Number of steps, 0 where there is no time for one.
    """
    model = config["model"]
    # A layer has 4 width^2 parameters of attention and 8 width^2 of the feed-forward layers
    parameters = 12 * model["layers"] * model["width"] ** 2 + vocabulary * model["width"]
    tokens = model["context"] * config.get("data", {}).get("batch_size", 16)
    return int(60 * minutes * machine.flops / (6 * parameters * tokens))


def validation_seconds(minutes: float, steps: int) -> int:
    """Return the seconds between validations: 3 to 20 of them in a run, some 50 steps apart or more.

    Args:
        minutes: time limit.
        steps: number expected in the minutes.

    Returns:
        Whole seconds, 1 or more.
    """
    return max(1, round(60 * minutes / min(20, max(3, steps // 50))))


def learning_rate(width: int) -> float:
    """Return the peak learning rate for a GPT's width: 1 / width, at most 6e-3. The packaged shapes have such."""
    return min(6e-3, 1 / width)


def is_task(config: Mapping[str, Any]) -> bool:
    """Return True if a config (nested dict) says what is trained; configs of a shape or a machine do not."""
    return config.get("task", "gpt") != "gpt" or bool((config.get("data") or {}).get("layouts"))


def trains_codec(config: Mapping[str, Any]) -> bool:
    """Return True if a config (nested dict) trains a codec, False for a GPT."""
    return config.get("task") in CODECS


def check_size(name: str) -> None:
    """Validate the name of a size.

    Raises:
        ValueError: neither `auto` nor a preset with a shape.
    """
    if name == "auto":
        return
    shapes = [shape for shape in preset_names() if (preset(shape).get("model") or {}).get("layers")]
    if name not in shapes:
        raise ValueError(unknown("size", name, ["auto", *shapes]))


def shape_of(size: str) -> dict[str, Any]:
    """Return the config of a size, the name of a preset, without its task, codec and files."""
    config = preset(size)
    files = [f"data.{name}" for name in config["data"] if name != "batch_size"]
    return without(config, ("task", "codec", *files))


def layouts_task(layouts: Iterable[str]) -> str:
    """Join layouts, as text, to a task for `task_config`, so that none is taken for a preset of the same name.

    Raises:
        ValueError: a layout is the name of a task.
    """
    specs = list(layouts)
    for name in specs:
        if name in preset_names() and not registry.is_slot(name):
            slots = "a layout names slots, such as 'text[32] music'"
            raise ValueError(f"layout {name!r}: the name of a task, which stands without --layout; {slots}")
    return "; ".join(specs) if len(specs) > 1 or "[" in specs[0] else f"{specs[0]};"


def task_config(task: str) -> dict[str, Any]:
    """Return the config of a task, a nested dict.

    Args:
        task: name of a preset or objective, YAML file, or layouts such as `text[32] music; text`.

    Raises:
        ValueError: another name, or a config that does not say what is trained.
    """
    if task in preset_names() or task.endswith((".yaml", ".yml")):
        if is_task(config := found_from_here(preset(task), config_path(task).parent)):
            return config
    elif registry.is_slot(task) or re.search(r"[\[\s;]", task):
        return {"task": "gpt", "data": {"layouts": [layout.strip() for layout in task.removesuffix(";").split(";")]}}
    elif task in OBJECTIVES:
        return {"task": task}
    raise ValueError(unknown("task", task, [name for name in preset_names() if is_task(preset(name))]))
