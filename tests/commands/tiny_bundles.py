"""Untrained bundles of a few thousand weights that the tests of commands share."""

from __future__ import annotations

from pathlib import Path

import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.formats.midi_write import write_midi
from helicon.formats.score import Score
from helicon.gpt.model import GPTConfig
from helicon.modalities.music import fit_music, fit_style
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.survey import MusicSurvey
from helicon.tokenizers.text import BytesTokenizer


def tune(pitches: list[int], step_s: float = 0.5, program: int = 0, velocity: int = 80, **more: object) -> Score:
    """One note after the other, each as long as its step."""
    onsets = [i * step_s for i in range(len(pitches))]
    ends = [onset + step_s for onset in onsets]
    count = len(pitches)
    return Score.of(onsets, ends, pitches, [velocity] * count, [program] * count, **more)  # type: ignore[arg-type]


def write_folder(root: Path, pieces: int = 8) -> list[Score]:
    """`high/` has flutes at 120 quarters a minute, `low/` pianos at 90, two notes a quarter; no. 0 is the longest."""
    scores = []
    for i in range(pieces):
        length = 40 + (20 if i == 0 else i)
        high = tune([84 + (k * (i + 2)) % 7 for k in range(length)], 1 / 4, 73, label="high")
        low = tune([40 + (k * (i + 3)) % 5 for k in range(length)], 1 / 3, 0, tempo_bpm=90.0, label="low")
        for score in (high, low):
            path = root / str(score.label) / f"{i}.mid"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_midi(score, path)
            scores.append(score)
    return scores


def music_bundle(scores: list[Score], context: int = 48) -> Bundle:
    """Layout `style[3] music`, tokenizers fitted to the scores."""
    surveys = [MusicSurvey.of(score) for score in scores]
    return bundle_of(["style[3] music"], {"style": fit_style(surveys), "music": fit_music(surveys)}, context)


def text_bundle(context: int = 16) -> Bundle:
    """Layout `text`, a token a byte."""
    return bundle_of(["text"], {"text": BytesTokenizer()}, context)


def bundle_of(specs: list[str], tokenizers: dict, context: int) -> Bundle:
    """Some layouts."""
    sequencer = Sequencer([Layout.parse(spec) for spec in specs], tokenizers, context)
    torch.manual_seed(0)
    gpt = make_gpt(GPTConfig(layers=1, width=16, heads=2, tied=False), sequencer.schema)
    names = {"style": "style", "music": "music", "text": "bytes", "image": "palette"}
    return Bundle(
        gpt=gpt, sequencer=sequencer, tokenizer_names={slot: names[slot] for slot in tokenizers}, notes={"step": 7}
    )


def uniform(bundle: Bundle) -> Bundle:
    """The same model with an output matrix of zeros: every token of a slot is as likely as any other."""
    assert bundle.gpt.head is not None
    torch.nn.init.zeros_(bundle.gpt.head.weight)
    return bundle
