"""Base of all demos: made-up media, trainings on them, and a result page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from helicon.presets import Config
from helicon.training.plan import Log, TrainingPlan
from helicon.training.settings.request import TrainRequest

SLOWEST = 2.5  # times the minutes; a machine that is slower than that gets fewer steps


class Stage(NamedTuple):
    """Training of a demo: its plan, its steps, and the minutes that those take on 2 cores."""

    plan: TrainingPlan
    steps: int
    minutes: float


@dataclass(frozen=True)
class World(ABC):
    """A demo.

    Attributes:
        out: path of the folder of all files.
        minutes: of all trainings, on 2 cores.
        pieces: number of media.
        seed: of media, training and samples.
        things: (of subclasses) name of the media's folder.
        making: (of subclasses) progress label while media are made.
        measuring: (of subclasses) progress label while the model is measured.
    """

    out: Path
    minutes: float
    pieces: int
    seed: int = 0

    things: ClassVar[str]
    making: ClassVar[str]
    measuring: ClassVar[str]

    @property
    def folder(self) -> Path:
        """Path of the media's folder."""
        return self.out / self.things

    @property
    def run(self) -> Path:
        """Path of the model's run folder."""
        return self.out / "run"

    @abstractmethod
    def make(self) -> None:
        """Write the media into `folder`; the same for the same seed and number."""

    @abstractmethod
    def stages(self, log: Log) -> Iterator[Stage]:
        """Plan the trainings, as `Stage`s, each when those before it are done; the model's is the last.

        Args:
            log: called with each line of progress.
        """

    @abstractmethod
    def show(self, plan: TrainingPlan, begun: float) -> dict[str, float]:
        """Measure the model, and write `index.html` and `report.json`.

        Args:
            plan: `TrainingPlan` of the model.
            begun: `time.monotonic()`, seconds, at the start of the demo.

        Returns:
            Figures by name, as in `report.json`.
        """

    @abstractmethod
    def next_steps(self) -> list[str]:
        """Return command lines, `helicon ...`, to go on with."""

    def request(self, task: str, steps: int, size: str, name: str, overrides: Config) -> TrainRequest:
        """Return a request for a training on the media.

        Args:
            task: of the training, such as `music`.
            steps: limit of training steps, which only a very slow machine does not reach.
            size: name of the preset of the size, such as `tiny`.
            name: of the run's folder.
            overrides: further config, options by name.

        Returns:
            `TrainRequest` of `SLOWEST` times the demo's minutes.
        """
        return TrainRequest(
            task=task, path=self.folder, minutes=SLOWEST * self.minutes, steps=steps, size=size, name=name,
            runs=self.out, seed=self.seed, overrides={**overrides, "samples": False},
        )  # fmt: skip
