"""The Lightning data module of sound codecs: a folder of sounds as batches of windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from helicon.data.entries import at_path
from helicon.data.files import DataError, scan
from helicon.data.prepare import Source
from helicon.data.raw import SoundBatches, Sounds
from helicon.formats.audio import common_rate
from helicon.modalities import registry
from helicon.training.raw_data import RawData

LONGEST_S, ALL_S = 20.0, 120.0  # of one held-out sound, and of all, that a validation listens to
TOGETHER = 1 << 22  # samples of sounds that are encoded at a time
LOOKED_AT = 100  # files whose rate is looked up, where none is given


class AudioData(RawData):
    """Any folder of sounds, searched recursively, read once into a cache; batch t is a function of (data, seed, t).

    Args:
        path: folder (or one file) to train on.
        rate: samples a second that sounds are resampled to; that of most files unless given.
        channels: 1 for mono, 2 for stereo; sounds that have others are mixed.
        window: samples of a training example; a shorter sound is filled up with silence that counts for nothing.
        batch_size: windows a step, over all processes.
        seed: of batches and noise.
        held_out: share of the files, by a hash of their names, that is never trained on.
        manifest: CSV or JSONL with a column file, instead of searching the folder.
        workers: loader processes; results do not depend on their number.
        cache: folder of the cache; $HELICON_CACHE or the user's cache folder unless given.
    """

    medium = "audio"

    def __init__(
        self,
        path: str,
        rate: int | None = None,
        channels: int = 1,
        window: int = 2048,
        batch_size: int = 32,
        seed: int = 0,
        held_out: float = 0.05,
        manifest: str | None = None,
        workers: int = 0,
        cache: str | None = None,
    ) -> None:
        if channels not in (1, 2):
            raise DataError(f"--data.channels must be 1 or 2, got {channels}")
        if window < 1 or (rate is not None and rate < 1):
            raise DataError(f"--data.window and --data.rate must be 1 or more, got {window} and {rate}")
        listing = Path(manifest) if manifest else None
        self.channels, self.window = channels, window
        self.rate = rate or folder_rate(Path(path), listing)
        options = {"rate": self.rate, "channels": channels}
        source = Source(
            Path(path), (self.medium,), {self.medium: "pcm"}, options, listing, held_out, Path(cache) if cache else None
        )
        super().__init__(source, batch_size, seed, workers)

    @property
    def reading(self) -> dict[str, int]:
        """Options with which files are read."""
        return {"rate": self.rate, "channels": self.channels}

    @cached_property
    def sounds(self) -> Sounds:
        """All sounds, once prepared."""
        return Sounds(self.corpus, self.medium, self.channels)

    @property
    def seconds(self) -> float:
        """Of sound to train on."""
        return float(self.sounds.lengths[self.train].sum()) / self.rate

    def make_batches(self, rank: int, world: int) -> SoundBatches:
        """Batches float32 [B, C + 1, S], the last channel the mask."""
        return SoundBatches(self.sounds, self.window, self.batch_size, self.seed, rank, world)

    def sample(self, count: int) -> Tensor:
        """float32 [count, C + 1, S]: windows to train on that do not depend on the process."""
        return SoundBatches(self.sounds, self.window, count, self.seed).batch(0)

    def held_batches(self) -> list[Tensor]:
        """Held-out sounds, float32 [1, C, S] each, spread evenly over them; none is cut but very long ones."""
        each = np.minimum(self.sounds.lengths[self.held], round(LONGEST_S * self.rate))
        share = min(1.0, ALL_S * self.rate / max(1, int(each.sum())))
        chosen = self.held[:: max(1, round(1 / share))]
        return [self.sounds.stretch(int(i), 0, round(LONGEST_S * self.rate))[None] for i in chosen]

    def whole_sounds(self) -> Iterator[list[Tensor]]:
        """All sounds to train on, float32 [C, S], several short ones at a time."""
        group_of = np.cumsum(self.channels * self.sounds.lengths[self.train]) // TOGETHER
        for group in np.split(self.train, np.flatnonzero(np.diff(group_of)) + 1):
            yield [self.sounds.stretch(int(i)) for i in group]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with, whatever the folder now holds."""
        return {"rate": self.rate}

    def keep(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.rate = int(state["rate"])
        self.source.options["rate"] = self.rate  # type: ignore[index]


def folder_rate(path: Path, manifest: Path | None = None) -> int:
    """Samples a second of most files of a folder; of so many of them, spread evenly."""
    entries = scan(path, [registry.get(AudioData.medium)], manifest).entries
    files = [entry.files[AudioData.medium] for entry in entries[:: -(-len(entries) // LOOKED_AT)]]
    with ExitStack() as places:
        paths = []
        for file in files:
            with suppress(OSError, ValueError):  # one that is not copied out of its shard is skipped later
                paths.append(places.enter_context(at_path(file)))
        try:
            return common_rate(paths)
        except ValueError:  # said with its reason when it is read
            told = f"none of {len(files)} sounds could be opened; say --data.rate to see why"
            raise DataError(f"{path}: {told}") from None
