"""Tokenizer of MuseNet's events: scores to ids such as `piano:v72:G1` and `wait:12`, one token an event, and back.

Losses: times become units of 10 ms, velocities the nearest of an instrument's volumes, programs the instrument
that plays them; notes of one instrument, pitch and onset become one, and a note ends where the next of its key begins.

Shapes: T tokens, N notes, E events (note-ons and note-offs).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from helicon.formats.nearest import unknown
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Score, narrow
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Augmentable, CountsLosses
from helicon.tokenizers.augment import Augmentation
from helicon.tokenizers.base import Tokenizer, check_ids
from helicon.tokenizers.instruments import LONGEST_WAIT, PITCHES, UNITS_PER_SECOND, InstrumentTable
from helicon.tokenizers.music_grammar import LONGEST_GAP, MusicAutomaton

HIT = 10  # units (100 ms) that a decoded drum lasts, as drums have no note-off
_NEVER = np.iinfo(np.int64).max  # onset of the next note where there is none


class _Played(NamedTuple):
    """Notes of a score, in seconds, each [N]."""

    onset_s: np.ndarray
    end_s: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray


@dataclass(kw_only=True)
class _Notes:
    """Quantized notes in units, by key (instrument and pitch) and onset; notes of a key do not overlap. Each [N]."""

    instrument: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    onset: np.ndarray
    end: np.ndarray
    next: np.ndarray  # onset of the next note of the key, or _NEVER


class MidiTokenizer(Tokenizer[Score], Augmentable, CountsLosses):
    """Tokenizer of scores to the events of an instrument table.

    Canonical ids: events between two waits are in order of `InstrumentTable.rank`; a pause is `wait:128` and then
    one wait for the rest, a minute at most; every note ends; no wait comes last.
    """

    def __init__(self, table: InstrumentTable) -> None:
        self.table = table
        self.block = TokenBlock("music", table.tokens)
        self.automaton = MusicAutomaton(table)

    def encode(self, media: Score) -> np.ndarray:
        """Encode a `Score` to canonical local ids, NumPy int64 [T]."""
        return self.encode_with_report(media)[0]

    def encode_with_report(self, media: Score) -> tuple[np.ndarray, ReadReport]:
        """Encode a `Score` to canonical local ids NumPy int64 [T] and a `ReadReport`.

        The report counts losses beyond rounding of times and volumes.
        """
        report = ReadReport()
        played = _Played(media.onset_s, media.end_s, media.pitch, media.velocity, media.program)
        return self._events(self._notes(played, report), report), report

    def _events(self, notes: _Notes, report: ReadReport) -> np.ndarray:
        """Convert notes to canonical ids, int64 [T]."""
        table = self.table
        off = (table.off[notes.instrument] >= 0) & (notes.end < notes.next)
        on_ids = table.on[notes.instrument, notes.velocity] + notes.pitch
        off_ids = table.off[notes.instrument[off]] + notes.pitch[off]
        ids_E = np.concatenate([on_ids, off_ids])
        ticks_E = np.concatenate([notes.onset, notes.end[off]])
        order = np.lexsort((narrow(table.rank[ids_E]), narrow(ticks_E)))
        gaps_E = np.diff(ticks_E[order], prepend=0)
        report.add("pauses longer than a minute cut", int(np.count_nonzero(gaps_E > LONGEST_GAP)))
        return self._with_waits(ids_E[order], np.minimum(gaps_E, LONGEST_GAP))

    def decode(self, ids: np.ndarray) -> Score:
        """Decode any local ids NumPy int64 [T] to a `Score`; ValueError for ids outside the block.

        A note-off without a sounding note is ignored, a note-on ends the note of its key, and open notes end with the
        last token. Every note lasts at least a unit of 10 ms.
        """
        return Score.of(*self._played(check_ids(ids, len(self.block))))

    def _played(self, ids: np.ndarray) -> _Played:
        """Convert any ids of the block to notes in seconds."""
        table = self.table
        clock = np.cumsum(table.wait[ids])
        total = int(clock[-1]) if len(clock) else 0
        is_event = table.wait[ids] == 0
        ids_E, time_E = ids[is_event], clock[is_event]
        instrument, pitch = table.instrument[ids_E], table.pitch[ids_E]
        key = instrument * PITCHES + pitch
        order = np.argsort(key, kind="stable")
        next_time = np.full(len(ids_E), total)
        same = key[order][1:] == key[order][:-1]
        next_time[order[:-1][same]] = time_E[order[1:][same]]
        end_E = np.where(instrument == table.drums, np.minimum(time_E + HIT, next_time), next_time)
        on = table.volume[ids_E] > 0
        programs = np.array([row.programs[0] for row in table.instruments])
        end_E = np.maximum(end_E, time_E + 1)
        return _Played(
            time_E[on] / UNITS_PER_SECOND,
            end_E[on] / UNITS_PER_SECOND,
            pitch[on],
            table.volume[ids_E][on],
            programs[instrument[on]],
        )

    def augment(self, ids: np.ndarray, augmentation: Augmentation) -> np.ndarray:
        """Augment a piece.

        The transposition is reduced until no melodic note leaves 0 .. 127; volumes stay in their instrument's range.

        Args:
            ids: local ids NumPy int64 [T], canonical: as `encode` makes them.
            augmentation: `Augmentation`, transposition in semitones, steps of volume, and factor of the tempo.

        Returns:
            Canonical local ids NumPy int64 [T'] of the augmented piece, T' tokens.
        """
        table, ids = self.table, np.asarray(ids, np.int64)
        melodic = (table.wait[ids] == 0) & (table.instrument[ids] != table.drums)
        pitches = table.pitch[ids[melodic]]
        shift = int(np.clip(augmentation.transpose, -pitches.min(), PITCHES - 1 - pitches.max())) if len(pitches) else 0
        # Ranks keep their order under both, so the moved ids are canonical again.
        moved = ids + np.where(melodic, shift, 0)
        on = table.bin[ids] >= 0
        instrument, volumes = table.instrument[ids[on]], (table.on_by_bin >= 0).sum(1)
        bins = np.clip(table.bin[ids[on]] + augmentation.volume, 0, volumes[instrument] - 1)
        moved[on] = table.on_by_bin[instrument, bins] + table.pitch[moved[on]]
        if augmentation.tempo == 1:
            return moved
        played, report = self._played(moved), ReadReport()
        played = played._replace(onset_s=played.onset_s / augmentation.tempo, end_s=played.end_s / augmentation.tempo)
        return self._events(self._notes(played, report), report)

    def to_words(self, ids: np.ndarray) -> list[str]:
        """Convert local ids NumPy int64 [T] to a list of T token names; ValueError for ids outside the block."""
        return [self.block.tokens[i] for i in check_ids(ids, len(self.block))]

    def from_words(self, words: Iterable[str]) -> np.ndarray:
        """Convert token names, such as `wait:12`, to local ids NumPy int64 [T].

        ValueError names an unknown one and the most similar tokens.
        """
        index, ids = self.block.index, []
        for word in words:
            if word not in index:
                raise ValueError(unknown("event", word, self.block.tokens))
            ids.append(index[word])
        return np.array(ids, np.int64)

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units in which a loss on local ids NumPy int64 [T] is reported: {"note": ..., "second": ...}.

        Notes that begin are counted, and seconds up to the last token.
        """
        ids = np.asarray(ids, np.int64)
        notes, waited = np.count_nonzero(self.table.volume[ids] > 0), self.table.wait[ids].sum()
        return {"note": float(notes), "second": float(waited) / UNITS_PER_SECOND}

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `instruments`, the volumes (MIDI velocities) by instrument."""
        return {"instruments": {row.name: list(row.volumes) for row in self.table.instruments}}

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict that `from_state` restores: that of the instrument table."""
        return self.table.state()

    @staticmethod
    def from_state(state: dict[str, Any]) -> MidiTokenizer:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        return MidiTokenizer(InstrumentTable.from_state(state))

    def _notes(self, played: _Played, report: ReadReport) -> _Notes:
        """Quantize notes to the table's instruments; unisons merge (maximum of velocity and end), overlaps are cut."""
        table = self.table
        instrument = table.by_program[played.program]
        kept = instrument >= 0
        replaced = kept & ~table.has_program[played.program]
        report.add("notes given to a substitute instrument", int(np.count_nonzero(replaced)))
        report.add("notes without an instrument dropped", int(np.count_nonzero(~kept)))
        instrument, pitch, velocity = instrument[kept], played.pitch[kept].astype(np.int64), played.velocity[kept]
        onset = np.maximum(_units(played.onset_s[kept]), 0)
        end = np.maximum(_units(played.end_s[kept]), onset + 1)

        key = instrument * PITCHES + pitch
        order = np.lexsort((narrow(onset), narrow(key)))
        key, onset = key[order], onset[order]
        new = np.ones(len(key), bool)
        new[1:] = (key[1:] != key[:-1]) | (onset[1:] != onset[:-1])
        first = np.flatnonzero(new)
        report.add("duplicate notes merged", len(key) - len(first))
        if len(first):
            end, velocity = np.maximum.reduceat(end[order], first), np.maximum.reduceat(velocity[order], first)
        key, onset = key[first], onset[first]
        following = np.full(len(key), _NEVER)
        following[:-1] = np.where(key[1:] == key[:-1], onset[1:], _NEVER)
        instrument, pitch = key // PITCHES, key % PITCHES
        overlaps = (end > following) & (instrument != table.drums)
        report.add("overlapping notes shortened", int(np.count_nonzero(overlaps)))
        return _Notes(
            instrument=instrument,
            pitch=pitch,
            velocity=velocity,
            onset=onset,
            end=np.minimum(end, following),
            next=following,
        )

    def _with_waits(self, ids_E: np.ndarray, gaps_E: np.ndarray) -> np.ndarray:
        """Insert the waits of the gap before each event, the longest waits first; returns int64 [T]."""
        rest = gaps_E % LONGEST_WAIT
        at = np.cumsum(gaps_E // LONGEST_WAIT + (rest > 0) + 1) - 1
        ids = np.full(at[-1] + 1 if len(at) else 0, self.table.first_wait + LONGEST_WAIT - 1)
        ids[at] = ids_E
        ids[at[rest > 0] - 1] = self.table.first_wait + rest[rest > 0] - 1
        return ids


def _units(seconds: np.ndarray) -> np.ndarray:
    """Round seconds to units of 10 ms, int64; halves up."""
    return np.floor(np.asarray(seconds, np.float64) * UNITS_PER_SECOND + 0.5).astype(np.int64)
