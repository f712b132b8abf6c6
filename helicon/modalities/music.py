"""Music as MIDI files. The slot `style` holds label, instruments and tempo of a piece, the slot `music` its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from helicon.formats.checked import one_of
from helicon.formats.midi import Pedal, read_midi
from helicon.formats.midi_bytes import MAX_BYTES
from helicon.formats.midi_write import write_midi
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Score
from helicon.modalities.base import Modality, TokenizerSpec, parse_amount, with_label
from helicon.tokenizers.augment import MusicRanges
from helicon.tokenizers.instruments import MUSENET, general_midi
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.musenet import header, parse_header
from helicon.tokenizers.style import StyleTokenizer, all_sets
from helicon.tokenizers.survey import MusicSurvey

# Suffixes of music in other forms: notation, tablature, modules of samples
NOTATION: tuple[str, ...] = (
    ".musicxml", ".mxl", ".xml", ".mscz", ".mscx", ".abc", ".krn", ".ly", ".sib", ".mus", ".musx", ".ptb", ".gp",
    ".gp3", ".gp4", ".gp5", ".gpx", ".mod", ".xm", ".it", ".s3m",
)  # fmt: skip
SAMPLE_RATE = 22050  # samples a second of a preview's sound: half of a CD's, for half of the time and size


@dataclass(frozen=True)
class MusicOptions:
    """Options of reading MIDI files.

    Args:
        pedal: whether the sustain pedal extends notes, `extend`, or not, `drop`; `extend` unless given.
    """

    pedal: Pedal = "extend"

    def __post_init__(self) -> None:
        one_of("pedal", self.pedal, get_args(Pedal))


def read_file(path: Path, options: MusicOptions) -> tuple[Score, ReadReport]:
    """Read a MIDI file.

    Args:
        path: of the file.
        options: `MusicOptions`, how the sustain pedal is treated.

    Returns:
        `Score`, with a label if Helicon wrote the file, and a `ReadReport` of what was dropped and repaired.

    Raises:
        OSError: the file cannot be read.
        ValueError: no MIDI file.
    """
    score, report = read_midi(path, options.pedal)
    try:
        label = parse_header(report.text).label
    except ValueError:  # a text of somebody else's
        label = None
    return replace(score, label=label), report


def write(media: Score, path: Path) -> None:
    """Write a MIDI file, with the words of MuseNet's header in a text event.

    Args:
        media: the `Score`.
        path: of the file.
    """
    write_midi(media, path, text=" ".join(header(media)))


def preview(media: Score, path: Path) -> list[Path]:
    """Draw a piano roll and render a plain sound, of the first minutes at most.

    Args:
        media: the `Score`.
        path: of the MIDI file; the preview is beside it.

    Returns:
        Paths of the picture (PNG) and the sound (WAV).
    """
    from helicon.formats.plots import piano_roll  # these load plotting and sound, which reading does not need
    from helicon.formats.synth import beginning, render, write_wav

    media = beginning(media)
    picture, sound = path.with_suffix(".png"), path.with_suffix(".wav")
    piano_roll(media, picture)
    write_wav(render(media, SAMPLE_RATE), sound, SAMPLE_RATE)
    return [picture, sound]


def keep(media: Score, amount: str) -> Score:
    """Cut a piece to its beginning.

    Args:
        media: the `Score`.
        amount: seconds, such as `8s`, or a share of the duration, such as `0.5`.

    Returns:
        `Score` of the notes that begin before the cut, shortened to it.

    Raises:
        ValueError: an invalid amount.
    """
    return media.between(0.0, parse_amount(amount, media.seconds, "s"))


def join(parts: Mapping[str, Any]) -> Score:
    """Combine the media decoded from each slot, by name of the slot, to a `Score`.

    It is the `Score` of `music`, with label and tempo of the `Style` of `style`, if the layout has it.
    """
    return parts["style"].applied_to(parts["music"]) if "style" in parts else parts["music"]


def fit_music(surveys: Iterable[MusicSurvey], volume_margin: int = 1) -> MidiTokenizer:
    """Make the tokenizer of the General MIDI families that occur.

    Args:
        surveys: `MusicSurvey`s of the training pieces.
        volume_margin: number of volumes, steps of 8 in velocity, beyond those that occur, for augmentation.

    Returns:
        The tokenizer.
    """
    return MidiTokenizer(general_midi(MusicSurvey.merged(surveys), volume_margin))


def fit_style(
    surveys: Iterable[MusicSurvey], siblings: Mapping[str, str] | None = None, max_labels: int = 1024
) -> StyleTokenizer:
    """Make the tokenizer of labels, sets of instruments and tempo.

    With General MIDI instruments it has words for the sets that occur, with MuseNet's for all sets.

    Args:
        surveys: `MusicSurvey`s of the training pieces.
        siblings: slot -> name of the tokenizer of each slot of the layout; that of `music` decides the instruments.
        max_labels: greatest number of labels.

    Returns:
        The tokenizer.
    """
    survey = MusicSurvey.merged(surveys)
    if (siblings or {}).get("music") == "musenet":
        return StyleTokenizer.fit(MUSENET, survey, all_sets(MUSENET), max_labels)
    return StyleTokenizer.fit(general_midi(survey), survey, max_labels=max_labels)


def extend_style(tokenizer: StyleTokenizer, surveys: Iterable[MusicSurvey]) -> StyleTokenizer:
    """Add labels to a tokenizer.

    Args:
        tokenizer: `StyleTokenizer` of the slot `style`.
        surveys: `MusicSurvey`s of pieces with new labels.

    Returns:
        The tokenizer with the old labels, then the new ones.
    """
    return tokenizer.grow(sorted(MusicSurvey.merged(surveys).labels))


MUSIC = Modality(
    name="music",
    suffixes=(".mid", ".midi", ".kar", ".rmi", ".smf", ".mid.gz", ".midi.gz"),
    remedies=dict.fromkeys(NOTATION, "export as .mid"),
    read_file=read_file,
    options=MusicOptions,
    write=write,
    preview=preview,
    survey=MusicSurvey.of,
    labelled=with_label,
    keep=keep,
    max_bytes=MAX_BYTES,
    join=join,
    augmentation=MusicRanges,
    media={"music": Score},
    slots={
        "music": {
            "music": TokenizerSpec(make=fit_music, from_state=MidiTokenizer.from_state),
            "musenet": TokenizerSpec(
                make=partial(MidiTokenizer, MUSENET), from_state=MidiTokenizer.from_state, needs_fit=False
            ),
        },
        "style": {
            "style": TokenizerSpec(make=fit_style, from_state=StyleTokenizer.from_state, extend_vocabulary=extend_style)
        },
    },
)
