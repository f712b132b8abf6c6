"""What a reconstruction of sound is trained on: the waveform, its worst samples, its spectra, log-mel.

Shapes: B windows, C channels, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.formats.spectra import log_mel, spectrogram

WORST = 1 / 64  # share of a window's samples whose errors count once more (Jukebox: 2,048 of some 131,000)
SPANS_S = (0.046, 0.023, 0.0116)  # Fourier windows: 2048, 1024 and 512 samples at 44.1 kHz, as Jukebox has them
OVERLAP = 5  # hops a window


@dataclass(frozen=True)
class LossWeights:
    """Of the parts of the loss beside the waveform's, whose weight is 1."""

    worst: float = 0.02
    spectral: float = 0.1
    mel: float = 3.0


@dataclass(frozen=True)
class LossScales:
    """What errors are measured by: the sounds' variance, and the mean square of their spectra at each resolution."""

    variance: float
    spectra: tuple[float, ...]


def resolutions(rate: int) -> list[int]:
    """Samples of the Fourier windows: powers of 2, at least 32."""
    return [max(32, 1 << round(torch.tensor(span * rate).log2().item())) for span in SPANS_S]


def measure_scales(sound: Tensor, mask: Tensor, rate: int) -> LossScales:
    """Of windows [B, C, S] to train on; mask [B, 1, S]."""
    sound = sound * mask
    variance = float(sound.double().square().sum() / (mask.sum() * sound.shape[1]).clamp(min=1))
    spectra = tuple(max(float(_spectrum(sound, n).double().square().mean()), 1e-9) for n in resolutions(rate))
    return LossScales(max(variance, 1e-9), spectra)


def sound_loss(
    made: Tensor, sound: Tensor, mask: Tensor, rate: int, scales: LossScales, weights: LossWeights
) -> Tensor:
    """Scalar: mean squared error over the variance, plus the rest by weight; padding adds nothing.

    Section 3.2 and appendix B.1 of arXiv:2005.00341; the spectra are compared by mean squares here.
    """
    made, sound = made.float() * mask, sound.float() * mask
    mel = F.l1_loss(log_mel(made, rate), log_mel(sound, rate)) if weights.mel else made.new_zeros(())
    squares_BS = (made - sound).square().mean(1)
    worst = max(1, round(WORST * squares_BS.shape[1]))
    wave = squares_BS.mean() + weights.worst * squares_BS.topk(worst, dim=1).values.mean()
    loss = wave / scales.variance + weights.mel * mel
    if weights.spectral:
        parts = [
            F.mse_loss(_spectrum(made, n), _spectrum(sound, n)) / whole
            for n, whole in zip(resolutions(rate), scales.spectra)
        ]
        loss = loss + weights.spectral * torch.stack(parts).mean()
    return loss


def _spectrum(x: Tensor, window: int) -> Tensor:
    return spectrogram(x, window, max(1, window // OVERLAP), window)
