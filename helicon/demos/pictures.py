"""Picture demo: text-to-image on pictures of two shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from helicon.demos.captioned import CaptionedSamples, CaptionedWorld
from helicon.demos.shape_checker import CHANCE, obeys
from helicon.demos.shape_reader import DetectedShape, read_scene
from helicon.demos.shapes import Scene, held_out_scene, write_folder
from helicon.formats.page import PageItem
from helicon.formats.sheets import contact_sheet
from helicon.presets import Config

INTRO = """\
A program drew {pieces:,} pictures of two shapes, each with a caption. A codec learned to write a picture as {codes} \
codes, and a model of {millions:.1f} million parameters learned which codes follow which caption. No caption below was \
in training: each shows a shape of a size and colour where none of that kind ever stood.
Of {samples} samples for {captions} such captions, {right:.1f} % show every named attribute as asked: size, colour and \
kind of both shapes, and how they stand. Guessing gets one in {guess:,} right; measured against other captions, the \
same pictures get {shuffled:.1f} % right."""


@dataclass(frozen=True)
class PictureWorld(CaptionedWorld):
    """Demo of pictures of two shapes."""

    minutes: float = 6.0
    pieces: int = 20_000

    things, making, measuring = "pictures", "drawing", "what captions say that were not in training"
    medium, layout, batch, best_of = "image", "text[12] image[]", 64, 8
    codec_steps_a_minute, steps_a_minute, codec_share = 700, 450, 0.17
    codec_options: ClassVar[Config] = {
        "data": {"size": 32, "augment": False, "batch_size": 64}, "model": {"factor": 8, "blocks": 1, "codes": 768},
    }  # fmt: skip
    title, intro = "Pictures by a model of made-up shapes", INTRO
    example, chance = "a small red circle above a large blue square", CHANCE

    def make(self) -> None:
        write_folder(self.folder, self.pieces, self.seed)

    def held_out(self, rng: np.random.Generator) -> Scene:
        return held_out_scene(rng)

    def read(self, output: np.ndarray) -> list[DetectedShape]:
        return read_scene(output)

    def obeys(self, reading: Sequence[DetectedShape], asked: Scene) -> dict[str, bool]:
        return obeys(reading, asked)

    def show_samples(self, samples: CaptionedSamples, right: Sequence[bool], stem: Path) -> PageItem:
        """Write all pictures of a caption side by side.

        Args:
            samples: `CaptionedSamples`, pictures of one caption, with their readings.
            right: for each picture, True if all attributes are as asked.
            stem: path of the file without suffix.

        Returns:
            `PageItem` for the result page.
        """
        sheet = stem.with_suffix(".png")
        contact_sheet(samples.media, sheet, columns=len(samples.media))
        shown = sheet.relative_to(self.out)
        return PageItem(
            title=samples.asked.caption, caption=f"{sum(right)} of {len(right)} as asked", image=shown, files=[shown]
        )
