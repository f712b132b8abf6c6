"""Asks a model for pieces and measures what came: instruments, tempo, label. Real pieces are measured the same way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.data.files import share
from helicon.data.prepare import Prepared
from helicon.evaluation.heard_tempo import heard_tempo
from helicon.evaluation.label_classifier import LinearProbe, fit_classifier
from helicon.evaluation.music_statistics import music_statistics
from helicon.evaluation.style_sampler import ControllabilityError, RealPiece, SampledPiece, StyleSampler
from helicon.formats.score import Score
from helicon.sequence.layout import Layout
from helicon.tokenizers.style import Style, StyleTokenizer

FEWEST_PIECES = 8  # of a label that is measured
FOLDS = 4  # of the real pieces, each judged by a classifier of the others
DIFFERENT = 1.06  # tempos further apart than this, octaves aside, are another's


def measure_controllability(
    bundle: Bundle, prepared: Prepared, layouts: Sequence[Layout], count: int, seconds: float = 24.0, seed: int = 0
) -> dict[str, Any]:
    """JSON-able figures for `count` pieces a label, asked by its word alone, and as many by headers of real pieces.

    Raises:
        ControllabilityError: where the model takes no style, or the folder has no label that it knows, with
            FEWEST_PIECES or more.
    """
    sampler = StyleSampler.of(bundle, layouts)
    corpus = prepared.corpora[list(layouts).index(sampler.layout)]
    real = by_label(sampler.real_pieces(corpus, seconds))
    if not real:
        known = ", ".join(sampler.style.labels) or "none"
        raise ControllabilityError(
            f"no label with {FEWEST_PIECES} pieces or more that the model knows (it knows: {known})"
        )
    headers = [pieces[i * len(pieces) // count % len(pieces)].style for pieces in real.values() for i in range(count)]
    alone = [Style(label) for label in real for _ in range(count)]
    by_name = sampler.sample(alone, seconds, seed)
    by_header = sampler.sample(headers, seconds, seed, first=len(alone))
    found: dict[str, Any] = {"pieces": len(by_name) + len(by_header), "seconds": seconds, "seed": seed}
    found["instruments"] = instruments_figures(by_header, sampler.style)
    found["tempo"] = tempo_figures(by_header, [piece for pieces in real.values() for piece in pieces])
    if len(real) > 1:
        found["label"] = label_figures(real, by_name, by_header)
    return found


def by_label(pieces: Iterable[RealPiece]) -> dict[str, list[RealPiece]]:
    """Label -> its pieces, for labels with enough of them, in order of name."""
    found: dict[str, list[RealPiece]] = defaultdict(list)
    for piece in pieces:
        found[piece.style.label or ""].append(piece)
    return {label: found[label] for label in sorted(found) if label and len(found[label]) >= FEWEST_PIECES}


def instruments_figures(made: Sequence[SampledPiece], tokenizer: StyleTokenizer) -> dict[str, Any]:
    """Share of pieces without a sound outside the set asked, and of notes outside it."""
    asked = [piece for piece in made if piece.asked.instruments]
    others = []
    for piece in asked:
        playing = tokenizer.table.by_program[piece.score.program]
        inside = [i for i, row in enumerate(tokenizer.table.instruments) if row.name in piece.asked.instruments]
        others.append(int((~np.isin(playing, inside)).sum()))
    return {
        "pieces": len(asked), "pieces_without_others": float(np.mean(np.array(others) == 0)) if others else None,
        "notes": sum(len(piece.score) for piece in asked), "notes_of_others": sum(others),
    }  # fmt: skip


def tempo_figures(made: Sequence[SampledPiece], real: Sequence[RealPiece]) -> dict[str, Any]:
    """Errors of the tempo in the file and of the tempo that is heard, each as a share of the tempo asked.

    Real pieces are heard against the word of their header, which is a step of 5 quarters a minute. `another` hears the
    pieces that were made near a tempo that was asked for another of them: what no control at all would look like.
    """
    asked = [(piece.score, piece.asked.tempo_bpm) for piece in made if piece.asked.tempo_bpm]
    written = [abs(score.tempo_bpm / bpm - 1) for score, bpm in asked]
    others = [(score, asked[(i + len(asked) // 2) % len(asked)][1], bpm) for i, (score, bpm) in enumerate(asked)]
    another = [(score, other) for score, other, bpm in others if _apart(other, bpm) > np.log(DIFFERENT)]
    middles = [(piece.excerpts[len(piece.excerpts) // 2], piece.style.tempo_bpm) for piece in real]
    return {
        "written_largest_error": max(written, default=None),
        "made": heard_figures(asked),
        "real": heard_figures([(score, bpm) for score, bpm in middles if bpm]),
        "another": heard_figures(another),
    }


def heard_figures(pairs: Iterable[tuple[Score, float]]) -> dict[str, Any]:
    """Pieces whose tempo can be heard, and how far it is from the tempo given for each."""
    heard = [(heard_tempo(score, bpm), bpm) for score, bpm in pairs]
    errors = np.array([abs(found / bpm - 1) for found, bpm in heard if found])
    return {
        "pieces": len(errors),
        "median_error": float(np.median(errors)) if len(errors) else None,
        "within_3_percent": float((errors <= 0.03).mean()) if len(errors) else None,
    }


def label_figures(
    real: Mapping[str, list[RealPiece]], by_name: Sequence[SampledPiece], by_header: Sequence[SampledPiece]
) -> dict[str, Any]:
    """How well a classifier knows real pieces it has not seen, and how often it names the label that was asked.

    The accuracy is of excerpts as long as the pieces made, each judged by a classifier of the other folds' pieces. What
    is made is judged by one of all real pieces. Means are over labels, each weighing the same. Chance is that of pieces
    asked by label alone: a whole header's instruments give some labels away, even with untrained weights.
    """
    seen = named_unseen(real)
    classifier = _fit((label, score) for label, pieces in real.items() for piece in pieces for score in piece.excerpts)
    rows: dict[str, dict[str, Any]] = {}
    for label, pieces in real.items():
        alone = _named(classifier, [piece.score for piece in by_name if piece.asked.label == label])
        header = _named(classifier, [piece.score for piece in by_header if piece.asked.label == label])
        rows[label] = {
            "real_pieces": len(pieces), "real_recall": _share(seen[label], label), "asked": alone.total(),
            "hit": _share(alone, label), "hit_whole_header": _share(header, label),
            "named": dict(alone), "named_whole_header": dict(header), "real_named": dict(seen[label]),
        }  # fmt: skip

    def mean(key: str) -> float:
        return float(np.mean([row[key] for row in rows.values()]))

    return {
        "chance": 1 / len(rows), "real_accuracy": mean("real_recall"), "hit_rate": mean("hit"),
        "real_excerpts": sum(found.total() for found in seen.values()),
        "hit_rate_whole_header": mean("hit_whole_header"), "labels": rows,
    }  # fmt: skip


def named_unseen(real: Mapping[str, list[RealPiece]]) -> dict[str, Counter[str]]:
    """Label -> what its excerpts are named, all those of a piece by a classifier that has seen none of them."""
    found: dict[str, Counter[str]] = {label: Counter() for label in real}
    folds = {label: [sorted(pieces, key=_by_hash)[i::FOLDS] for i in range(FOLDS)] for label, pieces in real.items()}
    for left_out in range(FOLDS):
        seen = [
            (label, score)
            for label, parts in folds.items()
            for piece in chain.from_iterable(parts[:left_out] + parts[left_out + 1 :])
            for score in piece.excerpts
        ]
        classifier = _fit(seen)
        for label, parts in folds.items():
            found[label] += _named(classifier, [score for piece in parts[left_out] for score in piece.excerpts])
    return found


def _by_hash(piece: RealPiece) -> float:
    return share(piece.name)


def _fit(pairs: Iterable[tuple[str, Score]]) -> LinearProbe:
    labels, scores = zip(*pairs)
    return fit_classifier(np.stack([music_statistics(score) for score in scores]), labels)


def _named(classifier: LinearProbe, scores: Sequence[Score]) -> Counter[str]:
    """How many of the scores are given each label; an empty one is given none, and counts as ''."""
    rows = [music_statistics(score) for score in scores if len(score)]
    named = Counter(classifier.predict(np.stack(rows)) if rows else [])
    return named + Counter({"": len(scores) - len(rows)})


def _share(named: Counter[str], label: str) -> float:
    return named[label] / named.total() if named else 0.0


def _apart(a_bpm: float, b_bpm: float) -> float:
    """Distance of two tempos in natural logarithms, octaves aside."""
    distance = abs(np.log(a_bpm / b_bpm)) % np.log(2)
    return float(min(distance, np.log(2) - distance))
