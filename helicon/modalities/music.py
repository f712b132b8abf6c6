"""Music as MIDI files. The slot `style` holds what a piece is like, the slot `music` its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from helicon.formats.midi import Pedal, read_midi, write_midi
from helicon.formats.score import ReadReport, Score
from helicon.modalities.base import Modality, TokenizerKind
from helicon.tokenizers.augment import draw_change
from helicon.tokenizers.instruments import MUSENET, InstrumentTable, general_midi
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.musenet import header, parse_header
from helicon.tokenizers.style import StyleTokenizer, all_sets, found_sets, slug
from helicon.tokenizers.survey import MusicSurvey

SAMPLE_RATE = 22050  # of the sound of a preview

# Tokenizer's name -> its table, and the instruments sets that a style can ask for.
PRESETS: dict[str, tuple[Callable[[MusicSurvey], InstrumentTable], Callable[..., tuple[str, ...]]]] = {
    "music": (general_midi, found_sets),
    "musenet": (lambda survey: MUSENET, lambda table, survey: all_sets(table)),
}


def read(path: Path, pedal: Pedal = "extend") -> Score:
    """Score of a MIDI file. `extend` lets notes ring as long as the sustain pedal holds them, `drop` ignores it."""
    return read_with_report(path, pedal)[0]


def read_with_report(path: Path, pedal: Pedal = "extend") -> tuple[Score, ReadReport]:
    """Score, labelled if we wrote the file, and what was dropped and repaired on the way."""
    score, report = read_midi(path, pedal)
    try:
        label = parse_header(report.text).label
    except ValueError:  # a text of some other writer
        label = None
    return replace(score, label=label or score.label), report


def write(media: Score, path: Path) -> None:
    """A MIDI file with its header words as a text event."""
    write_midi(media, path, text=" ".join(header(media)))


def preview(media: Score, path: Path) -> list[Path]:
    """A piano roll and a plain rendering of the sound."""
    from helicon.formats.plots import piano_roll  # these load plotting and sound, which reading does not need
    from helicon.formats.synth import render, write_wav

    picture, sound = path.with_suffix(".png"), path.with_suffix(".wav")
    piano_roll(media, picture)
    write_wav(render(media, SAMPLE_RATE), sound, SAMPLE_RATE)
    return [picture, sound]


def labelled(media: Score, label: str) -> Score:
    """The score with a label, unless its file had one."""
    return media if media.label else replace(media, label=slug(label) or None)


def join(parts: Mapping[str, Any]) -> Score:
    """The score, with label and tempo of the style if there is one."""
    return parts["style"].applied_to(parts["music"]) if "style" in parts else parts["music"]


def _fit_events(preset: str) -> Callable[..., MidiTokenizer]:
    table_of, _ = PRESETS[preset]
    return lambda surveys, **options: MidiTokenizer(table_of(MusicSurvey.merged(surveys), **options))


def fit_style(surveys: Iterable[MusicSurvey], preset: str = "music", max_labels: int = 1024) -> StyleTokenizer:
    """Labels of the folder, and instruments sets for events of the tokenizer `preset`."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    table_of, sets_of = PRESETS[preset]
    survey = MusicSurvey.merged(surveys)
    table = table_of(survey)
    return StyleTokenizer.fit(table, survey, sets_of(table, survey), max_labels)


MUSIC = Modality(
    name="music",
    suffix=".mid",
    suffixes=frozenset({".midi", ".kar", ".rmi"}),
    read=read,
    report=read_with_report,
    write=write,
    preview=preview,
    survey=MusicSurvey.of,
    labelled=labelled,
    join=join,
    draw_change=draw_change,
    slots={
        "music": {preset: TokenizerKind(_fit_events(preset), MidiTokenizer.from_state) for preset in PRESETS},
        "style": {"style": TokenizerKind(fit_style, StyleTokenizer.from_state)},
    },
)
