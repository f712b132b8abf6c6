"""Music from file to ids and back to file."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.formats.midi_write import write_midi
from helicon.formats.score import DRUMS, Score
from helicon.modalities.music import MUSIC
from helicon.tokenizers.style import Style


def piece(label: str | None = None) -> Score:
    return Score.of([0, 0.5, 1], [0.5, 1, 1.5], [60, 64, 36], [80, 72, 90], [0, 48, DRUMS], tempo_bpm=90, label=label)


def test_a_file_of_ours_keeps_label_tempo_and_notes(tmp_path):
    path = tmp_path / "a.mid"
    MUSIC.write(piece("bach"), path)
    score, counts = MUSIC.read(path, label="some-folder")
    assert (score.label, counts) == ("bach", {})
    assert score.tempo_bpm == pytest.approx(90, abs=0.01)
    assert score.pitch.tolist() == piece().pitch.tolist()
    assert np.allclose(score.onset_s, piece().onset_s, atol=0.002)


def test_a_file_without_our_header_takes_the_label_of_its_folder(tmp_path):
    path = tmp_path / "a.mid"
    write_midi(piece(), path)
    assert MUSIC.read(path)[0].label is None
    assert MUSIC.read(path, label="Lady Gaga", options={"pedal": "drop", "other": 1})[0].label == "lady-gaga"
    write_midi(piece(), path, text="bach chopin two labels")
    assert MUSIC.read(path)[0].label is None


def test_a_broken_file_is_a_value_error(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(b"not music")
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        MUSIC.read(path)


@pytest.mark.parametrize("preset", ["music", "musenet"])
def test_tokenizers_fit_surveys_and_agree_on_instruments(preset):
    surveys = [MUSIC.survey(piece("bach")), MUSIC.survey(piece("chopin"))]
    kinds = {"music": MUSIC.slots["music"][preset], "style": MUSIC.slots["style"]["style"]}
    siblings = {"music": preset, "style": "style"}
    fitted = {slot: kind.fit(surveys, siblings=siblings, pedal="extend") for slot, kind in kinds.items()}
    again = {slot: kinds[slot].from_state(tokenizer.state()) for slot, tokenizer in fitted.items()}
    ids = {slot: tokenizer.encode(piece("bach")) for slot, tokenizer in again.items()}
    score = MUSIC.join({slot: again[slot].decode(ids[slot]) for slot in ids})
    assert (score.label, score.tempo_bpm, len(score)) == ("bach", pytest.approx(90.0, abs=1e-4), 3)
    names = again["style"].decode(ids["style"]).instruments
    again["music"].automaton.constrain(again["music"].automaton.start(1), instruments=names)
    grown = kinds["style"].extend_vocabulary(again["style"], [MUSIC.survey(piece("My Song"))])
    assert grown.labels == ("bach", "chopin", "my-song")


def test_a_preview_is_a_picture_and_a_sound(tmp_path):
    files = MUSIC.preview(piece(), tmp_path / "a.mid")
    assert [path.name for path in files] == ["a.png", "a.wav"]
    assert all(path.stat().st_size > 1000 for path in files)


def test_a_beginning_is_kept():
    assert MUSIC.keep(piece(), "0.75s").end_s == pytest.approx([0.5, 0.75], abs=1e-4)
    assert len(MUSIC.keep(piece(), "0.5")) == 2
    with pytest.raises(ValueError, match="'8m': an amount such as 8s, or a share"):
        MUSIC.keep(piece(), "8m")


def test_music_without_style_joins_to_itself():
    score = piece()
    assert MUSIC.join({"music": score}) is score
    assert MUSIC.join({"music": score, "style": Style("bach")}).label == "bach"
