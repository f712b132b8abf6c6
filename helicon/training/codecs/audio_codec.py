"""Lightning module that trains an audio codec: a VQ-VAE for each level, all at once (arXiv:2005.00341, section 3).

Shapes: B windows, C channels, S samples, K codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from helicon.formats.audio import Sound, write_audio
from helicon.formats.spectra import mel_distance, si_sdr
from helicon.training.codecs.audio_data import AudioData
from helicon.training.codecs.audio_losses import LossWeights, measure_scales, sound_loss
from helicon.training.codecs.codec_base import BaseCodecModule
from helicon.training.learning.sums import Sums
from helicon.training.settings.config import AudioCodecModelConfig
from helicon.training.settings.hops import parse_hops
from helicon.vqvae.audio_codec import AudioCodec, AudioCodecLevel
from helicon.vqvae.codec import make_quantizer
from helicon.vqvae.config import AudioCodecConfig, QuantizerLearning
from helicon.vqvae.storage import bottlenecks

SAMPLE_SOUNDS = 4  # held-out sounds that are written before and after, from time to time
SAMPLE_S = 10  # seconds of each
SCALE_WINDOWS = 256  # training windows by which the scales of the loss are measured


class AudioCodecModule(BaseCodecModule):
    """Lightning module that trains an audio codec: its loss, its metrics and its optimizer.

    Levels do not depend on each other: each reconstructs the sound from its own codes.
    """

    unit = "s of sound"
    bf16 = True

    def __init__(self, config: AudioCodecModelConfig) -> None:
        super().__init__(config)
        self.config = config
        self._codec_config(8000, 1)  # any rate: raises where options are wrong for all sounds
        self.weights = LossWeights(config.worst, config.spectral, config.mel)

    @property
    def data(self) -> AudioData:
        """`AudioData`, the data module of the trainer."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, AudioData)
        return data

    def codec_config(self, data: AudioData) -> AudioCodecConfig:
        """Return the `AudioCodecConfig` for an `AudioData`: its rate and channels, our hops and networks."""
        return self._codec_config(data.rate, data.channels)

    def _codec_config(self, rate: int, channels: int) -> AudioCodecConfig:
        hops = parse_hops(self.config.hops, rate)
        return AudioCodecConfig(**asdict(self.config.nets), hops=hops, rate=rate, channels=channels)

    def check(self, data: AudioData) -> None:
        """Raise ValueError for `data.window` (samples) that is no multiple of the top hop, or less than 4 times it."""
        hop = self.codec_config(data).hops[-1]
        if data.window % hop or data.window < 4 * hop:
            raise ValueError(f"--data.window {data.window} is not a multiple, at least 4 times, of the top hop {hop}")

    def plan(self, data: AudioData) -> tuple[nn.Module, str]:
        """Make the `AudioCodec` that would be trained, and a line for the log on its sounds and codes.

        Args:
            data: `AudioData`, sounds to train on.

        Returns:
            (codec with random weights, line).
        """
        codec = AudioCodec(self.codec_config(data))
        speeds = ", ".join(f"{data.rate / hop:,.0f}" for hop in codec.config.hops)
        size = codec.level(0).codebook_size
        return codec, f"{data.rate:,} samples a second to {speeds} of {self.describe_codes(size)}"

    def make_codec(self) -> nn.Module:
        """Make an `AudioCodec` with random weights, whose networks get the sounds at a standard deviation of 1."""
        config, options = self.codec_config(self.data), self.config
        learning = QuantizerLearning(
            decay=options.decay, commitment=options.commitment, kl=options.kl, rare=options.rare
        )
        quantizers = [make_quantizer(config, learning) for _ in config.hops]
        codec, windows = AudioCodec(config, quantizers), self.data.sample(SCALE_WINDOWS)
        self.scales = measure_scales(windows[:, :-1], windows[:, -1:], config.rate)
        for level in codec.levels:
            assert isinstance(level, AudioCodecLevel)
            level.scale.fill_(self.scales.variance**0.5)
        return codec

    def metric_name(self, name: str, part: str) -> str:
        """Return the name under which a metric of a level is logged.

        Args:
            name: of the metric, such as `val/usage`.
            part: name of the level.

        Returns:
            The name; where there are several levels, followed by the level's hop in samples, `val/usage-128`.
        """
        return name if len(self.parts) == 1 else f"{name}-{self._hop(part)}"

    def _hop(self, part: str) -> int:
        level = self.parts[part]
        assert isinstance(level, AudioCodecLevel)
        return level.hop

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Compute the loss of a batch, log it and count the codes.

        Args:
            batch: B windows of S samples, float32 [B, C + 1, S], the last channel the mask, 1 for sound and 0 for
                padding.
            batch_idx: number of the batch, for the message when the loss is not finite.

        Returns:
            Scalar: reconstruction and quantizer losses of this process, summed over the levels.
        """
        self.update_quantizers()
        sound, mask = batch[:, :-1], batch[:, -1:]
        total = sound.new_zeros(())
        for name, level in self.parts.items():
            output = level(sound)
            with torch.autocast(sound.device.type, enabled=False):
                reconstruction_loss = sound_loss(output.sound, sound, mask, self.data.rate, self.scales, self.weights)
            total = total + reconstruction_loss + output.loss
            if level.started:
                self.count(name, output.codes)
        self.log("train/loss", self.reduce_loss(total, batch_idx), batch_size=1)
        return total

    def on_validation_epoch_start(self) -> None:
        """Start the sums of errors and the counts of codes."""
        self._sums = {name: Sums(5, self.device) for name in self.parts}
        self._val_counts = self.zero_counts()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add a sound's squared error, energy, SI-SDR and mel distance at each level, and its codes.

        Args:
            batch: a sound of S samples in [-1, 1], float32 [1, C, S].
            batch_idx: not used.
        """
        for name, level in self.parts.items():
            assert isinstance(level, AudioCodecLevel)
            codes = level.encode(batch)
            reconstruction = level.decode(codes)[..., : batch.shape[-1]]
            self.count(name, codes, self._val_counts)
            energy = batch.square().sum()
            if energy > 0:  # silence has no signal-to-distortion ratio
                # Not torchmetrics' SI-SDR, which differs from `helicon reconstruct` where the reconstruction is silent
                ratio = si_sdr(batch, reconstruction).mean()
                mel = mel_distance(batch, reconstruction, self.data.rate).mean()
                self._sums[name].update((reconstruction - batch).square().sum(), energy, ratio, mel, 1.0)

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss`, and SI-SDR in dB, mel distance, usage and perplexity of each level.

        `val/loss` is the squared error as a share of the sounds' energy, a mean over the levels; 0 is best, and silence
        has 1. SI-SDR and mel distance are means over the sounds. Nothing is logged before there is a codebook.
        """
        if not self.started:
            return
        losses = []
        for name, sums in self._sums.items():
            error, energy, ratio, mel, count = sums.compute().tolist()
            if count:
                losses.append(error / energy)
                figures = {"val/si_sdr": ratio / count, "val/mel_distance": mel / count}
                self.log_figures({self.metric_name(key, name): value for key, value in figures.items()})
        if losses:
            self.log_figures({"val/loss": float(np.mean(losses))})
        self.log_figures(self.codebook_metrics(self._val_counts))

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def used_codes(self, codec: nn.Module) -> dict[str, Tensor]:
        """Return name of a level of the codec -> bool [K codes]: True for codes that some training sound has."""
        used = {}
        for name, level in bottlenecks(codec).items():
            assert isinstance(level, AudioCodecLevel)
            used[name] = torch.zeros(level.codebook_size, dtype=torch.bool)
            for sounds in self.data.sound_groups():
                for codes in level.encode_many([sound.to(self.device) for sound in sounds]):
                    used[name][codes.unique().cpu()] = True
        return used

    def write_samples(self, path: Path) -> None:
        """Write PATH-N-before.wav and, of each level, PATH-N-hopH.wav of some held-out sounds, where `path` is PATH.

        Training sounds where none is held out.
        """
        if not self.started:
            return
        self.codec.eval()
        for number, example in enumerate(self.data.examples(SAMPLE_SOUNDS)):
            before = self.data.sounds.stretch(int(example), 0, SAMPLE_S * self.data.rate)
            for name, version in [("before", before), *reconstructions(self.codec, before.to(self.device))]:
                target = path.with_name(f"{path.name}-{number}-{name}.wav")
                write_audio(Sound(version.T.cpu().numpy(), self.data.rate), target)

    def throughput_units(self, batch: Tensor) -> float:
        """Return the seconds of sound, padding left out, of a batch [B, C + 1, S] with its mask."""
        return float(batch[:, -1].sum()) / self.data.rate

    def progress_metrics(self, metrics: Mapping[str, Tensor]) -> list[str]:
        """Describe loss, and SI-SDR in dB and use of the codebook of each level, for the progress line.

        Args:
            metrics: name -> last logged value, Lightning's `callback_metrics`.

        Returns:
            Phrases such as `loss 1.234`.
        """
        words = [f"loss {float(metrics['train/loss']):.3f}"] if "train/loss" in metrics else []
        for part in self.parts:
            names = [self.metric_name(f"val/{name}", part) for name in ("si_sdr", "usage", "perplexity")]
            if all(name in metrics for name in names):
                ratio, usage, perplexity = (float(metrics[name]) for name in names)
                hop = f"hop {self._hop(part)}: " if len(self.parts) > 1 else ""
                words.append(f"{hop}SI-SDR {ratio:.2f} dB, {100 * usage:.0f} % of codes, perplexity {perplexity:.0f}")
        return words


def reconstructions(codec: AudioCodec, sound: Tensor) -> list[tuple[str, Tensor]]:
    """Reconstruct a sound from the codes of each level.

    Args:
        codec: `AudioCodec` in evaluation mode.
        sound: S samples in [-1, 1], float32 [C, S], of any length.

    Returns:
        List of (`hopH`, reconstruction float32 [C, S]), one a level of H samples a code, finest first.
    """
    versions = []
    for level in codec.levels:
        assert isinstance(level, AudioCodecLevel)
        versions.append((f"hop{level.hop}", level.decode_long(level.encode_long(sound))[:, : sound.shape[1]]))
    return versions
