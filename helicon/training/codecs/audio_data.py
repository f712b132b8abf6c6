"""The Lightning data module of sound codecs: a folder of sounds as batches of windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from helicon.data.config import AudioDataConfig
from helicon.data.entries import at_path
from helicon.data.files import DataError, scan
from helicon.data.raw import SoundBatches, Sounds
from helicon.formats.audio import common_rate
from helicon.modalities import registry
from helicon.training.codecs.raw_data import RawData

LONGEST_S, ALL_S = 20.0, 120.0  # of one held-out sound, and of all, that a validation listens to
TOGETHER = 1 << 22  # samples of sounds that are encoded at a time
LOOKED_AT = 100  # files whose rate is looked up, where none is given


class AudioData(RawData):
    """Any folder of sounds, searched recursively, read once into a cache; batch t is a function of (data, seed, t)."""

    medium = "audio"

    def __init__(self, config: AudioDataConfig) -> None:
        self.channels, self.window = config.channels, config.window
        self.rate = config.rate or folder_rate(Path(config.path), Path(config.manifest) if config.manifest else None)
        super().__init__(config, "pcm", {"rate": self.rate, "channels": self.channels})

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
        return SoundBatches(self.sounds, self.window, self.batch_size, self.seed, self.ranges, rank, world)

    def sample(self, count: int) -> Tensor:
        """float32 [count, C + 1, S]: windows to train on that do not depend on the process."""
        return SoundBatches(self.sounds, self.window, count, self.seed).batch(0)

    def held_batches(self) -> list[Tensor]:
        """Held-out sounds, float32 [1, C, S] each, spread evenly over them; none is cut but very long ones."""
        each = np.minimum(self.sounds.lengths[self.val], round(LONGEST_S * self.rate))
        share = min(1.0, ALL_S * self.rate / max(1, int(each.sum())))
        chosen = self.val[:: max(1, round(1 / share))]
        return [self.sounds.stretch(int(i), 0, round(LONGEST_S * self.rate))[None] for i in chosen]

    def whole_sounds(self) -> Iterator[list[Tensor]]:
        """All sounds to train on, float32 [C, S], several short ones at a time."""
        group_of = np.cumsum(self.channels * self.sounds.lengths[self.train]) // TOGETHER
        for group in np.split(self.train, np.flatnonzero(np.diff(group_of)) + 1):
            yield [self.sounds.stretch(int(i)) for i in group]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run goes on with, whatever the folder now holds."""
        return {"rate": self.rate}

    def restore(self, state: dict[str, Any]) -> None:
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
