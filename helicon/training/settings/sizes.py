"""Which size of model, number format and validations suit a machine, a folder and the minutes there are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from helicon.formats.nearest import unknown
from helicon.gpt.numbers import has_bf16
from helicon.modalities import registry
from helicon.objectives.registry import OBJECTIVES
from helicon.presets import preset, preset_names, without

# size -> tokens below which it would learn them by heart before it learns the style
NEEDS_TOKENS = {"tiny": 0, "small": 30_000, "medium": 5_000_000, "large": 200_000_000}
CODECS = ("codec", "audio-codec")  # tasks that train one, rather than a GPT
NEEDS_STEPS = 300  # fewer optimizer steps than this leave a model worse than a smaller one that had more
# Floating-point operations a second that training reaches, about: of one CPU thread, of a whole GPU
CPU_THREAD_FLOPS, GPU_FLOPS = 25e9, {"cuda": 60e12, "mps": 2e12}


@dataclass(frozen=True)
class Machine:
    """What training runs on. threads: of the CPU. gpus: that share a batch."""

    device: str = "cpu"
    threads: int = 1
    bf16: bool = False
    gpus: int = 1

    @property
    def flops(self) -> float:
        """Operations a second, about."""
        if self.device in GPU_FLOPS:
            return GPU_FLOPS[self.device] * self.gpus
        return CPU_THREAD_FLOPS * self.threads * (2 if self.bf16 else 1)

    @staticmethod
    def of(device: str, gpus: int = 1) -> Machine:
        """This machine, training on `device`."""
        return Machine(device, torch.get_num_threads() or os.cpu_count() or 1, has_bf16(device), gpus)


@dataclass(frozen=True)
class SizeChoice:
    """A size, and why."""

    name: str
    reason: str


def choose_size(
    machine: Machine, tokens: int, minutes: float, vocabulary: int, fixed: int | None = None, most: int | None = None
) -> SizeChoice:  # fmt: skip
    """The largest size that the folder has tokens for and that gets its steps in the minutes.

    fixed: tokens of a sequence, where that does not depend on the size. most: steps, of which there are no more.
    """
    chosen = SizeChoice("tiny", "the smallest")
    for name in list(NEEDS_TOKENS)[1:]:
        config = preset(name)
        config["model"]["context"] = fixed or config["model"]["context"]
        steps = expected_steps(machine, config, vocabulary, minutes)
        within = f"about {steps:,} steps in {minutes:.3g} min on {machine.device}"
        if most is not None and most <= steps:
            steps, within = most, f"{most:,} steps"
        if tokens < NEEDS_TOKENS[name]:
            return SizeChoice(chosen.name, f"{name} wants {NEEDS_TOKENS[name]:,} tokens, there are {tokens:,}")
        if steps < NEEDS_STEPS:
            return SizeChoice(chosen.name, f"{name} would get {within}")
        chosen = SizeChoice(name, f"{within}, and {tokens:,} tokens")
    return chosen


def expected_steps(machine: Machine, config: dict[str, Any], vocabulary: int, minutes: float) -> int:
    """Optimizer steps in the minutes: 6 operations a parameter and token, the output matrix included."""
    model = config["model"]
    parameters = 12 * model["layers"] * model["width"] ** 2 + vocabulary * model["width"]
    tokens = model["context"] * config.get("data", {}).get("batch_size", 16)
    return int(60 * minutes * machine.flops / (6 * parameters * tokens))


def validation_seconds(minutes: float, steps: int) -> int:
    """Between looks at the held-out part: 3 to 20 looks a run, at least some 50 steps apart."""
    return max(1, round(60 * minutes / min(20, max(3, steps // 50))))


def learning_rate(width: int) -> float:
    """The highest rate for a model of that width, which the packaged shapes follow about."""
    return min(6e-3, 1 / width)


def is_task(config: Mapping[str, Any]) -> bool:
    """Whether a config says what is trained; one that does not is of a shape or a machine."""
    return config.get("task", "gpt") != "gpt" or bool((config.get("data") or {}).get("layouts"))


def trains_codec(config: Mapping[str, Any]) -> bool:
    """Whether a config is of a codec, not of a GPT."""
    return config.get("task") in CODECS


def check_size(name: str) -> None:
    """ValueError unless `name` is `auto` or a preset with a shape."""
    if name == "auto":
        return
    shapes = [each for each in preset_names() if (preset(each).get("model") or {}).get("layers")]
    if name not in shapes:
        raise ValueError(unknown("size", name, ["auto", *shapes]))


def shape_of(size: str) -> dict[str, Any]:
    """What a preset says of the model and its steps; what it says of files is the task's to say."""
    config = preset(size)
    files = [f"data.{name}" for name in config["data"] if name != "batch_size"]
    return without(config, ("task", "codec", *files))


def layouts_task(layouts: Iterable[str]) -> str:
    """The task that is layouts, as `task_config` takes it, none of which is taken for a preset of the same name.

    Raises:
        ValueError: for the name of a task.
    """
    found = list(layouts)
    for name in found:
        if name in preset_names() and not registry.is_slot(name):
            slots = "a layout names slots, such as 'text[32] music'"
            raise ValueError(f"layout {name!r}: the name of a task, which stands without --layout; {slots}")
    return "; ".join(found) if len(found) > 1 or "[" in found[0] else f"{found[0]};"


def task_config(task: str) -> dict[str, Any]:
    """Returns the config that a task stands for: of a preset, of a file, or of layouts such as `text[32] music; text`.

    Raises:
        ValueError: for what says nothing of what is trained.
    """
    if task in preset_names() or task.endswith((".yaml", ".yml")):
        if is_task(config := preset(task)):
            return config
    elif registry.is_slot(task) or re.search(r"[\[\s;]", task):
        return {"task": "gpt", "data": {"layouts": [layout.strip() for layout in task.removesuffix(";").split(";")]}}
    elif task in OBJECTIVES:
        return {"task": task}
    raise ValueError(unknown("task", task, [name for name in preset_names() if is_task(preset(name))]))
