"""What all demos share: a world of made-up media, trainings on it, and a page of what they came to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from helicon.presets import Config
from helicon.training.plan import Say, TrainingPlan
from helicon.training.settings.request import TrainRequest

SLOWEST = 2.5  # times the minutes; a machine that is slower than that gets fewer steps


class Stage(NamedTuple):
    """A training of a demo: what is to be run, in how many steps, and the minutes those take on 2 cores."""

    plan: TrainingPlan
    steps: int
    minutes: float


@dataclass(frozen=True)
class World(ABC):
    """A demo. out: folder of everything; pieces: media to make; minutes: of all trainings, on 2 cores.

    In subclasses things is the folder of the media; making and measuring say what goes on.
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
        """Where the media are."""
        return self.out / self.things

    @property
    def run(self) -> Path:
        """The run of the model."""
        return self.out / "run"

    @abstractmethod
    def make(self) -> None:
        """Writes the media; the same for the same seed and number."""

    @abstractmethod
    def stages(self, say: Say) -> Iterator[Stage]:
        """The trainings, each planned when those before it are done; the model's is the last."""

    @abstractmethod
    def show(self, plan: TrainingPlan, begun: float) -> dict[str, float]:
        """Measures the model, writes `index.html` and `report.json`; gives the figures."""

    @abstractmethod
    def next_steps(self) -> list[str]:
        """Commands to go on with."""

    def request(self, task: str, steps: int, size: str, name: str, overrides: Config) -> TrainRequest:
        """A training on the media, in so many steps unless the machine is very slow."""
        return TrainRequest(
            task=task, path=self.folder, minutes=SLOWEST * self.minutes, steps=steps, size=size, name=name,
            runs=self.out, seed=self.seed, overrides={**overrides, "samples": False},
        )  # fmt: skip
