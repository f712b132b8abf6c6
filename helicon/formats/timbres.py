"""General MIDI as data: families of instruments, their synthesis parameters, and the drum kit."""

from __future__ import annotations

from dataclasses import dataclass

from helicon.formats.score import DRUMS


@dataclass(frozen=True, kw_only=True)
class FamilyTimbre:
    """Synthesis parameters of a family of instruments.

    Attributes:
        harmonics: amplitudes of the fundamental, its octave, ...; the first is the largest, so that the pitch is clear.
        attack_s: rise time in seconds.
        release_s: fall time after the note's end, in seconds.
        ring_s: seconds for a struck or plucked middle C to fall to 1/e, longer below and shorter above; None for tones
            that last as long as they are held.
        damping: decay rate of each further harmonic beyond the fundamental's, per second.
        vibrato: depth as a part of the frequency.
        detune: distance of two unison players as a part of the frequency; 0 for one player.
        level: loudness relative to the other families.
    """

    harmonics: tuple[float, ...]
    attack_s: float
    release_s: float
    ring_s: float | None = None
    damping: float = 0.0
    vibrato: float = 0.0
    detune: float = 0.0
    level: float = 1.0


FAMILIES: dict[str, FamilyTimbre] = {  # eight programs each, in the order of General MIDI; the drum kit comes last
    "piano": FamilyTimbre(
        harmonics=(1, 0.55, 0.32, 0.2, 0.12, 0.09, 0.05, 0.03),
        attack_s=0.003,
        release_s=0.16,
        ring_s=1.1,
        damping=1.1,
        level=1.1,
    ),
    "chromatic percussion": FamilyTimbre(
        harmonics=(1, 0.05, 0.02, 0.35, 0, 0, 0, 0, 0.08), attack_s=0.002, release_s=0.3, ring_s=0.7, damping=1.5
    ),
    "organ": FamilyTimbre(harmonics=(1, 0.6, 0.35, 0.35, 0, 0.2, 0, 0.15), attack_s=0.02, release_s=0.08, level=0.8),
    "guitar": FamilyTimbre(
        harmonics=(1, 0.7, 0.5, 0.3, 0.22, 0.14, 0.1, 0.06, 0.04),
        attack_s=0.003,
        release_s=0.12,
        ring_s=0.7,
        damping=2.2,
        level=1.05,
    ),
    "bass": FamilyTimbre(
        harmonics=(1, 0.6, 0.3, 0.15, 0.08), attack_s=0.005, release_s=0.08, ring_s=0.9, damping=2.0, level=1.3
    ),
    "strings": FamilyTimbre(
        harmonics=(1, 0.6, 0.45, 0.3, 0.22, 0.16, 0.1, 0.07), attack_s=0.04, release_s=0.14, vibrato=0.004, level=0.75
    ),
    "ensemble": FamilyTimbre(
        harmonics=(1, 0.55, 0.4, 0.25, 0.16, 0.1, 0.06), attack_s=0.06, release_s=0.25, detune=0.003, level=0.7
    ),
    "brass": FamilyTimbre(
        harmonics=(1, 0.75, 0.6, 0.45, 0.3, 0.2, 0.12, 0.08), attack_s=0.025, release_s=0.09, vibrato=0.002, level=0.75
    ),
    "reed": FamilyTimbre(
        harmonics=(1, 0.15, 0.55, 0.12, 0.3, 0.08, 0.12), attack_s=0.02, release_s=0.08, vibrato=0.002, level=0.75
    ),
    "pipe": FamilyTimbre(harmonics=(1, 0.25, 0.12, 0.04), attack_s=0.03, release_s=0.1, vibrato=0.004),
    "synth lead": FamilyTimbre(
        harmonics=(1, 0.5, 0.33, 0.25, 0.2, 0.17, 0.14), attack_s=0.008, release_s=0.08, detune=0.002, level=0.65
    ),
    "synth pad": FamilyTimbre(
        harmonics=(1, 0.45, 0.25, 0.12, 0.06), attack_s=0.12, release_s=0.45, detune=0.004, level=0.7
    ),
    "synth effects": FamilyTimbre(
        harmonics=(1, 0.3, 0.4, 0.15, 0.2),
        attack_s=0.05,
        release_s=0.4,
        ring_s=2.0,
        damping=0.3,
        detune=0.004,
        level=0.7,
    ),
    "ethnic": FamilyTimbre(
        harmonics=(1, 0.75, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1), attack_s=0.003, release_s=0.1, ring_s=0.45, damping=2.0
    ),
    "percussive": FamilyTimbre(
        harmonics=(1, 0.2, 0.3, 0.1, 0.12), attack_s=0.002, release_s=0.15, ring_s=0.25, damping=4.0, level=1.2
    ),
    "sound effects": FamilyTimbre(
        harmonics=(1, 0.2, 0.1), attack_s=0.03, release_s=0.2, ring_s=1.0, damping=1.0, level=0.6
    ),
    "drums": FamilyTimbre(harmonics=(1,), attack_s=0.001, release_s=0.01),
}
FAMILY_NAMES = tuple(FAMILIES)

# Plucked and struck instruments that General MIDI files under a family of bowed ones, and the keyboard that plucks.
_SOUNDS_LIKE = {6: "guitar", 45: "guitar", 46: "guitar", 47: "percussive"}


def family_of(program: int) -> str:
    """Return the name of the General MIDI family of a program, 0-127, or of DRUMS."""
    return FAMILY_NAMES[min(program, DRUMS) // 8]


def timbre_of(program: int) -> FamilyTimbre:
    """Return the `FamilyTimbre` that a program, 0-127, is synthesised with."""
    return FAMILIES[_SOUNDS_LIKE.get(program, family_of(program))]


@dataclass(frozen=True, kw_only=True)
class Drum:
    """Synthesis parameters of a drum: a tone that glides from `start_hz` to `end_hz`, and noise.

    Attributes:
        name: row of the drum in a piano roll.
        start_hz: initial frequency of the tone in Hz.
        end_hz: final frequency of the tone in Hz.
        tone: amplitude of the tone.
        noise: amplitude of the noise.
        ring_s: time to fall to 1/e, in seconds.
        brightness: times the noise is differentiated, which removes low frequencies.
    """

    name: str
    start_hz: float
    end_hz: float
    tone: float
    noise: float
    ring_s: float
    brightness: int = 0


_KICK = Drum(name="kick", start_hz=150, end_hz=48, tone=1.0, noise=0.06, ring_s=0.11)
_RIM = Drum(name="rim", start_hz=1700, end_hz=1650, tone=0.4, noise=0.25, ring_s=0.018, brightness=1)
_SNARE = Drum(name="snare", start_hz=230, end_hz=175, tone=0.4, noise=0.5, ring_s=0.075, brightness=1)
_CLAP = Drum(name="clap", start_hz=900, end_hz=900, tone=0.0, noise=0.6, ring_s=0.055, brightness=1)
_HAT = Drum(name="hi-hat", start_hz=8000, end_hz=8000, tone=0.0, noise=0.3, ring_s=0.022, brightness=2)
_OPEN_HAT = Drum(name="open hat", start_hz=8000, end_hz=8000, tone=0.0, noise=0.3, ring_s=0.14, brightness=2)
_CYMBAL = Drum(name="cymbal", start_hz=5000, end_hz=5000, tone=0.0, noise=0.32, ring_s=0.45, brightness=2)
_RIDE = Drum(name="ride", start_hz=5200, end_hz=5200, tone=0.05, noise=0.2, ring_s=0.22, brightness=2)
_BELL = Drum(name="bell", start_hz=1250, end_hz=1250, tone=0.4, noise=0.04, ring_s=0.09, brightness=1)
_SHAKER = Drum(name="shaker", start_hz=6000, end_hz=6000, tone=0.0, noise=0.25, ring_s=0.035, brightness=2)
_BLOCK = Drum(name="block", start_hz=1900, end_hz=1850, tone=0.6, noise=0.05, ring_s=0.02, brightness=1)
_TRIANGLE = Drum(name="triangle", start_hz=4800, end_hz=4800, tone=0.2, noise=0.03, ring_s=0.3, brightness=2)
_OTHER = Drum(name="other", start_hz=500, end_hz=400, tone=0.3, noise=0.3, ring_s=0.05, brightness=1)


def _skin(name: str, end_hz: float) -> Drum:
    """Return a tom, conga or bongo that settles at `end_hz`."""
    return Drum(name=name, start_hz=1.5 * end_hz, end_hz=end_hz, tone=0.75, noise=0.06, ring_s=0.13)


# By note number of General MIDI's percussion key map
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
    """Return the `Drum` of a note number, 0-127, on the percussion channel."""
    return _DRUM_KIT.get(note, _OTHER)
