"""Spectra against SciPy's and a filter bank written out in NumPy; distances against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from helicon.formats.spectra import (
    MEL_SCALES,
    hz_to_mel,
    log_mel,
    mel_distance,
    mel_filters,
    mel_to_hz,
    mel_window,
    si_sdr,
    spectrogram,
)

RNG = np.random.default_rng(0)
NOISE = torch.from_numpy(RNG.uniform(-1, 1, (2, 3, 5000))).float()


@pytest.mark.parametrize(("n_fft", "hop", "window"), [(512, 128, 512), (2048, 240, 1200), (32, 8, 32)])
def test_spectrogram_is_scipys(n_fft: int, hop: int, window: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    hann = signal.get_window("hann", window)  # in the middle of n_fft
    hann = np.pad(hann, ((n_fft - window) // 2, (n_fft - window + 1) // 2))
    mirrored = np.pad(NOISE.double().numpy(), ((0, 0), (0, 0), (n_fft // 2, n_fft // 2)), "reflect")
    _, _, theirs = signal.stft(mirrored, 1, hann, n_fft, n_fft - hop, boundary=None, padded=False)
    made = spectrogram(NOISE, n_fft, hop, window)
    assert made.shape == (2, 3, n_fft // 2 + 1, 1 + 5000 // hop)
    assert made.dtype == torch.float32
    np.testing.assert_allclose(made.numpy(), np.abs(theirs) * hann.sum(), atol=1e-3)  # theirs is divided by it


def test_a_tone_is_where_it_should_be() -> None:
    """1000 Hz of 8000 is the 64th of 512 / 2 frequencies; half the window's sum is its height."""
    tone = torch.cos(2 * math.pi * 1000 * torch.arange(8000) / 8000)
    made = spectrogram(tone, 512, 128)[:, 30]
    assert int(made.argmax()) == 64
    assert float(made[64]) == pytest.approx(512 / 2 / 2, rel=1e-4)
    assert float(made[70:].max()) < 0.01


@pytest.mark.parametrize("n", [1, 2, 100, 511])
def test_short_signals_are_filled_up_with_zeros(n: int) -> None:
    x = torch.from_numpy(RNG.uniform(-1, 1, n)).float()
    made = spectrogram(x, 512, 128)
    torch.testing.assert_close(made, spectrogram(torch.cat([x, torch.zeros(512 - n)]), 512, 128))
    assert made.shape == (257, 5)
    assert torch.isfinite(log_mel(x, 8000)).all()
    assert torch.isfinite(mel_distance(x, torch.zeros_like(x), 8000))


def test_the_mel_scale() -> None:
    hz = torch.tensor([0, 200 / 3, 1000, 6400, 500], dtype=torch.float64)
    mel = torch.tensor([0, 1, 15, 42, 7.5], dtype=torch.float64)  # 27 steps from 1 kHz to 6.4 kHz
    torch.testing.assert_close(hz_to_mel(hz), mel)
    torch.testing.assert_close(mel_to_hz(mel), hz)


def numpy_filters(rate: int, n_fft: int, bands: int) -> np.ndarray:
    """The filter bank a band and a frequency at a time."""

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top_hz = rate / 2
    top = top_hz * 3 / 200 if top_hz < 1000 else 15 + 27 * math.log(top_hz / 1000) / math.log(6.4)
    filters = np.zeros((bands, n_fft // 2 + 1))
    for band in range(bands):
        low, middle, high = (hz(top * (band + i) / (bands + 1)) for i in range(3))
        for k in range(n_fft // 2 + 1):
            at = k * rate / n_fft
            if low < at <= middle:
                filters[band, k] = (at - low) / (middle - low)
            elif middle < at < high:
                filters[band, k] = (high - at) / (high - middle)
        filters[band] *= 2 / (high - low)
    return filters


@pytest.mark.parametrize(
    ("rate", "n_fft", "bands"), [(8000, 512, 80), (44100, 2048, 320), (44100, 32, 5), (100, 64, 16)]
)
def test_mel_filters_are_triangles(rate: int, n_fft: int, bands: int) -> None:
    expected = numpy_filters(rate, n_fft, bands)
    np.testing.assert_allclose(mel_filters(rate, n_fft, bands).numpy(), expected, atol=1e-7 * expected.max())
    assert mel_filters(rate, n_fft, bands) is mel_filters(rate, n_fft, bands)


@pytest.mark.parametrize(("rate", "n_fft", "bands"), [(8000, 512, 80), (44100, 2048, 128)])
def test_mel_filters_are_those_of_librosa(rate: int, n_fft: int, bands: int) -> None:
    utils = pytest.importorskip("transformers.audio_utils")
    theirs = utils.mel_filter_bank(n_fft // 2 + 1, bands, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(rate, n_fft, bands).numpy(), theirs.T, atol=1e-7)


def test_filters_made_in_inference_serve_in_training() -> None:
    mel_filters.cache_clear()
    x = NOISE.clone().requires_grad_()
    with torch.inference_mode():
        mel_distance(NOISE, NOISE, 8000)
    mel_distance(NOISE.flip(-1), x, 8000).backward()
    assert x.grad is not None


@pytest.mark.parametrize(("rate", "window"), [(8000, 512), (16000, 1024), (22050, 1024), (44100, 2048), (100, 32)])
def test_windows_last_about_as_long_at_every_rate(rate: int, window: int) -> None:
    assert mel_window(rate) == window


def test_no_band_is_empty_at_usual_rates() -> None:
    for rate in (8000, 16000, 22050, 24000, 32000, 44100, 48000):
        assert (mel_filters(rate, mel_window(rate)).sum(1) > 0).all()


def test_log_mel_by_hand() -> None:
    expected = np.log10(np.maximum(numpy_filters(8000, 512, 80) @ spectrogram(NOISE[0, 0], 512, 128).numpy(), 1e-5))
    np.testing.assert_allclose(log_mel(NOISE, 8000)[0, 0].numpy(), expected, atol=1e-5)
    assert log_mel(torch.zeros(4, 1000), 8000).unique().tolist() == [-5.0]
    assert log_mel(NOISE, 8000, n_fft=256, hop=100, bands=20).shape == (2, 3, 20, 51)


def test_mel_distance_of_a_sound_and_the_same_ten_times_softer() -> None:
    """One of log10 everywhere, at each of seven scales, where no band is empty or at the floor."""
    assert [window for window, _ in MEL_SCALES] == [32, 64, 128, 256, 512, 1024, 2048]
    assert float(mel_distance(NOISE, NOISE / 10, 8000)) == pytest.approx(7, abs=1e-3)
    assert float(mel_distance(NOISE, NOISE, 8000)) == 0
    assert float(mel_distance(torch.zeros(2, 100), torch.zeros(2, 100), 44100)) == 0


@pytest.mark.parametrize("db", [-10, 0, 10, 30])
def test_si_sdr_of_orthogonal_noise(db: int) -> None:
    """Two tones of whole periods are orthogonal: the ratio of their energies is the answer, however loud or shifted."""
    t = torch.arange(8000, dtype=torch.float64) / 8000
    tone, noise = torch.sin(2 * math.pi * 440 * t), torch.sin(2 * math.pi * 1000 * t)
    estimate = tone + noise * 10 ** (-db / 20)
    for scale, shift in ((1, 0), (-0.01, 0), (100, 0.3), (1e-4, 1e-4)):
        assert float(si_sdr(tone, scale * estimate + shift)) == pytest.approx(db, abs=2e-3)
        assert float(si_sdr(scale * tone + shift, estimate)) == pytest.approx(db, abs=2e-3)


def test_si_sdr_by_the_equation() -> None:
    reference, estimate = NOISE, NOISE + torch.from_numpy(RNG.normal(0.1, 0.3, NOISE.shape)).float()
    s, e = (x.double().numpy() - x.double().numpy().mean(-1, keepdims=True) for x in (reference, estimate))
    target = (s * e).sum(-1, keepdims=True) / (s * s).sum(-1, keepdims=True) * s
    expected = 10 * np.log10((target**2).sum(-1) / ((target - e) ** 2).sum(-1))
    made = si_sdr(reference, estimate)
    assert made.shape == (2, 3)
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-3)


def test_si_sdr_of_silence_and_of_the_same_sound() -> None:
    silent, sound = torch.zeros(5000), NOISE[0, 0]
    constant = torch.full((5000,), 0.3)
    found = {
        "same": si_sdr(sound, 0.5 * sound), "both silent": si_sdr(silent, constant), "lost": si_sdr(sound, silent),
        "made up": si_sdr(constant, sound), "one sample": si_sdr(torch.ones(1), torch.ones(1)),
    }  # fmt: skip
    assert {name: round(float(value), 3) for name, value in found.items()} == {
        "same": 100, "both silent": 100, "lost": -100, "made up": -100, "one sample": 100,
    }  # fmt: skip


@pytest.mark.parametrize("estimate", [NOISE * 0.9, torch.zeros_like(NOISE), NOISE * 0.5 + 0.1 * NOISE.flip(-1)])
def test_gradients_are_finite(estimate: torch.Tensor) -> None:
    estimate = estimate.clone().requires_grad_()
    loss = mel_distance(NOISE, estimate, 8000) - si_sdr(NOISE, estimate).mean() + spectrogram(estimate, 64, 16).sum()
    loss.backward()
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()


def test_a_step_down_the_gradient_is_better() -> None:
    estimate = (NOISE + 0.3 * NOISE.flip(-1)).requires_grad_()
    for loss in (lambda x: mel_distance(NOISE, x, 8000), lambda x: -si_sdr(NOISE, x).mean()):
        before = loss(estimate)
        (slope,) = torch.autograd.grad(before, estimate)
        assert loss(estimate - 1e-3 * slope / slope.abs().max()) < before


def test_autocast_changes_nothing() -> None:
    estimate = NOISE + 0.1 * NOISE.flip(-1)
    plain = [
        spectrogram(NOISE, 256, 64),
        log_mel(NOISE, 8000),
        mel_distance(NOISE, estimate, 8000),
        si_sdr(NOISE, estimate),
    ]
    with torch.autocast("cpu", torch.bfloat16):
        cast = [
            spectrogram(NOISE, 256, 64),
            log_mel(NOISE, 8000),
            mel_distance(NOISE, estimate, 8000),
            si_sdr(NOISE, estimate),
        ]
    for one, other in zip(plain, cast):
        assert torch.equal(one, other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_is_as_the_cpu() -> None:
    estimate = NOISE + 0.1 * NOISE.flip(-1)
    torch.testing.assert_close(log_mel(NOISE.cuda(), 8000).cpu(), log_mel(NOISE, 8000), atol=1e-3, rtol=0)
    for here, there in (
        (mel_distance(NOISE, estimate, 8000), mel_distance(NOISE.cuda(), estimate.cuda(), 8000)),
        (si_sdr(NOISE, estimate), si_sdr(NOISE.cuda(), estimate.cuda())),
    ):
        torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=0)
