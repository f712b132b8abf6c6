"""Real pieces: tokens and back to the same tokens, every note where it was, and what is lost counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from helicon.formats.midi import read_midi
from helicon.formats.midi_write import write_midi
from helicon.formats.score import Score
from helicon.tokenizers.instruments import MUSENET, InstrumentTable, general_midi
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.survey import MusicSurvey

IN_SCORE_S, IN_FILE_S = 0.005, 0.006
ROUNDING_S = 1e-9


def _latest(source: Score, made: Score, table: InstrumentTable) -> float:
    """Largest distance from a source note to a note of the same instrument, pitch and louder or equal volume bin."""
    worst = 0.0
    made_key = table.by_program[made.program].astype(int) * 128 + made.pitch
    source_key = _played_by(source, table) * 128 + source.pitch
    for key in np.unique(source_key):
        theirs = np.sort(made.onset_s[made_key == key])
        assert len(theirs), "an instrument or a pitch is missing"
        mine = source.onset_s[source_key == key]
        place = np.searchsorted(theirs, mine)
        before, after = theirs[(place - 1).clip(0)], theirs[place.clip(max=len(theirs) - 1)]
        worst = max(worst, float(np.minimum(abs(mine - before), abs(mine - after)).max()))
    return worst


def _played_by(score: Score, table: InstrumentTable) -> np.ndarray:
    return table.by_program[score.program].astype(int)


def _volumes(score: Score, table: InstrumentTable, units: np.ndarray) -> dict[tuple[int, int, int], int]:
    """(unit of 10 ms, instrument, pitch) -> bin of the loudest note there."""
    found: dict[tuple[int, int, int], int] = {}
    for unit, instrument, pitch, velocity in zip(units, _played_by(score, table), score.pitch, score.velocity):
        levels = [level for level in table.instruments[instrument].levels if level]
        nearest = min(levels, key=lambda level: (abs(level - int(velocity)), -level))
        key = (int(unit), int(instrument), int(pitch))
        found[key] = max(found.get(key, 0), nearest)
    return found


def _check(paths: list[Path], table: InstrumentTable, folder: Path) -> Counter[str]:
    tokenizer, lost = MidiTokenizer(table), Counter[str]()
    for path in paths:
        source, _ = read_midi(path)
        ids, report = tokenizer.encode_with_report(source)
        made = tokenizer.decode(ids)
        assert np.array_equal(tokenizer.encode(made), ids), path.name
        assert len(made) == len(source) - report.counts.get("duplicate notes merged", 0), path.name
        assert _latest(source, made, table) <= IN_SCORE_S + ROUNDING_S, path.name
        units = np.floor(source.onset_s * 100 + 0.5).astype(int), np.rint(made.onset_s * 100).astype(int)
        assert _volumes(source, table, units[0]) == _volumes(made, table, units[1]), path.name
        written = folder / "piece.mid"
        write_midi(made, written)
        again, _ = read_midi(written)
        assert _latest(source, again, table) <= IN_FILE_S, path.name
        assert np.array_equal(tokenizer.encode(again), ids), path.name
        lost.update(report.counts | {"notes": len(source)})
    return lost


@pytest.mark.parametrize("preset", ["musenet", "music"])
def test_a_sample_of_real_pieces(shared_data: Path, tmp_path: Path, preset: str) -> None:
    paths = sorted((shared_data / "midi").rglob("*.mid"))[::60]
    _check(paths, _table(preset, paths), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["musenet", "music"])
def test_all_real_pieces(shared_data: Path, tmp_path: Path, preset: str) -> None:
    paths = sorted((shared_data / "midi").rglob("*.mid"))
    lost = _check(paths, _table(preset, paths), tmp_path)
    print(f"\n{preset}: {len(paths)} files; {dict(lost)}")


def _table(preset: str, paths: list[Path]) -> InstrumentTable:
    if preset == "musenet":
        return MUSENET
    return general_midi(MusicSurvey.merged(MusicSurvey.of(read_midi(path)[0]) for path in paths))
