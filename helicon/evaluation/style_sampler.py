"""Real pieces of a folder, and pieces sampled in a requested style, as comparable scores."""

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

MAX_EXCERPTS = 6  # of a real piece, so that long pieces do not dominate
MIN_NOTES = 16  # of an excerpt; statistics of fewer notes say little
BATCH_SIZE = 16  # pieces that are decoded together


class ControllabilityError(ValueError):
    """Model without a style slot, or data without known labels; the message says which."""


@dataclass(frozen=True)
class RealPiece:
    """Real piece.

    Attributes:
        name: name of its file.
        style: `Style` that its header says.
        excerpts: at most MAX_EXCERPTS `Score`s, that do not overlap.
    """

    name: str
    style: Style
    excerpts: list[Score]


@dataclass(frozen=True)
class SampledPiece:
    """Sampled piece.

    Attributes:
        requested: `Style` that was requested.
        score: `Score` read back from the file that was written.
    """

    requested: Style
    score: Score


@dataclass(frozen=True)
class StyleSampler:
    """Layout of a model that generates music in a style, with the tokenizers of both."""

    bundle: Bundle
    layout: Layout
    style: StyleTokenizer
    music: MidiTokenizer

    @staticmethod
    def of(bundle: Bundle, layouts: Sequence[Layout]) -> StyleSampler:
        """Choose the first layout that has a style slot and generates music.

        Args:
            bundle: `Bundle` of the model.
            layouts: `Layout`s to choose from.

        Returns:
            The `StyleSampler`.

        Raises:
            ControllabilityError: none of the layouts does.
        """
        for layout in layouts:
            style = bundle.sequencer.tokenizers.get("style") if "style" in layout.starts else None
            music = bundle.sequencer.tokenizers[layout.target.name]
            if isinstance(style, StyleTokenizer) and isinstance(music, MidiTokenizer):
                return StyleSampler(bundle, layout, style, music)
        raise ControllabilityError(
            f"no layout of this model makes music in a style; it has: {'; '.join(map(str, layouts))}"
        )

    def real_pieces(self, corpus: Corpus, seconds: float) -> list[RealPiece]:
        """Decode the labelled pieces, so that they have lost what tokens cannot hold, as sampled ones have.

        Args:
            corpus: `Corpus` of examples with music and style.
            seconds: length of an excerpt in seconds.

        Returns:
            `RealPiece`s with at least one excerpt of MIN_NOTES notes.
        """
        pieces = []
        for index, name in enumerate(corpus.names):
            ids = corpus.example(index)
            style = self.style.decode(ids["style"])
            if style.label is None:
                continue
            excerpts = cut(self.music.decode(ids[self.layout.target.name]), seconds)
            if excerpts:
                pieces.append(RealPiece(name, style, excerpts))
        return pieces

    def words(self, style: Style) -> str:
        """Return the words that a user would type for a `Style`, separated by spaces, such as `bach piano tempo90`."""
        return " ".join(self.style.to_words(self.style.encode(style)))

    def sample(self, styles: Sequence[Style], seconds: float, seed: int, first: int = 0) -> list[SampledPiece]:
        """Sample a piece for each style, written to a file and read again; piece i depends on (seed, first + i) alone.

        Args:
            styles: requested `Style`s.
            seconds: length of a piece in seconds.
            seed: of the sampling.
            first: number of the first piece, from which the others count on.

        Returns:
            A `SampledPiece` for each style, in order.
        """
        pieces = []
        prompts = [
            make_prompt(self.bundle, self.layout, Request(conditions={"style": self.words(style)}, seconds=seconds))[0]
            for style in styles
        ]
        sampling = Sampling(chain=logits_processors(SamplingOptions()), seed=seed)
        for start in bar(range(0, len(styles), BATCH_SIZE), of="making", unit="batches"):
            batch = slice(start, min(start + BATCH_SIZE, len(styles)))
            items = range(first + batch.start, first + batch.stop)
            drawn = decode(self.bundle.gpt, self.bundle.sequencer, self.layout, prompts[batch], sampling, items)
            pieces += [self._played(style, ids) for style, ids in zip(styles[batch], drawn)]
        return pieces

    def _played(self, asked: Style, ids: np.ndarray) -> SampledPiece:
        modality = registry.for_slot(self.layout.target.name, self.layout.all_slots)
        with scratch_file(modality.suffixes[0]) as path:
            modality.write(asked.applied_to(self.music.decode(ids)), path)
            return SampledPiece(asked, modality.read(path, options=self.bundle.reading)[0])


def cut(score: Score, seconds: float) -> list[Score]:
    """Cut excerpts from a score, at most MAX_EXCERPTS, evenly spaced, without overlap.

    Args:
        score: `Score`; a shorter one is one excerpt.
        seconds: length of an excerpt in seconds.

    Returns:
        `Score`s with MIN_NOTES notes or more, in order of time.
    """
    count = min(MAX_EXCERPTS, max(1, int(score.seconds // seconds)))
    starts = np.linspace(0, max(0.0, score.seconds - seconds), count)
    stretches = [score.between(start, start + seconds) for start in starts]
    return [stretch for stretch in stretches if len(stretch) >= MIN_NOTES]
