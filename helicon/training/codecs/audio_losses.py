"""Reconstruction loss of audio codecs: waveform, its worst samples, spectra and log-mel (Jukebox, arXiv:2005.00341).

Shapes: B windows, C channels, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.formats.spectra import log_mel, spectrogram

WORST_SHARE = 1 / 64  # share of a window's samples whose errors count once more (Jukebox: 2,048 of some 131,000)
# Seconds of the Fourier transforms: 2048, 1024 and 512 samples at 44.1 kHz, as Jukebox has them
WINDOWS_S = (0.046, 0.023, 0.0116)
HOPS_PER_WINDOW = 5  # as Jukebox has them: 240, 120 and 50 samples in windows of 1200, 600 and 240
MIN_SCALE = 1e-9  # of the scales, so that the loss of silent training sounds is finite


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss beside the waveform's, whose weight is 1.

    Attributes:
        worst: of the mean squared error of the worst samples.
        spectral: of the mean squared error of the spectra.
        mel: of the mean absolute difference of log-mel magnitudes, which Jukebox does not have; 0 leaves it out.
    """

    worst: float = 0.02
    spectral: float = 0.1
    mel: float = 3.0


@dataclass(frozen=True)
class LossScales:
    """Scales by which squared errors are divided, so that the loss does not depend on how loud the sounds are.

    Attributes:
        variance: mean square of the training sounds, without their padding.
        spectra: mean square of their Fourier magnitudes, one for each window length of `resolutions`.
    """

    variance: float
    spectra: tuple[float, ...]


def resolutions(rate: int) -> list[int]:
    """Return the lengths in samples of the three Fourier windows at a rate (samples a second): powers of 2 from 32."""
    return [max(32, 1 << round(torch.tensor(span * rate).log2().item())) for span in WINDOWS_S]


def measure_scales(sound: Tensor, mask: Tensor, rate: int) -> LossScales:
    """Measure the scales of training sounds.

    Args:
        sound: B windows of S samples in [-1, 1], float32 [B, C, S].
        mask: float32 [B, 1, S], 1 for samples of the sound and 0 for padding.
        rate: samples a second.

    Returns:
        `LossScales`, each at least MIN_SCALE.
    """
    sound = sound * mask
    variance = float(sound.double().square().sum() / (mask.sum() * sound.shape[1]).clamp(min=1))
    spectra = tuple(max(float(_spectrum(sound, n).double().square().mean()), MIN_SCALE) for n in resolutions(rate))
    return LossScales(max(variance, MIN_SCALE), spectra)


def sound_loss(
    reconstruction: Tensor, sound: Tensor, mask: Tensor, rate: int, scales: LossScales, weights: LossWeights
) -> Tensor:
    """Compute the reconstruction loss, in float32; padding adds nothing.

    Section 3.2 and appendix B.1 of arXiv:2005.00341. Deviations: the spectra are compared by mean squares, windows are
    as long as their transforms, and log-mel is compared, too.

    Args:
        reconstruction: output of the decoder for B windows of S samples, float [B, C, S].
        sound: the windows in [-1, 1], float32 [B, C, S].
        mask: float32 [B, 1, S], 1 for samples of the sound and 0 for padding.
        rate: samples a second.
        scales: `LossScales` of the training sounds, from `measure_scales`.
        weights: `LossWeights` of the parts.

    Returns:
        Scalar tensor: mean squared error over the variance, plus the other parts by weight.
    """
    reconstruction, sound = reconstruction.float() * mask, sound.float() * mask
    mel = F.l1_loss(log_mel(reconstruction, rate), log_mel(sound, rate)) if weights.mel else sound.new_zeros(())
    squares_BS = (reconstruction - sound).square().mean(1)
    worst = max(1, round(WORST_SHARE * squares_BS.shape[1]))
    wave = squares_BS.mean() + weights.worst * squares_BS.topk(worst, dim=1).values.mean()
    loss = wave / scales.variance + weights.mel * mel
    if weights.spectral:
        parts = [
            F.mse_loss(_spectrum(reconstruction, n), _spectrum(sound, n)) / scale
            for n, scale in zip(resolutions(rate), scales.spectra)
        ]
        loss = loss + weights.spectral * torch.stack(parts).mean()
    return loss


def _spectrum(x: Tensor, window: int) -> Tensor:
    """Compute magnitude spectra under Hann windows as long as the transform."""
    return spectrogram(x, window, max(1, window // HOPS_PER_WINDOW), window)
