"""Controllability of music: instruments, tempo and label of sampled pieces against those requested."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.data.prepared import Prepared
from helicon.data.split import hash_fraction
from helicon.evaluation.label_classifier import LinearProbe, fit_classifier
from helicon.evaluation.music_statistics import music_statistics
from helicon.evaluation.style_sampler import ControllabilityError, RealPiece, SampledPiece, StyleSampler
from helicon.evaluation.tempo import estimate_tempo
from helicon.formats.score import Score
from helicon.sequence.layout import Layout
from helicon.tokenizers.style import Style, StyleTokenizer

MIN_PIECES = 8  # of a label that is measured: two for each fold
FOLDS = 4  # of the cross-validation on real pieces
DIFFERENT_RATIO = 1.06  # tempos further apart, octaves aside, differ: twice the 3 % that count as right


def measure_controllability(
    bundle: Bundle, prepared: Prepared, layouts: Sequence[Layout], count: int, seconds: float = 24.0, seed: int = 0
) -> dict[str, Any]:
    """Sample pieces by their label alone and by headers of real pieces, and measure both.

    Args:
        bundle: `Bundle` of a model of music with a style slot.
        prepared: `Prepared` real pieces.
        layouts: `Layout` of each corpus of `prepared`, in order.
        count: pieces of each label, by either kind of request.
        seconds: length in seconds of each piece, and of the excerpts of real ones.
        seed: of the sampling.

    Returns:
        JSON-able dict: `pieces` (number sampled), `seconds` and `seed` as given, `instruments` (of
        `instruments_figures`), `tempo` (of `tempo_figures`), and `label` (of `label_figures`) where there are several
        labels.

    Raises:
        ControllabilityError: the model takes no style, or knows no label with MIN_PIECES real pieces.
    """
    sampler = StyleSampler.of(bundle, layouts)
    corpus = prepared.corpora[list(layouts).index(sampler.layout)]
    real = by_label(sampler.real_pieces(corpus, seconds))
    if not real:
        known = ", ".join(sampler.style.labels) or "none"
        raise ControllabilityError(
            f"no label with {MIN_PIECES} pieces or more that the model knows (it knows: {known})"
        )
    headers = [pieces[i * len(pieces) // count % len(pieces)].style for pieces in real.values() for i in range(count)]
    alone = [Style(label) for label in real for _ in range(count)]
    by_name = sampler.sample(alone, seconds, seed)
    by_header = sampler.sample(headers, seconds, seed, first=len(alone))
    figures: dict[str, Any] = {"pieces": len(by_name) + len(by_header), "seconds": seconds, "seed": seed}
    figures["instruments"] = instruments_figures(by_header, sampler.style)
    figures["tempo"] = tempo_figures(by_header, [piece for pieces in real.values() for piece in pieces])
    if len(real) > 1:
        figures["label"] = label_figures(real, by_name, by_header)
    return figures


def by_label(pieces: Iterable[RealPiece]) -> dict[str, list[RealPiece]]:
    """Group `RealPiece`s: label -> pieces, labels sorted; labels with fewer than MIN_PIECES pieces are left out."""
    groups: dict[str, list[RealPiece]] = defaultdict(list)
    for piece in pieces:
        groups[piece.style.label or ""].append(piece)
    return {label: groups[label] for label in sorted(groups) if label and len(groups[label]) >= MIN_PIECES}


def instruments_figures(pieces: Sequence[SampledPiece], tokenizer: StyleTokenizer) -> dict[str, Any]:
    """Measure notes by instruments that were not requested.

    Args:
        pieces: `SampledPiece`s; those without requested instruments are left out.
        tokenizer: `StyleTokenizer`, which has the table of instruments.

    Returns:
        dict: `pieces` and `notes`, the numbers counted; `notes_of_others`, notes by instruments that were not
        requested; `pieces_without_others`, the share in [0, 1] of pieces without such a note (None for no pieces).
    """
    asked = [piece for piece in pieces if piece.requested.instruments]
    outside = []
    for piece in asked:
        playing = tokenizer.table.by_program[piece.score.program]
        inside = [i for i, row in enumerate(tokenizer.table.instruments) if row.name in piece.requested.instruments]
        outside.append(int((~np.isin(playing, inside)).sum()))
    return {
        "pieces": len(asked), "pieces_without_others": float(np.mean(np.array(outside) == 0)) if outside else None,
        "notes": sum(len(piece.score) for piece in asked), "notes_of_others": sum(outside),
    }  # fmt: skip


def tempo_figures(pieces: Sequence[SampledPiece], real: Sequence[RealPiece]) -> dict[str, Any]:
    """Measure relative errors of the written and of the estimated tempo against the requested one.

    Real pieces are compared with the word of their header, a step of 5 quarter notes a minute. The control `another`
    compares a sampled piece with the tempo requested for another one: what no control at all would reach.

    Args:
        pieces: `SampledPiece`s; those without a requested tempo are left out.
        real: `RealPiece`s.

    Returns:
        dict: `written_largest_error`, the greatest |written / requested - 1| (0.03 is 3 %; None for no pieces), and the
        dicts of `tempo_errors` for `made` (sampled pieces), `real` and `another`.
    """
    asked = [(piece.score, piece.requested.tempo_bpm) for piece in pieces if piece.requested.tempo_bpm]
    written = [abs(score.tempo_bpm / bpm - 1) for score, bpm in asked]
    shuffled = [(score, asked[(i + len(asked) // 2) % len(asked)][1], bpm) for i, (score, bpm) in enumerate(asked)]
    another = [(score, other) for score, other, bpm in shuffled if _apart(other, bpm) > np.log(DIFFERENT_RATIO)]
    middles = [(piece.excerpts[len(piece.excerpts) // 2], piece.style.tempo_bpm) for piece in real]
    return {
        "written_largest_error": max(written, default=None),
        "made": tempo_errors(asked),
        "real": tempo_errors([(score, bpm) for score, bpm in middles if bpm]),
        "another": tempo_errors(another),
    }


def tempo_errors(pairs: Iterable[tuple[Score, float]]) -> dict[str, Any]:
    """Measure the errors of tempos that are estimated from onsets.

    Args:
        pairs: (`Score`, tempo that it should have, in quarter notes a minute).

    Returns:
        dict: `pieces`, the number of scores with an estimate (others are left out); `median_error`, the median of
        |estimate / tempo - 1|; `within_3_percent`, the share in [0, 1] of these errors up to 0.03. Both are None for no
        pieces.
    """
    estimates = [(estimate_tempo(score, bpm), bpm) for score, bpm in pairs]
    errors = np.array([abs(estimate / bpm - 1) for estimate, bpm in estimates if estimate])
    return {
        "pieces": len(errors),
        "median_error": float(np.median(errors)) if len(errors) else None,
        "within_3_percent": float((errors <= 0.03).mean()) if len(errors) else None,
    }


def label_figures(
    real: Mapping[str, list[RealPiece]], by_name: Sequence[SampledPiece], by_header: Sequence[SampledPiece]
) -> dict[str, Any]:
    """Measure how often a classifier recognises the requested label, beside its accuracy on real pieces.

    Accuracy is on excerpts as long as the sampled pieces, each by a classifier of the other folds. Sampled pieces are
    judged by a classifier of all real pieces. Means are over labels with equal weight. `chance` fits requests by label
    alone: the instruments of a whole header give some labels away, even with untrained weights.

    Args:
        real: label -> `RealPiece`s, two labels at least.
        by_name: `SampledPiece`s requested by their label alone.
        by_header: `SampledPiece`s requested by the header of a real piece.

    Returns:
        JSON-able dict of rates in [0, 1]: `chance` (1 / labels), `real_accuracy`, `hit_rate` (of `by_name`) and
        `hit_rate_whole_header` (of `by_header`); `real_excerpts`, the number of real excerpts; and `labels`, label ->
        dict of `real_pieces` and `asked` (numbers of real pieces and of `by_name`), the rates `real_recall`, `hit` and
        `hit_whole_header`, and the confusion rows `real_named`, `named` and `named_whole_header` (predicted label ->
        number of excerpts or pieces, '' for those without a note).
    """
    cross_validated = cross_validate(real)
    classifier = _fit((label, score) for label, pieces in real.items() for piece in pieces for score in piece.excerpts)
    rows: dict[str, dict[str, Any]] = {}
    for label, pieces in real.items():
        alone = _named(classifier, [piece.score for piece in by_name if piece.requested.label == label])
        header = _named(classifier, [piece.score for piece in by_header if piece.requested.label == label])
        rows[label] = {
            "real_pieces": len(pieces), "real_recall": _share(cross_validated[label], label), "asked": alone.total(),
            "hit": _share(alone, label), "hit_whole_header": _share(header, label),
            "named": dict(alone), "named_whole_header": dict(header), "real_named": dict(cross_validated[label]),
        }  # fmt: skip

    def mean(key: str) -> float:
        return float(np.mean([row[key] for row in rows.values()]))

    return {
        "chance": 1 / len(rows), "real_accuracy": mean("real_recall"), "hit_rate": mean("hit"),
        "real_excerpts": sum(names.total() for names in cross_validated.values()),
        "hit_rate_whole_header": mean("hit_whole_header"), "labels": rows,
    }  # fmt: skip


def cross_validate(real: Mapping[str, list[RealPiece]]) -> dict[str, Counter[str]]:
    """Predict the labels of real excerpts by cross-validation: pieces, not excerpts, are split into folds.

    Args:
        real: label -> `RealPiece`s, two labels at least.

    Returns:
        True label -> predicted label -> number of excerpts.
    """
    predictions: dict[str, Counter[str]] = {label: Counter() for label in real}
    folds = {label: [sorted(pieces, key=_by_hash)[i::FOLDS] for i in range(FOLDS)] for label, pieces in real.items()}
    for left_out in range(FOLDS):
        training = [
            (label, score)
            for label, parts in folds.items()
            for piece in chain.from_iterable(parts[:left_out] + parts[left_out + 1 :])
            for score in piece.excerpts
        ]
        classifier = _fit(training)
        for label, parts in folds.items():
            predictions[label] += _named(classifier, [score for piece in parts[left_out] for score in piece.excerpts])
    return predictions


def _by_hash(piece: RealPiece) -> float:
    return hash_fraction(piece.name)


def _fit(pairs: Iterable[tuple[str, Score]]) -> LinearProbe:
    labels, scores = zip(*pairs)
    return fit_classifier(np.stack([music_statistics(score) for score in scores]), labels)


def _named(classifier: LinearProbe, scores: Sequence[Score]) -> Counter[str]:
    """Count the predicted labels of scores; an empty score counts as ''."""
    rows = [music_statistics(score) for score in scores if len(score)]
    named = Counter(classifier.predict(np.stack(rows)) if rows else [])
    return named + Counter({"": len(scores) - len(rows)})


def _share(named: Counter[str], label: str) -> float:
    return named[label] / named.total() if named else 0.0


def _apart(a_bpm: float, b_bpm: float) -> float:
    """Return the distance of two tempos in natural logarithms, octaves aside."""
    distance = abs(np.log(a_bpm / b_bpm)) % np.log(2)
    return float(min(distance, np.log(2) - distance))
