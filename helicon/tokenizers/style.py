"""Style tokenizer: MuseNet's header words for label, instruments and tempo. Each may be left open.

A style is always three ids: a label, an instruments set and a tempo, or `any-label`, `any-instruments`, `any-tempo`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from helicon.formats.checked import fields, integers, texts
from helicon.formats.nearest import unknown
from helicon.formats.score import Score
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Augmentable, Words
from helicon.tokenizers.augment import Augmentation
from helicon.tokenizers.base import Tokenizer, check_ids
from helicon.tokenizers.instruments import InstrumentTable
from helicon.tokenizers.labels import MAX_LABELS, commonest
from helicon.tokenizers.names import slug
from helicon.tokenizers.survey import MusicSurvey

ANY = ("any-label", "any-instruments", "any-tempo")  # words that leave label, instruments and tempo open
START = "start"  # printed between header and events, never a label
TEMPOS_BPM = tuple(range(20, 301, 5))  # quarters a minute
_NOT_A_SET = "-label"  # suffix of labels that would mean something else
_TEMPO = re.compile(r"tempo(\d{1,4}(?:\.\d+)?)")  # word of a tempo in quarters a minute


@dataclass(frozen=True)
class Style:
    """Conditions on a piece of music; None and () leave them open.

    Attributes:
        label: slug.
        instruments: names of instruments of the table, such as `piano`.
        tempo_bpm: quarters a minute.
    """

    label: str | None = None
    instruments: tuple[str, ...] = ()
    tempo_bpm: float | None = None

    def applied_to(self, score: Score) -> Score:
        """Return a `Score` with this style's label and tempo, where it has them."""
        score = score.at_tempo(self.tempo_bpm) if self.tempo_bpm else score
        return replace(score, label=self.label or score.label)


class StyleTokenizer(Tokenizer[Score | Style], Words, Augmentable):
    """Tokenizer of scores and styles to three ids: label, instruments set and tempo.

    Args:
        table: `InstrumentTable` of the instruments.
        labels: slugs. A label with another meaning (`piano`, `tempo90`) gets a suffix `-label` in its token.
        sets: words such as `piano_strings`, groups of the table joined in its order.
        tempos_bpm: quarters a minute of the tempo words.
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
        """Fit to the statistics of a folder.

        Args:
            table: `InstrumentTable` of the instruments.
            survey: `MusicSurvey`, counts over the folder's scores.
            sets: words of the instruments sets; None for those that occur, the commonest first.
            max_labels: greatest number of labels; the commonest count.

        Returns:
            Tokenizer.
        """
        labels = commonest(survey.labels, max_labels)
        return StyleTokenizer(table, labels, found_sets(table, survey) if sets is None else sets)

    def encode(self, media: Score | Style) -> np.ndarray:
        """Encode a `Score` or `Style` to ids NumPy int64 [3] of label, instruments and tempo.

        Open where no word fits.
        """
        style = media if isinstance(media, Style) else self.style_of(media)
        words = (
            self._word_of.get(slug(style.label or ""), ""),
            self.set_word(style.instruments),
            f"tempo{self._nearest_tempo(style.tempo_bpm)}" if style.tempo_bpm else "",
        )
        index = self.block.index
        return np.array([index.get(word, index[open_word]) for word, open_word in zip(words, ANY)], np.int64)

    def decode(self, ids: np.ndarray) -> Style:
        """Decode any local ids NumPy int64 [T] to a `Style`; of several words of a kind the last counts.

        Groups mean all their instruments.
        """
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
        """Parse words that a user types in any order, such as `chopin piano_strings tempo93`.

        Args:
            text: words and spaces; instruments are groups or names of the table, also in sets that have no word.
            any_label: True accepts any word without another meaning as a label.

        Returns:
            `Style`, with the exact tempo.

        Raises:
            ValueError: an unknown word, with the most similar ones, or two words of one kind.
        """
        parsed: dict[str, Any] = {}
        for word in text.split():
            kind, value = self._meaning(word, any_label)
            if kind in parsed:
                raise ValueError(f"style {text!r}: one label, one instruments set and one tempo are taken")
            parsed[kind] = value
        values = {kind: value for kind, value in parsed.items() if kind != START and value is not None}
        return Style(**values)

    def constraints(self, media: Style) -> dict[str, Any]:
        """Return a `Style`'s constraints on the music that follows, arguments of `MusicAutomaton.constrain`.

        {"instruments": names} if the style has instruments, else empty.
        """
        return {"instruments": media.instruments} if media.instruments else {}

    def _meaning(self, word: str, any_label: bool) -> tuple[str, Any]:
        """Return the field of `Style` that a word sets, and its value; None leaves it open."""
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
        """Return the `Style` of a `Score`: its label, its tempo, and the instruments of the table that play."""
        playing = np.unique(self.table.by_program[np.unique(score.program)])
        names = tuple(self.table.instruments[i].name for i in playing if i >= 0)
        return Style(score.label, names, score.tempo_bpm)

    def set_word(self, instruments: Iterable[str]) -> str:
        """Return the word of the groups that instruments belong to, such as `piano_strings`; empty for none.

        Args:
            instruments: names of the table, such as `violin`; others are ignored.
        """
        wanted = set(instruments)
        return _set_word(self.table, {row.group for row in self.table.instruments if row.name in wanted})

    def to_words(self, ids: np.ndarray) -> list[str]:
        """Convert local ids NumPy int64 [T] to a list of T words; ValueError for ids outside the block."""
        return [self.block.tokens[i] for i in check_ids(ids, len(self.block))]

    def drop(self, ids: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
        """Apply condition dropout, so that the model learns to do without any of the words.

        Args:
            ids: local ids NumPy int64 [T].
            rng: NumPy generator of the random numbers.
            p: probability that a word is left open, for each independently.

        Returns:
            Local ids NumPy int64 [T], those of open words where words were left open.
        """
        open_ids = np.array([self.block.index[word] for word in ANY])
        return np.where(rng.random(len(ids)) < p, open_ids[self._kind[ids]], ids)

    def augment(self, ids: np.ndarray, augmentation: Augmentation) -> np.ndarray:
        """Change the tempo word with the tempo of the augmentation.

        Args:
            ids: local ids NumPy int64 [T].
            augmentation: `Augmentation` of the piece; its factor applies to the rounded tempo of the word.

        Returns:
            Local ids NumPy int64 [T].
        """
        ids = np.array(ids, np.int64)
        for i, word in enumerate(self.to_words(ids)):
            if bpm := _tempo(word):
                ids[i] = self.block.index[f"tempo{self._nearest_tempo(bpm * augmentation.tempo)}"]
        return ids

    def grow(self, labels: Iterable[str]) -> StyleTokenizer:
        """Return a tokenizer with texts appended to its labels, as slugs; tokens keep their names, not their ids."""
        new = [label for label in dict.fromkeys(map(slug, labels)) if label and label not in self.labels]
        return StyleTokenizer(self.table, (*self.labels, *new), self.sets, self.tempos_bpm)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `labels` and `instrument sets`, lists of words; `tempos`, a sentence."""
        tempos = f"{min(self.tempos_bpm)} to {max(self.tempos_bpm)} quarters a minute, {len(self.tempos_bpm)} words"
        return {"labels": list(self._label_of), "instrument sets": list(self.sets), "tempos": tempos}

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict that `from_state` restores: `table`, `labels`, `sets` and `tempos_bpm`."""
        lists = {"labels": list(self.labels), "sets": list(self.sets), "tempos_bpm": list(self.tempos_bpm)}
        return {"table": self.table.state(), **lists}

    @staticmethod
    def from_state(state: dict[str, Any]) -> StyleTokenizer:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        state = fields("state", state, ("table", "labels", "sets", "tempos_bpm"))  # type: ignore[assignment]
        table = InstrumentTable.from_state(state["table"])
        labels, sets = (texts(name, state[name], MAX_LABELS) for name in ("labels", "sets"))
        return StyleTokenizer(table, labels, sets, integers("tempos_bpm", state["tempos_bpm"], 1000, 1, 9999))

    def label_word(self, label: str) -> str:
        """Return the word of a label's token, such as `bach` or `piano-label`; the label is any text, known or not."""
        label = slug(label)
        # A label that already has the suffix gets another one, so that words stay distinct
        taken = label in (*ANY, START) or label.endswith(_NOT_A_SET) or _tempo(label) or self._instruments(label)
        return label + _NOT_A_SET if taken else label

    def _instruments(self, word: str) -> tuple[str, ...] | None:
        """Return the instruments that a word such as `piano_strings` names, by table order; None for other words."""
        parts, rows = set(word.split("_")), self.table.instruments
        if not parts <= self.table.names:
            return None
        return tuple(row.name for row in rows if row.name in parts or row.group in parts)

    def _nearest_tempo(self, bpm: float) -> int:
        return min(self.tempos_bpm, key=lambda tempo: (abs(tempo - bpm), -tempo))


def all_sets(table: InstrumentTable) -> tuple[str, ...]:
    """Return the words of all non-empty subsets of the groups of an `InstrumentTable`, such as `piano_strings`.

    They are in order of their bit masks; the first group is the lowest bit.
    """
    masks = range(1, 1 << len(table.groups))
    return tuple(_set_word(table, [g for i, g in enumerate(table.groups) if mask >> i & 1]) for mask in masks)


def found_sets(table: InstrumentTable, survey: MusicSurvey) -> tuple[str, ...]:
    """Rank the instruments sets of a folder by frequency.

    Args:
        table: `InstrumentTable` of the instruments.
        survey: `MusicSurvey`, counts over the folder's scores.

    Returns:
        Words of the sets, such as `piano_strings`, the commonest first.
    """
    counts: Counter[str] = Counter()
    for programs, pieces in survey.sets.items():
        playing = table.by_program[list(programs)]
        counts[_set_word(table, {table.instruments[i].group for i in playing if i >= 0})] += pieces
    counts.pop("", None)
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))


def _set_word(table: InstrumentTable, groups: Iterable[str]) -> str:
    """Join groups to the word of a set, in the table's order."""
    wanted = set(groups)
    return "_".join(group for group in table.groups if group in wanted)


def _tempo(word: str) -> float | None:
    """Parse a word such as `tempo93` to quarters a minute; None for any other word."""
    match = _TEMPO.fullmatch(word)
    return float(match[1]) or None if match else None
