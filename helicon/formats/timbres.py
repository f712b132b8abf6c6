"""General MIDI as data: the families of instruments, how each sounds when synthesised, and the drum kit."""

from __future__ import annotations

from dataclasses import dataclass

from helicon.formats.score import DRUMS


@dataclass(frozen=True)
class Timbre:
    """How a family sounds.

    harmonics: amplitudes of the fundamental, its octave, ...; the first is the largest, so the pitch is plain.
    attack_s, release_s: time to rise, and to fall after the note's end. ring_s: time for a struck or plucked middle C
    to fall to 1/e, longer below and shorter above; None for tones that last as long as they are held.
    damping: how much faster than the fundamental each further harmonic dies, per second.
    vibrato: depth as a part of the frequency. detune: two players this part of the frequency apart; 0 for one.
    """

    harmonics: tuple[float, ...]
    attack_s: float
    release_s: float
    ring_s: float | None = None
    damping: float = 0.0
    vibrato: float = 0.0
    detune: float = 0.0
    level: float = 1.0


FAMILIES: dict[str, Timbre] = {  # eight programs each, in the order of General MIDI; the drum kit comes last
    "piano": Timbre((1, 0.55, 0.32, 0.2, 0.12, 0.09, 0.05, 0.03), 0.003, 0.16, 1.1, 1.1, level=1.1),
    "chromatic percussion": Timbre((1, 0.05, 0.02, 0.35, 0, 0, 0, 0, 0.08), 0.002, 0.3, 0.7, 1.5),
    "organ": Timbre((1, 0.6, 0.35, 0.35, 0, 0.2, 0, 0.15), 0.02, 0.08, level=0.8),
    "guitar": Timbre((1, 0.7, 0.5, 0.3, 0.22, 0.14, 0.1, 0.06, 0.04), 0.003, 0.12, 0.7, 2.2, level=1.05),
    "bass": Timbre((1, 0.6, 0.3, 0.15, 0.08), 0.005, 0.08, 0.9, 2.0, level=1.3),
    "strings": Timbre((1, 0.6, 0.45, 0.3, 0.22, 0.16, 0.1, 0.07), 0.04, 0.14, vibrato=0.004, level=0.75),
    "ensemble": Timbre((1, 0.55, 0.4, 0.25, 0.16, 0.1, 0.06), 0.06, 0.25, detune=0.003, level=0.7),
    "brass": Timbre((1, 0.75, 0.6, 0.45, 0.3, 0.2, 0.12, 0.08), 0.025, 0.09, vibrato=0.002, level=0.75),
    "reed": Timbre((1, 0.15, 0.55, 0.12, 0.3, 0.08, 0.12), 0.02, 0.08, vibrato=0.002, level=0.75),
    "pipe": Timbre((1, 0.25, 0.12, 0.04), 0.03, 0.1, vibrato=0.004),
    "synth lead": Timbre((1, 0.5, 0.33, 0.25, 0.2, 0.17, 0.14), 0.008, 0.08, detune=0.002, level=0.65),
    "synth pad": Timbre((1, 0.45, 0.25, 0.12, 0.06), 0.12, 0.45, detune=0.004, level=0.7),
    "synth effects": Timbre((1, 0.3, 0.4, 0.15, 0.2), 0.05, 0.4, 2.0, 0.3, detune=0.004, level=0.7),
    "ethnic": Timbre((1, 0.75, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1), 0.003, 0.1, 0.45, 2.0),
    "percussive": Timbre((1, 0.2, 0.3, 0.1, 0.12), 0.002, 0.15, 0.25, 4.0, level=1.2),
    "sound effects": Timbre((1, 0.2, 0.1), 0.03, 0.2, 1.0, 1.0, level=0.6),
    "drums": Timbre((1,), 0.001, 0.01),
}
FAMILY_NAMES = tuple(FAMILIES)

# Plucked and struck instruments that General MIDI files under a family of bowed ones, and the keyboard that plucks.
_SOUNDS_LIKE = {6: "guitar", 45: "guitar", 46: "guitar", 47: "percussive"}


def family_of(program: int) -> str:
    """Name of the General MIDI family of a program, 0-127, or of DRUMS."""
    return FAMILY_NAMES[min(program, DRUMS) // 8]


def timbre_of(program: int) -> Timbre:
    """How a program, 0-127, sounds."""
    return FAMILIES[_SOUNDS_LIKE.get(program, family_of(program))]


@dataclass(frozen=True)
class Drum:
    """A drum's sound: a tone that glides from `start_hz` to `end_hz`, and noise.

    tone, noise: their amplitudes. ring_s: time to fall to 1/e. brightness: times the noise is differentiated, which
    takes the low frequencies away.
    """

    name: str
    start_hz: float
    end_hz: float
    tone: float
    noise: float
    ring_s: float
    brightness: int = 0


_KICK = Drum("kick", 150, 48, 1.0, 0.06, 0.11)
_RIM = Drum("rim", 1700, 1650, 0.4, 0.25, 0.018, 1)
_SNARE = Drum("snare", 230, 175, 0.4, 0.5, 0.075, 1)
_CLAP = Drum("clap", 900, 900, 0.0, 0.6, 0.055, 1)
_HAT = Drum("hi-hat", 8000, 8000, 0.0, 0.3, 0.022, 2)
_OPEN_HAT = Drum("open hat", 8000, 8000, 0.0, 0.3, 0.14, 2)
_CYMBAL = Drum("cymbal", 5000, 5000, 0.0, 0.32, 0.45, 2)
_RIDE = Drum("ride", 5200, 5200, 0.05, 0.2, 0.22, 2)
_BELL = Drum("bell", 1250, 1250, 0.4, 0.04, 0.09, 1)
_SHAKER = Drum("shaker", 6000, 6000, 0.0, 0.25, 0.035, 2)
_BLOCK = Drum("block", 1900, 1850, 0.6, 0.05, 0.02, 1)
_TRIANGLE = Drum("triangle", 4800, 4800, 0.2, 0.03, 0.3, 2)
_OTHER = Drum("other", 500, 400, 0.3, 0.3, 0.05, 1)


def _skin(name: str, end_hz: float) -> Drum:
    """A tom, conga or bongo that settles at `end_hz`."""
    return Drum(name, 1.5 * end_hz, end_hz, 0.75, 0.06, 0.13)


_DRUM_KIT: dict[int, Drum] = {
    35: _KICK, 36: _KICK, 37: _RIM, 38: _SNARE, 39: _CLAP, 40: _SNARE, 42: _HAT, 44: _HAT, 46: _OPEN_HAT,
    41: _skin("tom", 75), 43: _skin("tom", 90), 45: _skin("tom", 110), 47: _skin("tom", 130), 48: _skin("tom", 155),
    50: _skin("tom", 185), 49: _CYMBAL, 52: _CYMBAL, 55: _CYMBAL, 57: _CYMBAL, 51: _RIDE, 53: _RIDE, 59: _RIDE,
    54: _SHAKER, 69: _SHAKER, 70: _SHAKER, 82: _SHAKER, 56: _BELL, 67: _BELL, 68: _BELL, 80: _TRIANGLE, 81: _TRIANGLE,
    60: _skin("conga", 330), 61: _skin("conga", 240), 62: _skin("conga", 290), 63: _skin("conga", 270),
    64: _skin("conga", 200), 65: _skin("conga", 350), 66: _skin("conga", 250), 75: _BLOCK, 76: _BLOCK, 77: _BLOCK,
}  # fmt: skip

DRUM_NAMES = tuple(dict.fromkeys(drum.name for drum in (*_DRUM_KIT.values(), _OTHER)))  # the kick first


def drum_of(note: int) -> Drum:
    """The drum that a note on the percussion channel strikes."""
    return _DRUM_KIT.get(note, _OTHER)
