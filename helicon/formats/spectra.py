"""Spectra of sound and distances of sounds. On any device, differentiable, in float32 even under autocast.

Shapes: S samples, F frequencies, T frames, M mel bands; `...` any batch dimensions.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

# (window in samples, mel bands) of the mel distance: as descript-audio-codec has them, arXiv:2306.06546, section 3.5
MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
FLOOR = 1e-5  # what a magnitude counts as at least, before its logarithm: -100 dB
BANDS = 80  # mel bands of a spectrogram, as common for speech and music
CPU = torch.device("cpu")
WINDOW_S = 0.046  # 2048 samples at 44.1 kHz, 512 at 8 kHz
MAX_DB = 100.0  # of SI-SDR, either way
_KNEE_HZ, _HZ_PER_MEL, _LOG_STEP = 1000.0, 200 / 3, torch.log(torch.tensor(6.4, dtype=torch.float64)).item() / 27


def spectrogram(x: Tensor, n_fft: int, hop: int, window: int | None = None) -> Tensor:
    """Compute magnitude spectrograms under a Hann window.

    Frame t is centred at sample t * hop. Ends are mirrored; a signal shorter than n_fft is zero-padded to it first.

    Args:
        x: signals, tensor [..., S], S samples each.
        n_fft: number of samples of a transform.
        hop: number of samples from frame to frame.
        window: samples of the Hann window; n_fft unless given.

    Returns:
        Magnitudes, float32 [..., F, T], of F = n_fft / 2 + 1 frequencies in T = 1 + S // hop frames.
    """
    with torch.autocast(x.device.type, enabled=False):
        flat = x.float().reshape(-1, x.shape[-1])
        flat = F.pad(flat, (0, max(0, n_fft - x.shape[-1])))
        width = window or n_fft
        hann = torch.hann_window(width, device=x.device)
        spectrum = torch.stft(flat, n_fft, hop, width, hann, center=True, pad_mode="reflect", return_complex=True)
        return spectrum.abs().reshape(*x.shape[:-1], *spectrum.shape[-2:])


def hz_to_mel(hz: Tensor) -> Tensor:
    """Convert frequencies in Hz, a tensor of any shape, to mel on Slaney's scale (Auditory Toolbox, 1998).

    It is linear up to 1 kHz (15 mel), then logarithmic.
    """
    return torch.where(
        hz < _KNEE_HZ, hz / _HZ_PER_MEL, 15 + torch.log(hz.clamp(min=_KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    )  # fmt: skip


def mel_to_hz(mel: Tensor) -> Tensor:
    """Convert mel, a tensor of any shape, to Hz; inverse of `hz_to_mel`."""
    return torch.where(mel < 15, mel * _HZ_PER_MEL, _KNEE_HZ * torch.exp((mel - 15) * _LOG_STEP))


@cache
@torch.inference_mode(False)  # made while validating, it must serve in training too
def mel_filters(rate: int, n_fft: int, bands: int = BANDS, device: torch.device = CPU) -> Tensor:
    """Return triangular mel filters on Slaney's scale, evenly spaced from 0 Hz to rate / 2.

    Each has area 2 in Hz, as librosa's. Bands narrower than the spacing of two frequencies may be empty. The tensor is
    cached: do not write into it.

    Args:
        rate: samples a second.
        n_fft: samples of a transform.
        bands: number M of mel bands.
        device: of the result.

    Returns:
        float32 [M, F], weights of F = n_fft / 2 + 1 frequencies.
    """
    top = hz_to_mel(torch.tensor(rate / 2, dtype=torch.float64)).item()
    edges_hz = mel_to_hz(torch.linspace(0, top, bands + 2, dtype=torch.float64))[:, None]
    hz = torch.linspace(0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - hz) / (edges_hz[2:] - edges_hz[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * 2 / (edges_hz[2:] - edges_hz[:-2])).float().to(device)


def mel_window(rate: int) -> int:
    """Return the window of about `WINDOW_S` seconds at a sample rate, in samples: a power of 2, at least 32."""
    return max(32, 2 ** round(torch.tensor(WINDOW_S * rate).log2().item()))


def log_mel(x: Tensor, rate: int, n_fft: int | None = None, hop: int | None = None, bands: int = BANDS) -> Tensor:
    """Compute log10 mel magnitudes, at least log10(FLOOR).

    Args:
        x: signals, tensor [..., S], S samples each.
        rate: samples a second.
        n_fft: samples of a transform; `mel_window` of the rate unless given.
        hop: samples from frame to frame; a quarter of n_fft unless given.
        bands: number M of mel bands.

    Returns:
        float32 [..., M, T], T = 1 + S // hop frames.
    """
    n_fft = n_fft or mel_window(rate)
    magnitudes = spectrogram(x, n_fft, hop or n_fft // 4)
    with torch.autocast(x.device.type, enabled=False):
        mel = mel_filters(rate, n_fft, bands, x.device) @ magnitudes
        return mel.clamp(min=FLOOR).log10()


def mel_distance(a: Tensor, b: Tensor, rate: int) -> Tensor:
    """Compute the mel distance of codecs (arXiv:2306.06546, section 3.5); lower is better.

    The windows have the paper's sizes in samples at every rate: compare figures at equal rates only.

    Args:
        a: signals, tensor [..., S], S samples each.
        b: signals to compare with, tensor [..., S].
        rate: samples a second.

    Returns:
        Scalar tensor: mean absolute difference of log10 mel magnitudes, summed over seven windows.
    """
    parts = [
        F.l1_loss(log_mel(a, rate, n_fft, bands=bands), log_mel(b, rate, n_fft, bands=bands))
        for n_fft, bands in MEL_SCALES
    ]
    return torch.stack(parts).sum()


def si_sdr(reference: Tensor, estimate: Tensor) -> Tensor:
    """Compute the scale-invariant signal-to-distortion ratio in dB; higher is better.

    eq. 3, arXiv:1811.02508: 10 log10(|a s|^2 / |a s - e|^2), a = <s, e> / |s|^2, of signals without their means.
    Deviations: clamped to -100 .. 100; 100 where both are silent (constant), -100 where one is, without a gradient.

    Args:
        reference: signals, tensor [..., S], S samples each.
        estimate: signals to compare with, tensor [..., S].

    Returns:
        dB of each signal, float32 tensor [...].
    """
    with torch.autocast(reference.device.type, enabled=False):
        (s, s_silent), (e, e_silent) = _standardized(reference.float()), _standardized(estimate.float())
        target = (s * e).sum(-1, keepdim=True) * s
        smallest = 10 ** (-MAX_DB / 10)
        signal, noise = (part.square().sum(-1).clamp(min=smallest) for part in (target, target - e))
        ratio_db = (10 * (signal / noise).log10()).clamp(-MAX_DB, MAX_DB)
        worst, best = torch.full_like(ratio_db, -MAX_DB), torch.full_like(ratio_db, MAX_DB)
        return torch.where(s_silent & e_silent, best, torch.where(s_silent | e_silent, worst, ratio_db))


def _standardized(x: Tensor) -> tuple[Tensor, Tensor]:
    """Normalise signals [..., S] to mean 0 and energy 1; also return True [...] for silent (constant) ones."""
    smallest = 1e-12 * x.square().sum(-1, keepdim=True) + 1e-30
    x = x - x.mean(-1, keepdim=True)
    energy = x.square().sum(-1, keepdim=True)
    return x / energy.clamp(min=smallest).sqrt(), (energy <= smallest)[..., 0]
