"""Reader of the world of tones: detects notes in a sound, with time, pitch and timbre.

A note begins where the sound rises out of silence. Its period is the first high peak of its autocorrelation; its timbre
is classified by attack, sustain and overtones. No waveform of the world of tones is used here.

Shapes: S samples of a sound, N of a note; L levels, one every `_HOP_S`; F frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOWEST_RATE = 4000  # samples a second: twice the highest pitch that is looked for
_WINDOW_S, _HOP_S = 0.016, 0.004  # over which a level is measured, and from one to the next
_SILENCE = 0.001  # a level that is not heard, whatever else there is; 1 is full scale
_HISS = 0.05  # the part of the levels that show only what hisses all the time
_ABOVE_HISS = 2.0  # times the hiss: the loudest level of a sound that holds notes, at least
_ON, _OFF = 0.25, 0.12  # of the loudest level: a note rises above the one, and lasts while above the other
_GAP_S, _SHORTEST_S = 0.024, 0.06  # a shorter silence parts no notes; what is shorter is no note
_LOWEST_HZ, _HIGHEST_HZ = 100.0, 2000.0  # between which pitches are looked for
_FINE_RATE = 64_000  # that the autocorrelation is interpolated to, at least
_CLEAR = 0.5  # the autocorrelation at the period of a note that has a pitch, at least
_FIRST = 0.9  # the period is the first peak that comes so close to the highest
_HELD_S = 0.35  # the first of a note, in which it dies away if it does
_HARMONICS, _WIDTH = 4, 0.05  # the harmonics whose energy counts, and how far around them, as a part of the fundamental


@dataclass(frozen=True)
class Manner:
    """Features of a note's timbre.

    Attributes:
        held: mean level of a note's first `_HELD_S`, as a part of its loudest.
        attack_s: rise time from a fifth to four fifths of the loudest level.
        overtones: their part of the energy of the first harmonics.
    """

    held: float
    attack_s: float
    overtones: float

    def distance(self, other: Manner) -> float:
        """Return the squared distance to another `Manner`, each feature in units of its spread among spoilt notes."""
        return float(
            ((self.held - other.held) / 0.15) ** 2
            + (np.log(self.attack_s / other.attack_s) / 0.35) ** 2
            + (np.log(max(self.overtones, 0.02) / max(other.overtones, 0.02))) ** 2
        )


# A string that is plucked sounds at once and dies away; a bow takes its time, and a string has overtones; a pipe, which
# is blown, speaks soon, and hardly has them.
MANNERS = {
    "plucked": Manner(0.25, 0.012, 0.13),
    "bowed": Manner(0.9, 0.05, 0.3),
    "blown": Manner(0.95, 0.015, 0.02),
}


@dataclass(frozen=True)
class DetectedNote:
    """Note detected in a sound.

    Attributes:
        begin_s: seconds.
        end_s: seconds.
        key: pitch in MIDI semitones (69 is 440 Hz), fractional; None without a clear pitch.
        timbre: of `MANNERS`; None if `key` is.
    """

    begin_s: float
    end_s: float
    key: float | None
    timbre: str | None


def read_notes(samples: np.ndarray, rate: int) -> list[DetectedNote]:
    """Detect the notes of a sound.

    Args:
        samples: NumPy float [S] or [S, channels], S samples.
        rate: samples a second.

    Returns:
        `DetectedNote`s in order of time; none if a sample is NaN or infinite.

    Raises:
        ValueError: the array has another shape, or the rate is below 4000.
    """
    samples = np.asarray(samples, np.float64)
    if samples.ndim not in (1, 2) or rate < LOWEST_RATE:
        raise ValueError(
            f"samples are {list(samples.shape)} at {rate} a second; [S] or [S, channels] are needed, at {LOWEST_RATE} "
            "or more"
        )
    if not samples.size or not np.isfinite(samples).all():
        return []
    samples_S = samples.reshape(len(samples), -1).mean(1)
    samples_S -= samples_S.mean()
    level_L = levels(samples_S, rate)
    hop = round(_HOP_S * rate)
    notes = []
    for begin, end in stretches(level_L):
        note_N = samples_S[begin * hop : end * hop]
        key, timbre = None, None
        if (pitch_hz := steady_pitch(note_N, rate)) is not None:
            key = 69 + 12 * float(np.log2(pitch_hz / 440))
            timbre = nearest_timbre(Manner(*_shape(level_L, begin, end), overtones(note_N, rate, pitch_hz)))
        notes.append(DetectedNote(begin * hop / rate, end * hop / rate, key, timbre))
    return notes


def levels(samples_S: np.ndarray, rate: int) -> np.ndarray:
    """Measure the level of a sound over time.

    Args:
        samples_S: NumPy float [S], S samples.
        rate: samples a second.

    Returns:
        NumPy float [L], a level every `_HOP_S` seconds: root mean square around it, less the hiss; all 0 if there is
        nothing but hiss.
    """
    window, hop = round(_WINDOW_S * rate), round(_HOP_S * rate)
    energy = np.cumsum(np.pad(samples_S**2, (window // 2 + 1, window - window // 2)))
    at = np.arange(0, len(samples_S), hop)
    power_L = (energy[at + window] - energy[at]) / window
    hiss = np.quantile(power_L, _HISS)
    if power_L.max() < max(_SILENCE**2, _ABOVE_HISS**2 * hiss):
        return np.zeros(len(at))
    return np.sqrt(np.maximum(power_L - hiss, 0))


def stretches(level_L: np.ndarray) -> list[tuple[int, int]]:
    """Find the notes in L levels, NumPy float [L] as of `levels`: (begin, end) of each, in order, as their indices."""
    edges = np.flatnonzero(np.diff(np.pad(level_L > _OFF * level_L.max(), 1))).tolist()
    joined: list[tuple[int, int]] = []
    for begin, end in zip(edges[::2], edges[1::2]):
        if joined and (begin - joined[-1][1]) * _HOP_S < _GAP_S:
            begin, _ = joined.pop()
        joined.append((begin, end))
    loud = _ON * level_L.max()
    return [(b, e) for b, e in joined if (e - b) * _HOP_S >= _SHORTEST_S and level_L[b:e].max() > loud]


def steady_pitch(note_N: np.ndarray, rate: int) -> float | None:
    """Estimate the pitch of a note, which both halves must share within half a semitone.

    Args:
        note_N: N samples of the note, NumPy float [N].
        rate: samples a second.

    Returns:
        Fundamental frequency in Hz; None if the halves differ or have no pitch.
    """
    pitch_hz, *halves_hz = (period_pitch(part, rate) for part in (note_N, *np.array_split(note_N, 2)))
    if pitch_hz is None or any(abs(12 * np.log2(half_hz / pitch_hz)) >= 0.5 for half_hz in halves_hz if half_hz):
        return None
    return pitch_hz


def period_pitch(note_N: np.ndarray, rate: int) -> float | None:
    """Estimate the fundamental frequency by autocorrelation.

    The autocorrelation is the inverse transform of the power spectrum (Wiener-Khinchin), zero-padded to interpolate
    between samples. Multiples of the period are peaks as well: the first high one counts (McLeod and Wyvill, 2005).

    Args:
        note_N: N samples of the note, NumPy float [N].
        rate: samples a second.

    Returns:
        Frequency in Hz; None for a note without a period.
    """
    size = 1 << (2 * len(note_N) - 1).bit_length()
    power_F = abs(np.fft.rfft(note_N, size)) ** 2
    power_F[-1] /= 2  # the transform of real samples holds it once, the longer one twice
    fine = max(1, -(-_FINE_RATE // rate))
    lags = np.fft.irfft(power_F, size * fine)[: int(fine * rate / _LOWEST_HZ) + 2]
    below = np.flatnonzero(lags < 0)
    begin = max(int(fine * rate / _HIGHEST_HZ), int(below[0]) if len(below) else len(lags))
    peaks = np.flatnonzero((lags[1:-1] >= lags[:-2]) & (lags[1:-1] > lags[2:])) + 1
    peaks = peaks[peaks >= begin]
    if not len(peaks) or lags[peaks].max() < _CLEAR * lags[0]:
        return None
    return fine * rate / int(peaks[lags[peaks] >= _FIRST * lags[peaks].max()][0])


def overtones(note_N: np.ndarray, rate: int, pitch_hz: float) -> float:
    """Measure the overtones of a note.

    Args:
        note_N: N samples of the note, NumPy float [N].
        rate: samples a second.
        pitch_hz: fundamental frequency in Hz.

    Returns:
        Energy of harmonics 2 to `_HARMONICS` as a part of that of harmonics 1 to `_HARMONICS`.
    """
    size = max(len(note_N), rate)  # frequencies are a hertz apart, or less
    power_F = abs(np.fft.rfft(note_N * np.hanning(len(note_N)), size)) ** 2
    harmonic_F = np.fft.rfftfreq(size, 1 / rate) / pitch_hz
    energies = [power_F[abs(harmonic_F - k) <= _WIDTH].sum() for k in range(1, _HARMONICS + 1)]
    return float(1 - energies[0] / sum(energies))


def nearest_timbre(manner: Manner) -> str:
    """Return the name of the timbre of `MANNERS`, such as `plucked`, that is nearest to a `Manner`."""
    return min(MANNERS, key=lambda timbre: manner.distance(MANNERS[timbre]))


def _shape(level_L: np.ndarray, begin: int, end: int) -> tuple[float, float]:
    """Return `held` and `attack_s` of `Manner` for a note."""
    loudest = level_L[begin:end].max()
    held = level_L[begin:end][: round(_HELD_S / _HOP_S)].sum() * _HOP_S / _HELD_S / loudest
    high = begin + int((level_L[begin:end] >= 0.8 * loudest).argmax())
    low = np.flatnonzero(level_L[:high] <= 0.2 * loudest)
    rise = high - int(low[-1]) if len(low) else high + 1
    return float(held), rise * _HOP_S
