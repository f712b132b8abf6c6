"""Music as MIDI files. The slot `style` holds what a piece is like, the slot `music` its events."""

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
from helicon.formats.score import ReadReport, Score
from helicon.modalities.base import Modality, TokenizerSpec, amount_of, with_label
from helicon.tokenizers.augment import MusicRanges
from helicon.tokenizers.instruments import MUSENET, general_midi
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.musenet import header, parse_header
from helicon.tokenizers.style import StyleTokenizer, all_sets
from helicon.tokenizers.survey import MusicSurvey

SAMPLE_RATE = 22050  # of the sound of a preview


@dataclass(frozen=True)
class MusicOptions:
    """How MIDI files are read.

    Args:
        pedal: whether the sustain pedal extends notes, `extend`, or not, `drop`; `extend` unless given.
    """

    pedal: Pedal = "extend"

    def __post_init__(self) -> None:
        one_of("pedal", self.pedal, get_args(Pedal))


def read_file(path: Path, options: MusicOptions) -> tuple[Score, ReadReport]:
    """Score of a MIDI file, labelled if we wrote it, and what was dropped and repaired on the way."""
    score, report = read_midi(path, options.pedal)
    try:
        label = parse_header(report.text).label
    except ValueError:  # not a header that we wrote
        label = None
    return replace(score, label=label), report


def write(media: Score, path: Path) -> None:
    """A MIDI file with its header words as a text event."""
    write_midi(media, path, text=" ".join(header(media)))


def preview(media: Score, path: Path) -> list[Path]:
    """A piano roll and a plain rendering of the sound, of the first minutes at most."""
    from helicon.formats.plots import piano_roll  # these load plotting and sound, which reading does not need
    from helicon.formats.synth import beginning, render, write_wav

    media = beginning(media)
    picture, sound = path.with_suffix(".png"), path.with_suffix(".wav")
    piano_roll(media, picture)
    write_wav(render(media, SAMPLE_RATE), sound, SAMPLE_RATE)
    return [picture, sound]


def keep(media: Score, amount: str) -> Score:
    """The notes that begin in the first seconds (`8s`) or share of the piece, cut where that ends."""
    return media.between(0.0, amount_of(amount, media.seconds, "s"))


def join(parts: Mapping[str, Any]) -> Score:
    """The score, with label and tempo of the style if there is one."""
    return parts["style"].applied_to(parts["music"]) if "style" in parts else parts["music"]


def fit_music(surveys: Iterable[MusicSurvey], volume_margin: int = 1) -> MidiTokenizer:
    """Events of the General MIDI families found, with `volume_margin` steps of volume more for augmentation."""
    return MidiTokenizer(general_midi(MusicSurvey.merged(surveys), volume_margin))


def fit_style(
    surveys: Iterable[MusicSurvey], siblings: Mapping[str, str] | None = None, max_labels: int = 1024
) -> StyleTokenizer:
    """Labels found, and sets of the instruments that the tokenizer of the slot `music`, named in `siblings`, has.

    A style of General MIDI has words for the sets found, one of MuseNet for all of its own.
    """
    survey = MusicSurvey.merged(surveys)
    if (siblings or {}).get("music") == "musenet":
        return StyleTokenizer.fit(MUSENET, survey, all_sets(MUSENET), max_labels)
    return StyleTokenizer.fit(general_midi(survey), survey, max_labels=max_labels)


def grow_style(tokenizer: StyleTokenizer, surveys: Iterable[MusicSurvey]) -> StyleTokenizer:
    """With the labels found added."""
    return tokenizer.grow(sorted(MusicSurvey.merged(surveys).labels))


MUSIC = Modality(
    name="music",
    suffixes=(".mid", ".midi", ".kar", ".rmi"),
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
    slots={
        "music": {
            "music": TokenizerSpec(make=fit_music, from_state=MidiTokenizer.from_state),
            "musenet": TokenizerSpec(
                make=partial(MidiTokenizer, MUSENET), from_state=MidiTokenizer.from_state, needs_fit=False
            ),
        },
        "style": {
            "style": TokenizerSpec(make=fit_style, from_state=StyleTokenizer.from_state, extend_vocabulary=grow_style)
        },
    },
)
