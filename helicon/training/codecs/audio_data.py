"""Lightning data module of audio codecs: a folder of sounds as batches of windows."""

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
from helicon.sources.local import local_path
from helicon.training.codecs.raw_data import RawData

# Seconds of a held-out sound, and of all of them, that a validation decodes: bounds its time, whatever the folder
MAX_SOUND_S, MAX_VAL_S = 20.0, 120.0
GROUP_SAMPLES = 1 << 22  # samples of the sounds that are loaded at a time: 16 MiB of float32
MAX_PROBED = 100  # files whose sampling rate is looked up: enough for a majority, and quick in a folder of any size


class AudioData(RawData):
    """Data module of audio codecs: windows of the sounds of a folder; batch t is a function of (data, seed, t).

    The folder is searched recursively and read once into a cache. Without `config.rate`, its most common rate is taken.

    Attributes:
        channels: of the batches; files with more or fewer are converted.
        window: samples of a window.
        rate: samples a second.
    """

    medium = "audio"

    def __init__(self, config: AudioDataConfig) -> None:
        self.channels, self.window = config.channels, config.window
        cache, manifest = (Path(name) if name else None for name in (config.cache, config.manifest))
        self.rate = config.rate or folder_rate(local_path(config.path, cache), manifest)
        super().__init__(config, "pcm", {"rate": self.rate, "channels": self.channels})

    @property
    def reading(self) -> dict[str, int]:
        """Options with which sound files are read, as a codec stores them: `rate` (samples a second) and `channels`."""
        return {"rate": self.rate, "channels": self.channels}

    @cached_property
    def sounds(self) -> Sounds:
        """`Sounds` of the folder, training and held out; available once prepared."""
        return Sounds(self.corpus, self.medium, self.channels)

    @property
    def seconds(self) -> float:
        """Total seconds of the training sounds."""
        return float(self.sounds.lengths[self.train].sum()) / self.rate

    def make_batches(self, rank: int, world: int) -> SoundBatches:
        """Make the batches of training windows.

        Args:
            rank: of this process.
            world: number of processes.

        Returns:
            `SoundBatches` of B windows of S samples, float32 [B, C + 1, S], the last channel the mask.
        """
        return SoundBatches(self.sounds, self.window, self.batch_size, self.seed, self.ranges, rank, world)

    def sample(self, count: int) -> Tensor:
        """Draw training windows of S samples, the last channel the mask, float32 [count, C + 1, S].

        They are the same on every process.
        """
        return SoundBatches(self.sounds, self.window, count, self.seed).batch(0)

    def make_val_batches(self) -> list[Tensor]:
        """Load held-out sounds, each of S samples float32 [1, C, S], spread evenly; cut at MAX_SOUND_S only."""
        lengths = np.minimum(self.sounds.lengths[self.val], round(MAX_SOUND_S * self.rate))
        share = min(1.0, MAX_VAL_S * self.rate / max(1, int(lengths.sum())))
        chosen = self.val[:: max(1, round(1 / share))]
        return [self.sounds.stretch(int(i), 0, round(MAX_SOUND_S * self.rate))[None] for i in chosen]

    def sound_groups(self) -> Iterator[list[Tensor]]:
        """Yield all training sounds of S samples, float32 [C, S] each, in lists of about GROUP_SAMPLES."""
        group_of = np.cumsum(self.channels * self.sounds.lengths[self.train]) // GROUP_SAMPLES
        for group in np.split(self.train, np.flatnonzero(np.diff(group_of)) + 1):
            yield [self.sounds.stretch(int(i)) for i in group]

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint: that of `RawData`, and `rate`, samples a second."""
        return {**super().state_dict(), "rate": self.rate}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the rate and the files held out from the dict that `state_dict` put into a checkpoint."""
        super().restore(state)
        self.rate = int(state["rate"])
        self.source.options["rate"] = self.rate  # type: ignore[index]


def folder_rate(path: Path, manifest: Path | None = None) -> int:
    """Find the most common sampling rate of a folder, among MAX_PROBED files spread evenly.

    Args:
        path: folder, searched recursively, or one file.
        manifest: file that lists the sounds, instead of searching.

    Returns:
        Samples a second; the higher of two that are equally common.

    Raises:
        DataError: there are no sounds, or none of them can be opened.
    """
    entries = scan(path, [registry.get(AudioData.medium)], manifest).entries
    files = [entry.files[AudioData.medium] for entry in entries[:: -(-len(entries) // MAX_PROBED)]]
    with ExitStack() as stack:
        paths = []
        for file in files:
            with suppress(OSError, ValueError):  # not readable in its shard: reported when it is read
                paths.append(stack.enter_context(at_path(file)))
        try:
            return common_rate(paths)
        except ValueError:  # the reasons are reported when the files are read
            message = f"none of {len(files)} sounds could be opened; say --data.rate to see why"
            raise DataError(f"{path}: {message}") from None
