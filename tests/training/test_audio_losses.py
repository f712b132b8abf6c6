"""The loss of sound codecs, part by part, on windows whose errors are known; and that padding counts for nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helicon.formats.spectra import log_mel, spectrogram
from helicon.training.codecs.audio_losses import LossScales, LossWeights, measure_scales, resolutions, sound_loss

RATE = 8000
WAVEFORM = LossWeights(worst=0.0, spectral=0.0, mel=0.0)
ONE = LossScales(variance=1.0, spectra=(1.0, 1.0, 1.0))


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Samples at random."""
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mask_of(*lengths: int, window: int) -> Tensor:
    """[B, 1, S]: that many samples of each window."""
    return (torch.arange(window) < torch.tensor(lengths)[:, None]).float()[:, None]


@pytest.mark.parametrize(
    ("rate", "windows"), [(8000, [512, 256, 128]), (44_100, [2048, 1024, 512]), (22_050, [1024, 512, 256])]
)
def test_resolutions_are_jukeboxs_at_its_rate(rate, windows):
    assert resolutions(rate) == windows


def test_at_low_rates_windows_have_32_samples_at_least():
    assert resolutions(1000) == [64, 32, 32]
    assert resolutions(100) == [32, 32, 32]


def test_a_perfect_reconstruction_costs_nothing():
    sound, mask = noise(2, 2, 640), mask_of(640, 100, window=640)
    sound = sound * mask
    assert float(sound_loss(sound, sound, mask, RATE, measure_scales(sound, mask, RATE), LossWeights())) == 0


def test_the_waveforms_part_is_the_mean_square_over_the_variance():
    sound = torch.zeros(2, 1, 64)
    made = sound.clone()
    made[0, 0, :2] = torch.tensor([0.3, 0.4])
    mask = mask_of(64, 16, window=64)
    loss = sound_loss(made, sound, mask, RATE, replace(ONE, variance=0.5), WAVEFORM)
    assert float(loss) == pytest.approx((0.3**2 + 0.4**2) / (2 * 64) / 0.5)


def test_channels_are_averaged():
    sound, made = torch.zeros(1, 2, 64), torch.zeros(1, 2, 64)
    made[0, 1] = 0.4
    assert float(sound_loss(made, sound, torch.ones(1, 1, 64), RATE, ONE, WAVEFORM)) == pytest.approx(0.4**2 / 2)


def test_the_worst_samples_count_once_more():
    sound, mask = torch.zeros(2, 1, 128), torch.ones(2, 1, 128)
    made = sound.clone()
    made[0, 0, [5, 70, 90]] = torch.tensor([0.1, -0.4, 0.2])  # of 128 samples the worst 2 are looked at
    plain, more = (sound_loss(made, sound, mask, RATE, ONE, replace(WAVEFORM, worst=w)) for w in (0, 10))
    assert float(more - plain) == pytest.approx(10 * (0.4**2 + 0.2**2) / 2 / 2)


def test_spectra_are_compared_at_each_resolution():
    sound, made, mask = noise(2, 1, 640), noise(2, 1, 640, seed=1), torch.ones(2, 1, 640)
    scales = replace(ONE, spectra=(0.5, 2.0, 4.0))
    plain, more = (sound_loss(made, sound, mask, RATE, scales, replace(WAVEFORM, spectral=w)) for w in (0, 0.3))
    expected = 0.0
    for n, whole in zip((512, 256, 128), scales.spectra):
        a, b = (spectrogram(x, n, n // 5) for x in (made, sound))
        expected += float((a - b).square().mean()) / whole / 3
    assert float(more - plain) == pytest.approx(0.3 * expected, rel=1e-5)


def test_the_log_mel_spectra_are_compared():
    sound, made, mask = noise(2, 1, 640), noise(2, 1, 640, seed=1), torch.ones(2, 1, 640)
    plain, more = (sound_loss(made, sound, mask, RATE, ONE, replace(WAVEFORM, mel=w)) for w in (0, 0.3))
    expected = float((log_mel(made, RATE) - log_mel(sound, RATE)).abs().mean())
    assert float(more - plain) == pytest.approx(0.3 * expected, rel=1e-5)


@pytest.mark.parametrize("weights", [WAVEFORM, LossWeights()])
def test_what_lies_under_the_mask_counts_for_nothing(weights):
    sound, made, mask = noise(3, 1, 640), noise(3, 1, 640, seed=1), mask_of(640, 200, 1, window=640)
    scales = measure_scales(sound, mask, RATE)
    expected = sound_loss(made, sound, mask, RATE, scales, weights)
    hidden = (1 - mask) * noise(3, 1, 640, seed=2)
    assert float(expected) > 0.5
    assert torch.equal(sound_loss(made + hidden, sound, mask, RATE, scales, weights), expected)
    assert torch.equal(sound_loss(made, sound + hidden, mask, RATE, scales, weights), expected)
    assert measure_scales(sound + hidden, mask, RATE) == scales


def test_padding_has_no_gradient():
    sound, mask = noise(2, 1, 640), mask_of(640, 200, window=640)
    made = noise(2, 1, 640, seed=1).requires_grad_()
    sound_loss(made, sound, mask, RATE, measure_scales(sound, mask, RATE), LossWeights()).backward()
    assert made.grad is not None
    assert made.grad[1, 0, 200:].abs().max() == 0
    assert made.grad[1, 0, :200].abs().min() > 0


def test_scales_are_the_variance_and_the_mean_square_of_the_spectra():
    sound = torch.zeros(2, 1, 640)
    sound[0, 0, :320] = 0.5
    mask = mask_of(320, 80, window=640)
    found = measure_scales(sound, mask, RATE)
    assert found.variance == pytest.approx(0.5**2 * 320 / 400)
    for whole, n in zip(found.spectra, (512, 256, 128)):
        assert whole == pytest.approx(float(spectrogram(sound, n, n // 5).square().mean()), rel=1e-5)


@pytest.mark.parametrize("louder", [1e-3, 2.0])
def test_softer_and_louder_sounds_lose_the_same(louder):
    sound, made, mask = noise(2, 1, 640), noise(2, 1, 640, seed=1), mask_of(640, 300, window=640)
    losses = [
        float(
            sound_loss(made * by, sound * by, mask, RATE, measure_scales(sound * by, mask, RATE), LossWeights(mel=0.0))
        )
        for by in (1.0, louder)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("made", [torch.zeros(2, 1, 640), noise(2, 1, 640)])
@pytest.mark.parametrize("length", [640, 1, 0])
def test_silence_has_a_finite_loss_and_gradient(made, length):
    sound, mask = torch.zeros(2, 1, 640), mask_of(length, length, window=640)
    scales = measure_scales(sound, mask, RATE)
    assert scales == LossScales(1e-9, (1e-9, 1e-9, 1e-9))
    made = made.clone().requires_grad_()
    loss = sound_loss(made, sound, mask, RATE, scales, LossWeights())
    loss.backward()
    assert torch.isfinite(loss)
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()


def test_half_precision_is_compared_in_full():
    sound, mask = noise(2, 1, 640), torch.ones(2, 1, 640)
    made, scales = noise(2, 1, 640, seed=1).bfloat16(), measure_scales(sound, mask, RATE)
    loss = sound_loss(made, sound, mask, RATE, scales, LossWeights())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, sound_loss(made.float(), sound, mask, RATE, scales, LossWeights()))
