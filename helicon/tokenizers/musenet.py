"""Pieces in the text format of MuseNet, and in the token numbers of the deployed MuseNet.

Text: `bach piano_strings start tempo90 piano:v72:G1 ... wait:12`, as in the published sample of MuseNet. Numbers:
events and waits, then start, end and end of sample, instruments sets, labels. Sets are in order of their bit mask,
piano the lowest bit. Which label has which of the service's numbers is not known: the order of ours is our own. Tempo
words are not known to have numbers there at all: ours follow the labels.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from helicon.formats.nearest import unknown
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Score
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.style import START, TEMPOS_BPM, Style, StyleTokenizer, all_sets

END, END_OF_SAMPLE = "end", "end-of-sample"  # words of the deployed table after a piece's events
LABEL_PLACES = 610  # numbers that the deployed table has for labels, most of them unknown
# Labels of the service whose names are known; their order, by the alphabet, is our own
LABELS = (
    "bach", "beethoven", "bluegrass", "brahms", "broadway", "chopin", "clementi", "country", "debussy", "disney",
    "frank-sinatra", "grieg", "haydn", "jazz", "journey", "lady-gaga", "liszt", "mendelssohn", "mozart", "mussorgsky",
    "rachmaninoff", "ravel", "schubert", "schumann", "tchaikovsky", "the-beatles", "video",
)  # fmt: skip


@cache
def events() -> MidiTokenizer:
    """Return the `MidiTokenizer` of the deployed MuseNet's instrument table; always the same object."""
    return MidiTokenizer(MUSENET)


@cache
def deployed_words() -> tuple[str, ...]:
    """Return the word of every number, in order: from 0 events, 4096 start, 4099 sets, 4226 labels, 4836 tempos."""
    spare = (f"label{n}" for n in range(len(LABELS), LABEL_PLACES))
    tempos = (f"tempo{bpm}" for bpm in TEMPOS_BPM)
    return (*MUSENET.tokens, START, END, END_OF_SAMPLE, *all_sets(MUSENET), *LABELS, *spare, *tempos)


@cache
def _number_of() -> dict[str, int]:
    return {word: number for number, word in enumerate(deployed_words())}


@cache
def _header() -> StyleTokenizer:
    return StyleTokenizer(MUSENET, LABELS, all_sets(MUSENET))


def header(score: Score, label: str | None = None) -> list[str]:
    """Return the words before a piece's events.

    Args:
        score: the piece, a `Score`.
        label: in place of the score's own.

    Returns:
        Words: label, instruments set, `start` and tempo; the first two only where the piece has them.
    """
    style = _header().style_of(score)
    words = [_header().label_word(label or style.label or ""), _header().set_word(style.instruments)]
    tempo = _header().to_words(_header().encode(style))[2]
    return [*filter(None, words), START, tempo]


def parse_header(text: str) -> Style:
    """Parse the words of `header`, in a text separated by spaces, to a `Style`; any word may be the label.

    ValueError for two words of one kind.
    """
    return _header().parse(text, any_label=True)


def musenet_text(score: Score, label: str | None = None) -> str:
    """Write a piece as text.

    Args:
        score: the piece, a `Score`.
        label: in place of the score's own.

    Returns:
        Words of the header and the events, separated by spaces.
    """
    return musenet_text_with_report(score, label)[0]


def musenet_text_with_report(score: Score, label: str | None = None) -> tuple[str, ReadReport]:
    """Write a piece as `musenet_text` does, with a report.

    Args:
        score: the piece, a `Score`.
        label: in place of the score's own.

    Returns:
        The text, and a `ReadReport` of what the events cannot say.
    """
    ids, report = events().encode_with_report(score)
    return " ".join([*header(score, label), *events().to_words(ids)]), report


def parse_musenet(text: str) -> tuple[Style, np.ndarray]:
    """Parse a text of `musenet_text` to a `Style` and ids NumPy int64 [T] of the tokenizer `events()`.

    ValueError names a word that is no event.
    """
    words = [word for word in text.split() if word not in (END, END_OF_SAMPLE)]
    first = next((i for i, word in enumerate(words) if ":" in word), len(words))
    return parse_header(" ".join(words[:first])), events().from_words(words[first:])


def parse_score(text: str) -> Score:
    """Parse a text of `musenet_text` to a `Score` with label and tempo; ValueError names a word that is no event."""
    style, ids = parse_musenet(text)
    return style.applied_to(events().decode(ids))


def text_to_numbers(text: str) -> np.ndarray:
    """Convert a text of words to the deployed table's numbers, NumPy int64 [T], less header words without a number.

    ValueError names an unknown event.
    """
    numbers = []
    for word in text.split():
        if word in _number_of():
            numbers.append(_number_of()[word])
        elif ":" in word:
            raise ValueError(unknown("event", word, MUSENET.tokens))
    return np.array(numbers, np.int64)


def numbers_to_text(numbers: np.ndarray) -> str:
    """Convert the deployed table's numbers, NumPy int64 [T], to a text of words: the inverse of `text_to_numbers`.

    ValueError for numbers outside the table.
    """
    return " ".join(deployed_words()[n] for n in check_ids(numbers, len(deployed_words())))
