"""A score: the notes of a piece in seconds, which MIDI files are read into and written from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

DRUMS = 128  # the `program` of every note on MIDI's percussion channel


@dataclass(frozen=True)
class Score:
    """Notes as parallel arrays of length N, in order of onset, then program, then pitch.

    onset_s, end_s: float64, seconds, `end_s > onset_s`. pitch: int16, MIDI note 0-127. velocity: int16, 1-127.
    program: int16, General MIDI program 0-127, or DRUMS. tempo_bpm: time-weighted mean tempo, quarters a minute.
    label: composer, genre or folder that the piece is labelled with.
    """

    onset_s: np.ndarray
    end_s: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray
    tempo_bpm: float = 120.0
    label: str | None = None

    @staticmethod
    def of(
        onset_s: object, end_s: object, pitch: object, velocity: object, program: object,
        tempo_bpm: float = 120.0, label: str | None = None,
    ) -> Score:  # fmt: skip
        """Score of any array-likes, sorted."""
        onset, end = np.asarray(onset_s, np.float64), np.asarray(end_s, np.float64)
        rest = [np.asarray(x, np.int16) for x in (pitch, velocity, program)]
        order = np.lexsort((rest[0], rest[2], onset))
        return Score(onset[order], end[order], *(x[order] for x in rest), tempo_bpm=float(tempo_bpm), label=label)

    def __len__(self) -> int:
        return len(self.onset_s)

    @property
    def seconds(self) -> float:
        """Time of the last note's end."""
        return float(self.end_s.max()) if len(self) else 0.0

    def between(self, start_s: float, end_s: float) -> Score:
        """Notes that begin in [start_s, end_s), cut at end_s, moved so that start_s is 0."""
        keep = (self.onset_s >= start_s) & (self.onset_s < end_s)
        columns = (self.onset_s[keep] - start_s, np.minimum(self.end_s[keep], end_s) - start_s)
        rest = (self.pitch[keep], self.velocity[keep], self.program[keep])
        return replace(self, onset_s=columns[0], end_s=columns[1], pitch=rest[0], velocity=rest[1], program=rest[2])


def narrow(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 on, in the smallest type that holds them: up to 16 bits NumPy sorts in linear time."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


@dataclass
class ReadReport:
    """What a reader dropped, repaired or clipped: event name -> count.

    text: what a writer of ours left in the file for a reader, as it is.
    """

    counts: dict[str, int] = field(default_factory=dict)
    text: str = ""

    def add(self, what: str, n: int = 1) -> None:
        """Counts `n` more of `what`."""
        if n:
            self.counts[what] = self.counts.get(what, 0) + int(n)

    def __str__(self) -> str:
        return ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items())) or "nothing lost"
