"""Statistics of a folder of scores, from which instruments, volumes, labels and instruments sets are fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from helicon.formats.score import Score


@dataclass
class MusicSurvey:
    """Counts over scores, which can be merged.

    Attributes:
        notes: number of notes by program (General MIDI, or DRUMS).
        velocities: lowest and highest MIDI velocity by program.
        sets: number of pieces by their programs, ascending.
        labels: number of pieces by label.
    """

    notes: Counter[int] = field(default_factory=Counter)
    velocities: dict[int, tuple[int, int]] = field(default_factory=dict)
    sets: Counter[tuple[int, ...]] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(score: Score) -> MusicSurvey:
        """Count the notes, velocities, programs and label of a `Score`, and return a `MusicSurvey`."""
        programs, notes = np.unique(score.program, return_counts=True)
        survey = MusicSurvey(Counter(dict(zip(programs.tolist(), notes.tolist()))))
        for program in programs.tolist():
            velocity = score.velocity[score.program == program]
            survey.velocities[program] = (int(velocity.min()), int(velocity.max()))
        if len(programs):
            survey.sets[tuple(programs.tolist())] = 1
        if score.label:
            survey.labels[score.label] = 1
        return survey

    @staticmethod
    def merged(surveys: Iterable[MusicSurvey]) -> MusicSurvey:
        """Add up any number of `MusicSurvey`s to a new one."""
        total = MusicSurvey()
        for survey in surveys:
            total.notes.update(survey.notes)
            total.sets.update(survey.sets)
            total.labels.update(survey.labels)
            for program, (low, high) in survey.velocities.items():
                lowest, highest = total.velocities.get(program, (low, high))
                total.velocities[program] = (min(low, lowest), max(high, highest))
        return total
