"""Data augmentation of sounds: gain, speed and shift in time.

Shapes: S samples, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.formats.audio import Sound
from helicon.tokenizers.augment import AugmentationRanges, check_range


@dataclass(frozen=True)
class SoundAugmentation:
    """Augmentation of a sound.

    Attributes:
        gain: decibels, reduced where samples would clip.
        speed: factor, as of a tape; 2 halves times and doubles frequencies.
        shift: seconds of silence to prepend; if negative, seconds to cut off the beginning.
    """

    gain: float = 0.0
    speed: float = 1.0
    shift: float = 0.0

    def apply(self, sound: Sound) -> Sound:
        """Augment a `Sound`, and return the new one; at least one sample is left."""
        samples = self.changed(torch.from_numpy(sound.samples.T)).T.numpy()
        moved = round(self.shift * sound.rate)
        samples = samples[min(-moved, len(samples) - 1) :] if moved < 0 else np.pad(samples, ((moved, 0), (0, 0)))
        return replace(sound, samples=samples)

    def changed(self, x_CS: Tensor) -> Tensor:
        """Apply speed and gain, not the shift, to S samples float32 [C, S]; the result is float32 [C, S / speed]."""
        if self.speed != 1 and x_CS.shape[1]:
            length = max(1, round(x_CS.shape[1] / self.speed))
            resampled_CS = torch.from_numpy(soxr.resample(x_CS.T.numpy(), self.speed, 1.0)).T[:, :length]
            x_CS = F.pad(resampled_CS, (0, length - resampled_CS.shape[1]))
        if self.gain == 0 or not x_CS.any():
            return x_CS.clamp(-1, 1)
        return x_CS * min(10 ** (self.gain / 20), 1 / float(x_CS.abs().max()))


@dataclass(frozen=True)
class SoundRanges(AugmentationRanges):
    """Ranges of gain in decibels, of speed as a factor, and of shift in seconds, negative ones included."""

    gain: Sequence[float] = (0.0, 0.0)
    speed: Sequence[float] = (1.0, 1.0)
    shift: Sequence[float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_range("gain", self.gain, -60, 60)
        check_range("speed", self.speed, 0.5, 2)
        check_range("shift", self.shift, -60, 60)

    @property
    def idle(self) -> bool:
        """True if all ranges are neutral."""
        return [*self.gain, *self.speed, *self.shift] == [0, 0, 1, 1, 0, 0]

    def draw(self, rng: np.random.Generator) -> SoundAugmentation:
        """Draw a `SoundAugmentation` from a NumPy generator.

        Always three random numbers are drawn, so that no range alters the draws of the others.
        """
        return SoundAugmentation(*(float(rng.uniform(a, b)) for a, b in (self.gain, self.speed, self.shift)))
