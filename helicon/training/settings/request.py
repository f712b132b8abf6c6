"""What `helicon train` is asked for: one training, and those that follow it; plain values in a run's config."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from helicon.formats.checked import integer, number, text
from helicon.presets import merge
from helicon.training.settings.sizes import check_size, shape_of, task_config

LEAST_MINUTES, MOST_MINUTES, MOST_STEPS, MOST_LEVELS, MOST_SEED = 1e-6, 1e6, 10**12, 8, (1 << 32) - 1
PATHS = ("path", "runs", "init_from", "manifest", "upsampler_of")
FLAGS = {"init_from": "--from", "upsampler_of": "--for"}  # of the command line, where they are not the field's name


def check_minutes(minutes: float) -> None:
    """ValueError for minutes that no training can last."""
    number("minutes", minutes, LEAST_MINUTES, MOST_MINUTES)


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """One training, as the command line or a library asks for it.

    Args:
        task: preset, config file or layout that says what is trained.
        path: folder of files.
        minutes: how long, at most; MOST_MINUTES where the steps alone end it.
        steps: optimizer steps in the minutes, at most.
        size: `auto` or a shape preset.
        name: folder in `runs`; TASK-N unless given.
        runs: folder of all runs.
        init_from: run or bundle to fine-tune.
        manifest: list of files, instead of searching the folder.
        seed: of batches and noise.
        levels: of sound, one of them made by the model and each finer one by an upsampler.
        upsampler_of: run whose upsampler this is.
        overrides: config that goes before what is chosen here.
        next: the training that follows.
    """

    task: str
    path: Path
    minutes: float = 10.0
    steps: int | None = None
    size: str = "auto"
    name: str | None = None
    runs: Path = Path("runs")
    init_from: Path | None = None
    manifest: Path | None = None
    seed: int = 0
    levels: int = 1
    upsampler_of: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    next: TrainRequest | None = None

    def __post_init__(self) -> None:
        check_minutes(self.minutes)
        check_size(self.size)
        for name, low, high in (("steps", 1, MOST_STEPS), ("seed", 0, MOST_SEED), ("levels", 1, MOST_LEVELS)):
            if (value := getattr(self, name)) is not None:
                integer(name, value, low, high)

    @property
    def config(self) -> dict[str, Any]:
        """What the task says, in the size that is asked for, unless that is to be chosen."""
        return merge(task_config(self.task), {} if self.size == "auto" else shape_of(self.size))

    @property
    def title(self) -> str:
        """What is trained, as runs without a name are called."""
        return re.sub(r"[^\w-]+", "-", Path(self.task).stem).strip("-")

    @property
    def timed(self) -> bool:
        """Whether minutes end it, not its steps alone."""
        return self.steps is None or self.minutes < MOST_MINUTES

    @property
    def length(self) -> str:
        """How long it takes at most, for people."""
        ends = [f"{self.minutes:.3g} min"] if self.timed else []
        return " or ".join([*ends, *([] if self.steps is None else [f"{self.steps:,} steps"])])

    def share(self, part: float) -> float:
        """Minutes of a stage that has that part of the time."""
        return part * self.minutes if self.timed else MOST_MINUTES

    def longer(self, times: int) -> TrainRequest:
        """The same by itself, so many times as long, as another run."""
        minutes = min(MOST_MINUTES, self.share(times))
        steps = None if self.steps is None else min(MOST_STEPS, times * self.steps)
        return replace(self, minutes=minutes, steps=steps, name=None, next=None)

    def as_config(self) -> dict[str, Any]:
        """Plain values, without defaults: inverse of `from_config`."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
        defaults = {**{each.name: each.default for each in fields(self)}, "overrides": {}, "runs": "runs"}
        said = {name: value for name, value in plain.items() if value != defaults[name]}
        return said | ({"next": self.next.as_config()} if self.next else {})

    @staticmethod
    def from_config(config: Any) -> TrainRequest:
        """Returns the request of plain values.

        Raises:
            ValueError: for what is none, in one line.
        """
        if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
            raise ValueError("not a training")
        values = dict(config)
        known = [each.name for each in fields(TrainRequest)]
        if wrong := [name for name in values if name not in known] or [n for n in ("task", "path") if n not in values]:
            raise ValueError(f"not a training ({text('field', wrong[0])})")
        for name in ("task", "size", "name", *PATHS):
            if values.get(name) is not None:
                text(name, values[name])
        if not isinstance(values.get("overrides", {}), Mapping):
            raise ValueError("overrides: a config is accepted")
        values |= {name: Path(values[name]) for name in PATHS if values.get(name) is not None}
        following = values.pop("next", None)
        return TrainRequest(**values, next=None if following is None else TrainRequest.from_config(following))

    def words(self) -> list[str]:
        """A command line that asks for the same, but for what follows: for people."""
        said = self.as_config()
        words = [said.pop("task"), said.pop("path")]
        overrides = dict(said.pop("overrides", {}))
        said.pop("next", None)
        if self.timed:
            said.setdefault("minutes", self.minutes)
        else:
            said.pop("minutes")
        for name, value in said.items():
            words += [FLAGS.get(name, f"--{name}"), f"{value:g}" if isinstance(value, float) else str(value)]
        for file in overrides.pop("plugins", []):
            words += ["--plugin", file]
        for name, value in overrides.items():
            below = value.items() if isinstance(value, Mapping) else [(None, value)]
            for each, setting in below:
                plain = setting if isinstance(setting, str) else json.dumps(setting)
                words += [f"--{name}.{each}" if each else f"--{name}", plain]
        return words

    def __str__(self) -> str:
        return shlex.join(["helicon", "train", *self.words()])
