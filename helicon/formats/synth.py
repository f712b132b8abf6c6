"""Small software synthesiser, so that a score can be heard without sound fonts or other programs.

A tone is computed once for each instrument and pitch, as long as its longest note; every note is an excerpt of it.

Shapes: S samples, all sounds are mono.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from helicon.formats.audio import Sound, write_audio
from helicon.formats.score import DRUMS, Score
from helicon.formats.timbres import Drum, FamilyTimbre, drum_of, timbre_of

TAIL_S = 1.0  # sound after the last note's end, the last part of it faded
FADE_S = 0.4  # last part of the tail, faded out
LONGEST_NOTE_S = 30.0  # a note that is held longer than this falls silent
# Of a preview: seconds, notes, seconds of different tones and of all notes together
MAX_S, MAX_NOTES, MAX_TONE_S, MAX_SOUND_S = 600.0, 10_000, 600.0, 6000.0
RELEASE_S = 0.3  # of a tone after its end, about
_VIBRATO_HZ = 5.2  # about that of players
_CHUNK = 1 << 14  # samples of a tone that are made at a time
_LOUD, _KNEE = 0.5, 0.7  # the level that loud pieces are turned down to; the level above which peaks are bent
# (delay in seconds, gain) of a Schroeder reverberator: four combs side by side, then an all-pass.
_COMBS = ((0.0297, 0.74), (0.0371, 0.72), (0.0411, 0.70), (0.0437, 0.69))
_ALL_PASS = (0.0051, 0.6)
_WET = 0.03  # gain of the reverberation


def render(score: Score, sample_rate: int = 22050) -> np.ndarray:
    """Synthesise a score.

    Loud pieces are turned down, soft ones stay soft. Pitches above half the sample rate are silent.

    Args:
        score: `Score` to play.
        sample_rate: samples a second.

    Returns:
        Mono samples, NumPy float32 [S] in [-1, 1], `TAIL_S` seconds longer than the score; silence if it has no notes.
    """
    mix_S = np.zeros(int(np.ceil((score.seconds + TAIL_S) * sample_rate)), np.float32)
    if not len(score):
        return mix_S
    start = np.rint(score.onset_s * sample_rate).astype(np.int64)
    held = np.rint(np.minimum(score.end_s - score.onset_s, LONGEST_NOTE_S) * sample_rate).astype(np.int64)
    gain = 0.2 * (score.velocity / 127.0) ** 1.5
    for program, pitch in np.unique(np.stack([score.program, score.pitch]), axis=1).T:
        notes = np.flatnonzero((score.program == program) & (score.pitch == pitch))
        if program == DRUMS:
            hit = _hit(drum_of(int(pitch)), int(pitch), sample_rate)
            for i in notes:
                _add(mix_S, start[i], gain[i] * hit)
            continue
        timbre = timbre_of(int(program))
        release = _release(timbre, sample_rate)
        tone = _tone(timbre, int(pitch), int(held[notes].max()) + len(release), sample_rate)
        for i in notes:
            sound = gain[i] * tone[: held[i] + len(release)]
            sound[held[i] :] *= release
            _add(mix_S, start[i], sound)
    return _master(mix_S + _WET * _reverberation(mix_S, sample_rate), sample_rate)


def beginning(score: Score) -> Score:
    """Cut a `Score` to a preview, a `Score` of MAX_S seconds, or less where its notes are too many or too long.

    A final rest is left out.
    """
    notes = score.between(0.0, MAX_S)
    if len(notes) > MAX_NOTES:
        notes = notes.between(0.0, float(notes.onset_s[MAX_NOTES]))
    held_s = np.minimum(notes.end_s - notes.onset_s, LONGEST_NOTE_S)
    end_tick = np.minimum(notes.notes.end_tick, notes.clock.ticks(notes.onset_s + held_s))
    notes = replace(notes, notes=replace(notes.notes, end_tick=end_tick))
    tone = notes.program.astype(np.int64) << 8 | notes.pitch
    # Seconds of tones that have to be computed up to each note, at least: each is as long as its longest note so far
    order = np.argsort(tone, kind="stable")
    offset_s = np.cumsum(np.diff(tone[order], prepend=-1) != 0) * 2 * LONGEST_NOTE_S
    longest_s = np.maximum.accumulate(held_s[order] + offset_s) - offset_s
    begins = np.diff(tone[order], prepend=-1) != 0
    more_s = np.zeros(len(notes))
    more_s[order] = np.where(begins, longest_s + RELEASE_S, np.diff(longest_s, prepend=0.0))
    over = (np.cumsum(more_s) > MAX_TONE_S) | (np.cumsum(held_s) > MAX_SOUND_S)
    return notes.between(0.0, float(notes.onset_s[over.argmax()])) if over.any() else notes


def write_wav(samples: np.ndarray, path: str | os.PathLike[str], sample_rate: int = 22050) -> None:
    """Write samples as a 16-bit WAV file, atomically.

    Args:
        samples: NumPy float [S], or [S, C] with C channels, S samples in [-1, 1].
        path: path of the file, with the suffix `.wav`.
        sample_rate: samples a second.
    """
    write_audio(Sound(samples[:, None] if samples.ndim == 1 else samples, sample_rate), path)


def _tone(timbre: FamilyTimbre, pitch: int, length: int, sample_rate: int) -> np.ndarray:
    """Synthesise a held note, float32 [length], from its attack on.

    Harmonic k of a damped string is a_k e^(-k d t) sin(k w t): the imaginary part of a polynomial with coefficients a_k
    in z = e^((-d + iw) t), so that a tone costs one exponential however many harmonics it has.
    """
    frequency_hz = 440.0 * 2.0 ** ((pitch - 69) / 12)
    audible = timbre.harmonics[: int(0.47 * sample_rate / frequency_hz)]
    if not audible:
        return np.zeros(length, np.float32)
    coefficients = np.array([*reversed(audible), 0.0], np.float32)
    loudness = timbre.level / np.sqrt(np.square(timbre.harmonics).sum() * (2 if timbre.detune else 1))
    tone = np.zeros(length, np.float32)
    for start in range(0, length, _CHUNK):  # a piece and what is made of it stay in the processor's cache
        t_s = np.arange(start, min(start + _CHUNK, length)) / sample_rate
        # Vibrato comes in late, as players do it.
        depth = timbre.vibrato * frequency_hz / (2 * np.pi * _VIBRATO_HZ) * np.clip((t_s - 0.2) / 0.3, 0.0, 1.0)
        wobble = depth * np.sin(2 * np.pi * _VIBRATO_HZ * t_s) if timbre.vibrato else 0.0
        envelope = loudness * np.minimum(t_s / timbre.attack_s, 1.0)
        if timbre.ring_s is not None:
            envelope *= np.exp(-t_s / (timbre.ring_s * 2.0 ** ((60 - pitch) / 24)))
        for part in (-0.5, 0.5) if timbre.detune else (0.0,):
            cycles = frequency_hz * (1 + part * timbre.detune) * t_s + wobble
            angle = (2 * np.pi * (cycles - np.floor(cycles))).astype(np.float32)  # small enough for 24 bits
            z = np.exp(-timbre.damping * t_s).astype(np.float32) * (np.cos(angle) + 1j * np.sin(angle))
            tone[start : start + _CHUNK] += envelope * np.polyval(coefficients, z).imag
    return tone


def _release(timbre: FamilyTimbre, sample_rate: int) -> np.ndarray:
    """Return the release envelope of a timbre, float32, from 1 to 0."""
    return np.linspace(1.0, 0.0, max(2, round(timbre.release_s * sample_rate)), dtype=np.float32) ** 2


def _hit(drum: Drum, note: int, sample_rate: int) -> np.ndarray:
    """Synthesise one drum stroke at full velocity, float32. The noise is seeded by the note number."""
    t_s = np.arange(round(5 * drum.ring_s * sample_rate)) / sample_rate
    glide_hz = drum.end_hz + (drum.start_hz - drum.end_hz) * np.exp(-t_s / 0.03)
    tone = np.sin(2 * np.pi * np.cumsum(glide_hz) / sample_rate) if drum.start_hz < 0.47 * sample_rate else 0.0
    noise = np.random.default_rng(note).standard_normal(len(t_s) + drum.brightness)
    # Each difference doubles the power of white noise or more; 2.45 and 1.41 are the square roots of 6 and 2.
    noise = np.diff(noise, n=drum.brightness) / (1.0, 1.41, 2.45)[drum.brightness]
    envelope = np.exp(-t_s / drum.ring_s) * np.minimum(t_s / 0.001, 1.0)
    envelope *= np.linspace(1.0, 0.0, len(t_s)) ** 0.5
    return (2.0 * (drum.tone * tone + drum.noise * noise) * envelope).astype(np.float32)


def _add(mix_S: np.ndarray, start: int, sound: np.ndarray) -> None:
    """Add a sound to the mix in place; samples beyond the mix's end are dropped."""
    end = min(start + len(sound), len(mix_S))
    mix_S[start:end] += sound[: end - start]


def _reverberation(dry_S: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the reverberation without the direct sound, float32 [S] (Schroeder, JAES 10, 1962)."""
    room_S = np.zeros_like(dry_S)
    for delay_s, gain in _COMBS:
        room_S += _comb(dry_S, max(1, round(delay_s * sample_rate)), gain)
    delay_s, gain = _ALL_PASS
    # An all-pass is a comb of which (1 - gain^2) is kept, less `gain` times its input.
    delay = max(1, round(delay_s * sample_rate))
    return _comb(room_S, delay, gain) * (1 - gain**2) - gain * room_S


def _comb(x_S: np.ndarray, delay: int, gain: float) -> np.ndarray:
    """Filter by a feedback comb, float32 [S]: y[n] = x[n - delay] + gain * y[n - delay], `delay` samples at once."""
    y_S = np.zeros_like(x_S)
    for at in range(delay, len(x_S), delay):
        n = min(delay, len(x_S) - at)
        y_S[at : at + n] = x_S[at - delay : at - delay + n] + gain * y_S[at - delay : at - delay + n]
    return y_S


def _master(mix_S: np.ndarray, sample_rate: int) -> np.ndarray:
    """Normalise loud mixes, limit peaks softly and fade out: float32 [S], |y| <= 1."""
    loud = float(np.quantile(np.abs(mix_S), 0.995))
    mix_S = mix_S * np.float32(_LOUD / max(loud, _LOUD))
    over_S = np.maximum(np.abs(mix_S) - _KNEE, 0.0) / (1 - _KNEE)
    limited_S = np.sign(mix_S) * (np.minimum(np.abs(mix_S), _KNEE) + (1 - _KNEE) * np.tanh(over_S))
    fade = round(FADE_S * sample_rate)
    limited_S[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return limited_S.astype(np.float32)
