"""Request of a training: what `helicon train` is asked for, and the next stages; plain values in a run's config."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from helicon.formats.checked import integer, number, text
from helicon.formats.quantities import duration, quantity
from helicon.presets import merge
from helicon.sources.places import Place, as_place
from helicon.training.settings.places import REQUEST_PATHS
from helicon.training.settings.sizes import check_size, shape_of, task_config

MIN_MINUTES, MAX_MINUTES = 1e-6, 1e6  # 1e6 minutes are two years; as limit they mean that steps alone end a training
MAX_STEPS = 10**12  # far above any training, and exact as a float
MAX_LEVELS = 8  # of a codec
MAX_SEED = (1 << 32) - 1  # NumPy's limit
FLAGS = {"init_from": "--from", "upsampler_of": "--for"}  # field -> flag, where it is not the field's name


def check_minutes(minutes: float) -> None:
    """Validate the minutes of a training.

    Raises:
        ValueError: not from MIN_MINUTES to MAX_MINUTES.
    """
    number("minutes", minutes, MIN_MINUTES, MAX_MINUTES)


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Request of one training, from the command line or the library.

    Args:
        task: preset, config file or layout that says what is trained.
        path: folder of training files, or place that is elsewhere.
        minutes: time limit; MAX_MINUTES where the steps alone end the training.
        steps: limit of optimizer steps, beside that of the minutes; None for no limit.
        size: `auto` or a shape preset.
        name: folder in `runs`; TASK-N unless given.
        runs: folder of all runs.
        init_from: run or bundle to fine-tune.
        manifest: file with the list of training files, instead of all files of the folder.
        seed: of batches and noise.
        levels: levels of sound codes: the model makes the top one, and an upsampler each finer one.
        upsampler_of: run that the trained upsampler is attached to.
        overrides: config whose values replace those that are chosen for the request.
        next: request of the next stage.
    """

    task: str
    path: Place
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
        for name, low, high in (("steps", 1, MAX_STEPS), ("seed", 0, MAX_SEED), ("levels", 1, MAX_LEVELS)):
            if (value := getattr(self, name)) is not None:
                integer(name, value, low, high)

    @property
    def config(self) -> dict[str, Any]:
        """Config (nested dict) of the task, and of the size unless it is `auto`."""
        return merge(task_config(self.task), {} if self.size == "auto" else shape_of(self.size))

    @property
    def title(self) -> str:
        """Prefix of a run's default name, from the task: `music` of `music.yaml`."""
        return re.sub(r"[^\w-]+", "-", Path(self.task).stem).strip("-")

    @property
    def timed(self) -> bool:
        """True where the minutes limit the training, rather than its steps alone."""
        return self.steps is None or self.minutes < MAX_MINUTES

    @property
    def length(self) -> str:
        """Limit of the training in words: `10 min or 500 steps`."""
        ends = [duration(60 * self.minutes)] if self.timed else []
        return " or ".join([*ends, *([] if self.steps is None else [quantity(self.steps, "step")])])

    def share(self, part: float) -> float:
        """Return the minutes of a stage that takes `part` (a factor) of the time; MAX_MINUTES without a limit."""
        return part * self.minutes if self.timed else MAX_MINUTES

    def longer(self, times: int) -> TrainRequest:
        """Return a `TrainRequest` of a new run, `times` (a factor) as long, without the next stages."""
        minutes = min(MAX_MINUTES, self.share(times))
        steps = None if self.steps is None else min(MAX_STEPS, times * self.steps)
        return replace(self, minutes=minutes, steps=steps, name=None, next=None)

    def as_config(self) -> dict[str, Any]:
        """Return field name -> plain value, without defaults: inverse of `from_config`."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
        defaults = {**{option.name: option.default for option in fields(self)}, "overrides": {}, "runs": "runs"}
        config = {name: value for name, value in plain.items() if value != defaults[name]}
        return config | ({"next": self.next.as_config()} if self.next else {})

    @staticmethod
    def from_config(config: Any) -> TrainRequest:
        """Return the `TrainRequest` of a mapping, field name -> plain value: inverse of `as_config`.

        Raises:
            ValueError: the values are no request; the message is one line.
        """
        if not isinstance(config, Mapping) or not all(isinstance(name, str) for name in config):
            raise ValueError("not a training")
        values = dict(config)
        names = [option.name for option in fields(TrainRequest)]
        if wrong := [name for name in values if name not in names] or [n for n in ("task", "path") if n not in values]:
            raise ValueError(f"not a training ({text('field', wrong[0])})")
        for name in ("task", "size", "name", *REQUEST_PATHS):
            if values.get(name) is not None:
                text(name, values[name])
        if not isinstance(values.get("overrides", {}), Mapping):
            raise ValueError("overrides: a config is accepted")
        values |= {name: Path(values[name]) for name in REQUEST_PATHS if values.get(name) is not None}
        values["path"] = as_place(config["path"])
        following = values.pop("next", None)
        return TrainRequest(**values, next=None if following is None else TrainRequest.from_config(following))

    def words(self) -> list[str]:
        """Return the words after `helicon train` that ask for the same, a list, but for the next stages."""
        config = self.as_config()
        words = [config.pop("task"), config.pop("path")]
        overrides = dict(config.pop("overrides", {}))
        config.pop("next", None)
        if self.timed:
            config.setdefault("minutes", self.minutes)
        else:
            config.pop("minutes")
        for name, value in config.items():
            words += [FLAGS.get(name, f"--{name}"), f"{value:g}" if isinstance(value, float) else str(value)]
        for file in overrides.pop("plugins", []):
            words += ["--plugin", file]
        for name, value in overrides.items():
            below = value.items() if isinstance(value, Mapping) else [(None, value)]
            for option, setting in below:
                plain = setting if isinstance(setting, str) else json.dumps(setting)
                words += [f"--{name}.{option}" if option else f"--{name}", plain]
        return words

    def __str__(self) -> str:
        return shlex.join(["helicon", "train", *self.words()])
