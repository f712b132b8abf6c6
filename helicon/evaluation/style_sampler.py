"""Real pieces of a folder, and pieces sampled to order, as scores that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.data.corpus import Corpus
from helicon.formats.progress import bar
from helicon.formats.score import Score
from helicon.formats.temporary import scratch_file
from helicon.generation.decode_request import Sampling
from helicon.generation.engine import decode
from helicon.generation.prompts import make_prompt
from helicon.generation.request import Request
from helicon.gpt.sampler import logits_processors
from helicon.modalities import registry
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.style import Style, StyleTokenizer

EXCERPTS = 6  # of a real piece at most, evenly spaced
FEWEST_NOTES = 16
BATCH = 16  # pieces made at a time


class ControllabilityError(ValueError):
    """A model that cannot be asked for anything; the message says what is missing."""


@dataclass(frozen=True)
class RealPiece:
    """A real piece: its name, what its header says, and some seconds of it from several places."""

    name: str
    style: Style
    excerpts: list[Score]


@dataclass(frozen=True)
class SampledPiece:
    """A sampled piece: the style that was asked for, and what was read back from its file."""

    asked: Style
    score: Score


@dataclass(frozen=True)
class StyleSampler:
    """A model's layout that makes music in an asked style, and the tokenizers of both."""

    bundle: Bundle
    layout: Layout
    style: StyleTokenizer
    music: MidiTokenizer

    @staticmethod
    def of(bundle: Bundle, layouts: Sequence[Layout]) -> StyleSampler:
        """The first of the layouts that has a style and makes music; ControllabilityError when none does."""
        for layout in layouts:
            style = bundle.sequencer.tokenizers.get("style") if "style" in layout.starts else None
            music = bundle.sequencer.tokenizers[layout.target.name]
            if isinstance(style, StyleTokenizer) and isinstance(music, MidiTokenizer):
                return StyleSampler(bundle, layout, style, music)
        raise ControllabilityError(
            f"no layout of this model makes music in a style; it has: {'; '.join(map(str, layouts))}"
        )

    def real_pieces(self, corpus: Corpus, seconds: float) -> list[RealPiece]:
        """The labelled pieces, as the tokenizer keeps them: what is told apart must not be what tokens cannot hold."""
        found = []
        for index, name in enumerate(corpus.names):
            ids = corpus.example(index)
            style = self.style.decode(ids["style"])
            if style.label is None:
                continue
            excerpts = cut(self.music.decode(ids[self.layout.target.name]), seconds)
            if excerpts:
                found.append(RealPiece(name, style, excerpts))
        return found

    def words(self, style: Style) -> str:
        """What a user types for a style."""
        return " ".join(self.style.to_words(self.style.encode(style)))

    def sample(self, styles: Sequence[Style], seconds: float, seed: int, first: int = 0) -> list[SampledPiece]:
        """A piece of each style, written to a file and read again; item i depends on (seed, first + i) alone."""
        made = []
        prompts = [
            make_prompt(self.bundle, self.layout, Request(conditions={"style": self.words(style)}, seconds=seconds))[0]
            for style in styles
        ]
        sampling = Sampling(chain=logits_processors(SamplingOptions()), seed=seed)
        for start in bar(range(0, len(styles), BATCH), of="making", unit="batches"):
            batch = slice(start, min(start + BATCH, len(styles)))
            items = range(first + batch.start, first + batch.stop)
            drawn = decode(self.bundle.gpt, self.bundle.sequencer, self.layout, prompts[batch], sampling, items)
            made += [self._played(style, ids) for style, ids in zip(styles[batch], drawn)]
        return made

    def _played(self, asked: Style, ids: np.ndarray) -> SampledPiece:
        modality = registry.for_slot(self.layout.target.name, self.layout.all_slots)
        with scratch_file(modality.suffixes[0]) as path:
            modality.write(asked.applied_to(self.music.decode(ids)), path)
            return SampledPiece(asked, modality.read(path, options=self.bundle.reading)[0])


def cut(score: Score, seconds: float) -> list[Score]:
    """At most EXCERPTS stretches that do not overlap, evenly spaced; a shorter piece whole; none with too few notes."""
    count = min(EXCERPTS, max(1, int(score.seconds // seconds)))
    starts = np.linspace(0, max(0.0, score.seconds - seconds), count)
    stretches = [score.between(start, start + seconds) for start in starts]
    return [stretch for stretch in stretches if len(stretch) >= FEWEST_NOTES]
