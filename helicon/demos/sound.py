"""Sound demo: text-to-audio on sounds of two notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from helicon.demos.captioned import CaptionedSamples, CaptionedWorld
from helicon.demos.tone_checker import CHANCE, obeys
from helicon.demos.tone_reader import DetectedNote, read_notes
from helicon.demos.tones import RATE, SAMPLES, Tones, held_out_tones, write_folder
from helicon.formats.audio import Sound, write_audio
from helicon.formats.page import PageItem
from helicon.formats.sound_plots import sound_picture
from helicon.presets import Config

INTRO = """\
A program played {pieces:,} pairs of notes, plucked, bowed or blown, each with a caption. A codec learned to write a \
second of sound as {codes} codes, and a model of {millions:.1f} million parameters learned which codes follow which \
caption. No caption below was in training: a fifth of all pairs of notes were held out.
Of {samples} samples for {captions} such captions, {right:.1f} % have both pitches, both timbres and their order as \
asked, heard by a program that knows neither the model nor the player. Guessing gets one in {guess:,} right; measured \
against other captions, the same sounds get {shuffled:.1f} % right."""

HOP = 64  # half of what a tone repeats after


@dataclass(frozen=True)
class SoundWorld(CaptionedWorld):
    """Demo of pairs of notes."""

    minutes: float = 3.0
    pieces: int = 6000

    things, making, measuring = "sounds", "playing", "what captions say that were not in training"
    medium, layout, batch, best_of = "audio", f"text[12] audio[{SAMPLES // HOP}]", 32, 4
    codec_steps_a_minute, steps_a_minute, codec_share = 600, 300, 0.25
    codec_options: ClassVar[Config] = {
        "data": {"rate": RATE, "window": SAMPLES // 2},
        "model": {"hops": HOP, "stride": HOP, "depth": 1, "width": 128, "code_width": 32, "lr": 0.006, "mel": 0.1},
    }
    title, intro = "Sounds by a model of made-up tones", INTRO
    example, chance = "a plucked low C, then a bowed high G", CHANCE

    def make(self) -> None:
        write_folder(self.folder, self.pieces, self.seed)

    def held_out(self, rng: np.random.Generator) -> Tones:
        return held_out_tones(rng)

    def read(self, output: Sound) -> list[DetectedNote]:
        return read_notes(output.samples, output.rate)

    def obeys(self, reading: Sequence[DetectedNote], asked: Tones) -> dict[str, bool]:
        return obeys(reading, asked)

    def show_samples(self, samples: CaptionedSamples, right: Sequence[bool], stem: Path) -> PageItem:
        """Write the first sound of a caption, and a picture of it.

        Args:
            samples: `CaptionedSamples`, sounds of one caption, with their readings.
            right: for each sound, True if all attributes are as asked.
            stem: path of the files without suffix.

        Returns:
            `PageItem` for the result page.
        """
        sound, path, picture = samples.media[0], stem.with_suffix(".wav"), stem.with_suffix(".png")
        write_audio(sound, path)
        sound_picture(sound.samples, sound.rate, picture)
        played, shown = path.relative_to(self.out), picture.relative_to(self.out)
        verdict = "as asked" if right[0] else "not as asked"
        return PageItem(title=samples.asked.caption, caption=verdict, audio=played, image=shown, files=[played])
