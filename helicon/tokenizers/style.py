"""MuseNet's header words: who or what a piece is like, which instruments play, and how fast. Each may be left open.

A style is always three ids: a label, an instruments set and a tempo, or `any-label`, `any-instruments`, `any-tempo`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from helicon.formats.checked import fields, texts, wholes
from helicon.formats.nearest import unknown
from helicon.formats.score import Score
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Augmentable, Words
from helicon.tokenizers.augment import Augmentation
from helicon.tokenizers.base import Tokenizer, check_ids
from helicon.tokenizers.instruments import InstrumentTable
from helicon.tokenizers.labels import MOST_LABELS, commonest
from helicon.tokenizers.names import slug
from helicon.tokenizers.survey import MusicSurvey

ANY = ("any-label", "any-instruments", "any-tempo")
START = "start"  # printed between header and events, never a label
TEMPOS_BPM = tuple(range(20, 301, 5))
_NOT_A_SET = "-label"
_TEMPO = re.compile(r"tempo(\d{1,4}(?:\.\d+)?)")


@dataclass(frozen=True)
class Style:
    """What is asked of a piece: a label (slug), names of instruments, quarters a minute. None and () leave it open."""

    label: str | None = None
    instruments: tuple[str, ...] = ()
    tempo_bpm: float | None = None

    def applied_to(self, score: Score) -> Score:
        """The score with this label, and its notes alone at this tempo, where they are given."""
        score = score.at_tempo(self.tempo_bpm) if self.tempo_bpm else score
        return replace(score, label=self.label or score.label)


class StyleTokenizer(Tokenizer[Score | Style], Words, Augmentable):
    """Scores and styles to three ids.

    labels: slugs. sets: words such as `piano_strings`, groups of the table joined in its order. A label that would mean
    something else already (`piano`, `tempo90`) is written with `-label` after it.
    """

    def __init__(
        self,
        table: InstrumentTable,
        labels: Iterable[str],
        sets: Iterable[str],
        tempos_bpm: Iterable[int] = TEMPOS_BPM,
    ) -> None:
        self.table, self.labels, self.sets, self.tempos_bpm = table, tuple(labels), tuple(sets), tuple(tempos_bpm)
        self._label_of = {self.label_word(label): label for label in self.labels}
        self._word_of = {label: word for word, label in self._label_of.items()}
        kinds = (tuple(self._label_of), self.sets, tuple(f"tempo{bpm}" for bpm in self.tempos_bpm))
        self.block = TokenBlock(
            "style", tuple(word for words, open_word in zip(kinds, ANY) for word in (*words, open_word))
        )
        self._kind = np.repeat(np.arange(3), [len(words) + 1 for words in kinds])

    @staticmethod
    def fit(
        table: InstrumentTable, survey: MusicSurvey, sets: Iterable[str] | None = None, max_labels: int = 1024
    ) -> StyleTokenizer:
        """From a survey: its commonest labels, and its instruments sets, commonest first, unless `sets` are given."""
        labels = commonest(survey.labels, max_labels)
        return StyleTokenizer(table, labels, found_sets(table, survey) if sets is None else sets)

    def encode(self, media: Score | Style) -> np.ndarray:
        """int64 [3]: label, instruments, tempo; what has no word of its own is left open."""
        style = media if isinstance(media, Style) else self.style_of(media)
        words = (
            self._word_of.get(slug(style.label or ""), ""),
            self.set_word(style.instruments),
            f"tempo{self._nearest_tempo(style.tempo_bpm)}" if style.tempo_bpm else "",
        )
        index = self.block.index
        return np.array([index.get(word, index[open_word]) for word, open_word in zip(words, ANY)], np.int64)

    def decode(self, ids: np.ndarray) -> Style:
        """Style of any ids; of several words of a kind the last counts. A set stands for all that its groups hold."""
        label, instruments, tempo_bpm = None, (), None
        for word in self.to_words(ids):
            kind = self._kind[self.block.index[word]]
            if kind == 0:
                label = self._label_of.get(word)
            elif kind == 1:
                instruments = self._instruments(word) or ()
            else:
                tempo_bpm = _tempo(word)
        return Style(label, instruments, tempo_bpm)

    def parse(self, text: str, any_label: bool = False) -> Style:
        """Style of words typed in any order, such as `chopin piano_strings tempo93`.

        Instruments are groups or names of the table; a set that has no word still names them. The tempo stays exact.
        With `any_label` a word of no other meaning is a label, known or not. ValueError names an unknown word and those
        nearest to it, or two words of one kind.
        """
        found: dict[str, Any] = {}
        for word in text.split():
            kind, value = self._meaning(word, any_label)
            if kind in found:
                raise ValueError(f"style {text!r}: one label, one instruments set and one tempo are taken")
            found[kind] = value
        values = {kind: value for kind, value in found.items() if kind != START and value is not None}
        return Style(**values)

    def constraints(self, media: Style) -> dict[str, Any]:
        """What a style asks of the grammar of the music that follows."""
        return {"instruments": media.instruments} if media.instruments else {}

    def _meaning(self, word: str, any_label: bool) -> tuple[str, Any]:
        """Field of `Style` and its value; a value of None leaves it open."""
        known = slug(word)
        if known in ANY or known == START:
            return (START if known == START else ("label", "instruments", "tempo_bpm")[ANY.index(known)]), None
        if _tempo(known):
            return "tempo_bpm", _tempo(known)
        instruments = self._instruments(known)
        if instruments:
            return "instruments", instruments
        if known not in self._label_of and not (any_label and known):
            raise ValueError(unknown("style word", word, self.block.tokens))
        return "label", known.removesuffix(_NOT_A_SET)

    def style_of(self, score: Score) -> Style:
        """Label, instruments of the table that play, and tempo of a score."""
        playing = np.unique(self.table.by_program[np.unique(score.program)])
        names = tuple(self.table.instruments[i].name for i in playing if i >= 0)
        return Style(score.label, names, score.tempo_bpm)

    def set_word(self, instruments: Iterable[str]) -> str:
        """Word of the set of groups that instruments belong to, such as `piano_strings`; empty for none."""
        wanted = set(instruments)
        return _joined(self.table, {row.group for row in self.table.instruments if row.name in wanted})

    def to_words(self, ids: np.ndarray) -> list[str]:
        """Words of ids; ValueError for ids outside the block."""
        return [self.block.tokens[i] for i in check_ids(ids, len(self.block))]

    def drop(self, ids: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
        """Each word left open with probability p, so that the model learns to do without any of them."""
        open_ids = np.array([self.block.index[word] for word in ANY])
        return np.where(rng.random(len(ids)) < p, open_ids[self._kind[ids]], ids)

    def augment(self, ids: np.ndarray, augmentation: Augmentation) -> np.ndarray:
        """The tempo word moved with the tempo, from the word's own tempo, not from that of the piece."""
        ids = np.array(ids, np.int64)
        for i, word in enumerate(self.to_words(ids)):
            if bpm := _tempo(word):
                ids[i] = self.block.index[f"tempo{self._nearest_tempo(bpm * augmentation.tempo)}"]
        return ids

    def grow(self, labels: Iterable[str]) -> StyleTokenizer:
        """With labels added after its own; tokens keep their names, not their ids."""
        new = [label for label in dict.fromkeys(map(slug, labels)) if label and label not in self.labels]
        return StyleTokenizer(self.table, (*self.labels, *new), self.sets, self.tempos_bpm)

    def describe(self) -> dict[str, Any]:
        """For people: the words of each kind."""
        tempos = f"{min(self.tempos_bpm)} to {max(self.tempos_bpm)} quarters a minute, {len(self.tempos_bpm)} words"
        return {"labels": list(self._label_of), "instrument sets": list(self.sets), "tempos": tempos}

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        lists = {"labels": list(self.labels), "sets": list(self.sets), "tempos_bpm": list(self.tempos_bpm)}
        return {"table": self.table.state(), **lists}

    @staticmethod
    def from_state(state: dict[str, Any]) -> StyleTokenizer:
        """Inverse of `state`."""
        state = fields("state", state, ("table", "labels", "sets", "tempos_bpm"))  # type: ignore[assignment]
        table = InstrumentTable.from_state(state["table"])
        labels, sets = (texts(name, state[name], MOST_LABELS) for name in ("labels", "sets"))
        return StyleTokenizer(table, labels, sets, wholes("tempos_bpm", state["tempos_bpm"], 1000, 1, 9999))

    def label_word(self, label: str) -> str:
        """Word of a label, known or not."""
        label = slug(label)
        # A label that ends so already gets another one, which keeps words apart.
        taken = label in (*ANY, START) or label.endswith(_NOT_A_SET) or _tempo(label) or self._instruments(label)
        return label + _NOT_A_SET if taken else label

    def _instruments(self, word: str) -> tuple[str, ...] | None:
        """Names of the instruments that a word's parts name, in the table's order; None where a part names none."""
        parts, rows = set(word.split("_")), self.table.instruments
        if not parts <= self.table.names:
            return None
        return tuple(row.name for row in rows if row.name in parts or row.group in parts)

    def _nearest_tempo(self, bpm: float) -> int:
        return min(self.tempos_bpm, key=lambda known: (abs(known - bpm), -known))


def all_sets(table: InstrumentTable) -> tuple[str, ...]:
    """Words of all non-empty subsets of a table's groups, in order of bit mask; the first group is the lowest bit."""
    masks = range(1, 1 << len(table.groups))
    return tuple(_joined(table, [g for i, g in enumerate(table.groups) if mask >> i & 1]) for mask in masks)


def found_sets(table: InstrumentTable, survey: MusicSurvey) -> tuple[str, ...]:
    """Words of the sets that a survey found, commonest first."""
    counts: Counter[str] = Counter()
    for programs, pieces in survey.sets.items():
        playing = table.by_program[list(programs)]
        counts[_joined(table, {table.instruments[i].group for i in playing if i >= 0})] += pieces
    counts.pop("", None)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))


def _joined(table: InstrumentTable, groups: Iterable[str]) -> str:
    wanted = set(groups)
    return "_".join(group for group in table.groups if group in wanted)


def _tempo(word: str) -> float | None:
    """Quarters a minute of a word such as `tempo93`; None for any other word."""
    match = _TEMPO.fullmatch(word)
    return float(match[1]) or None if match else None
