"""The label classifier on classes made up to be separable, and on noise; what counts as a hit."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.evaluation.controllability import by_label, instruments_figures, label_figures, tempo_errors
from helicon.evaluation.label_classifier import fit_classifier
from helicon.evaluation.music_statistics import music_statistics
from helicon.evaluation.style_sampler import MAX_EXCERPTS, RealPiece, SampledPiece, cut
from helicon.formats.score import DRUMS, Score
from helicon.tokenizers.instruments import general_midi
from helicon.tokenizers.style import Style, StyleTokenizer
from helicon.tokenizers.survey import MusicSurvey


def scale(tonic: int, steps: tuple[int, ...], rng: np.random.Generator, program: int = 0, count: int = 80) -> Score:
    """Notes of a scale in random order, four a second."""
    pitch = tonic + rng.choice(steps, count) + 12 * rng.integers(0, 2, count)
    onset = np.arange(count) * 0.25
    return Score.of(onset, onset + 0.25, pitch, rng.integers(60, 90, count), [program] * count)


MAJOR, WHOLE_TONE = (0, 2, 4, 5, 7, 9, 11), (0, 2, 4, 6, 8, 10)


def test_separable_classes_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    centres = {"a": np.array([3.0, 0, 0]), "b": np.array([0, 3.0, 0]), "c": np.array([0, 0, 3.0])}
    labels = [label for label in centres for _ in range(30)]
    rows = np.stack([centres[label] + rng.normal(0, 0.3, 3) for label in labels])
    classifier = fit_classifier(rows, labels)
    assert classifier.predict(np.stack([centres[label] for label in "cab"])) == ["c", "a", "b"]


def test_many_examples_of_a_label_do_not_outvote_few() -> None:
    rows = np.concatenate([np.full((99, 1), -1.0), np.full((1, 1), 1.0)])
    classifier = fit_classifier(rows, ["many"] * 99 + ["few"])
    assert classifier.predict(np.array([[1.0], [0.2], [-0.2]]))[:1] == ["few"]


def test_a_feature_that_never_varies_is_no_fault() -> None:
    rows = np.array([[0.0, 5.0], [1.0, 5.0]])
    assert fit_classifier(rows, ["a", "b"]).predict(np.array([[0.0, 5.0], [1.0, 7.0]])) == ["a", "b"]


def test_one_label_is_refused() -> None:
    with pytest.raises(ValueError, match="two labels at least are needed, got a"):
        fit_classifier(np.zeros((2, 1)), ["a", "a"])


def test_features_do_not_depend_on_the_key() -> None:
    one, other = (scale(tonic, MAJOR, np.random.default_rng(1)) for tonic in (48, 51))
    classes = slice(11, 23)
    assert np.allclose(music_statistics(one)[classes], music_statistics(other)[classes])


def test_features_of_little_are_finite() -> None:
    nothing = Score.of([], [], [], [], [])
    drum = Score.of([1.0], [1.1], [36], [80], [DRUMS])
    note = Score.of([0.0], [1.0], [60], [80], [0])
    rows = np.stack([music_statistics(score) for score in (nothing, drum, note)])
    assert np.isfinite(rows).all()


def test_composers_of_two_scales() -> None:
    rng = np.random.default_rng(2)
    of = {"major": MAJOR, "whole": WHOLE_TONE}
    real = by_label(
        RealPiece(f"{label}/{i}", Style(label), [scale(48 + i % 12, of[label], rng)]) for label in of for i in range(12)
    )
    obedient = [SampledPiece(Style(label), scale(53, of[label], rng)) for label in of for _ in range(3)]
    swapped = {"major": "whole", "whole": "major"}
    contrary = [SampledPiece(Style(label), scale(53, of[other], rng)) for label, other in swapped.items()]
    found = label_figures(real, obedient, contrary)
    assert found["real_accuracy"] == 1.0
    assert found["real_excerpts"] == 24
    assert (found["hit_rate"], found["hit_rate_whole_header"], found["chance"]) == (1.0, 0.0, 0.5)
    assert found["labels"]["major"]["named_whole_header"] == {"whole": 1}


def test_a_piece_without_notes_is_a_miss() -> None:
    rng = np.random.default_rng(6)
    of = {"major": MAJOR, "whole": WHOLE_TONE}
    real = {label: [RealPiece(f"{i}", Style(label), [scale(48, of[label], rng)]) for i in range(8)] for label in of}
    nothing = SampledPiece(Style("major"), Score.of([], [], [], [], []))
    row = label_figures(real, [SampledPiece(Style("major"), scale(53, MAJOR, rng)), nothing], [nothing])["labels"][
        "major"
    ]
    assert (row["asked"], row["hit"], row["named"]) == (2, 0.5, {"major": 1, "": 1})
    assert (row["hit_whole_header"], row["named_whole_header"]) == (0.0, {"": 1})


def test_labels_with_few_pieces_are_left_out() -> None:
    pieces = [
        RealPiece(f"{label}/{i}", Style(label), []) for label, n in (("b", 8), ("a", 9), ("c", 7)) for i in range(n)
    ]
    assert list(by_label(pieces)) == ["a", "b"]


def test_a_sound_outside_the_set_is_counted() -> None:
    rng = np.random.default_rng(3)
    piano, flute = scale(60, MAJOR, rng, 0), scale(60, MAJOR, rng, 73)
    survey = MusicSurvey.merged(map(MusicSurvey.of, (piano, flute)))
    tokenizer = StyleTokenizer.fit(general_midi(survey), survey)
    asked = tokenizer.parse("piano")
    found = instruments_figures(
        [SampledPiece(asked, piano), SampledPiece(asked, flute), SampledPiece(Style("x"), flute)], tokenizer
    )
    assert found == {"pieces": 2, "pieces_without_others": 0.5, "notes": 160, "notes_of_others": 80}


def test_heard_tempo_of_pieces() -> None:
    even = scale(60, MAJOR, np.random.default_rng(4))  # four notes a second: 120 quarters a minute, and no other
    assert tempo_errors([(even, 120.0), (even, 110.0)])["within_3_percent"] == 0.5
    assert tempo_errors([]) == {"pieces": 0, "median_error": None, "within_3_percent": None}


def test_excerpts_do_not_overlap() -> None:
    score = scale(60, MAJOR, np.random.default_rng(5), count=4 * 60)
    assert [round(part.seconds) for part in cut(score, 24)] == [24, 24]
    assert len(cut(score, 5)) == MAX_EXCERPTS
    assert [round(part.seconds) for part in cut(score, 100)] == [60]
    assert cut(score.between(0, 2), 24) == []
