"""The Lightning module that trains a codec of sound: a VQ-VAE for each level, side by side.

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
from helicon.training.codecs.codec_base import CodecRun
from helicon.training.learning.sums import Sums
from helicon.training.settings.config import AudioCodecModelConfig
from helicon.training.settings.hops import parse_hops
from helicon.vqvae.audio_codec import AudioCodec, AudioCodecLevel
from helicon.vqvae.codec import make_quantizer
from helicon.vqvae.config import AudioCodecConfig, QuantizerLearning
from helicon.vqvae.storage import bottlenecks

SHOWN = 4  # held-out sounds that are written before and after
SAMPLED = 256  # windows by which errors are scaled


class AudioCodecModule(CodecRun):
    """A codec of sound, its loss and its optimizer."""

    unit = "s of sound"
    bf16 = True

    def __init__(self, config: AudioCodecModelConfig) -> None:
        super().__init__(config)
        self.config = config
        self._codec_config(8000, 1)  # what is wrong whatever the sounds are
        self.weights = LossWeights(config.worst, config.spectral, config.mel)

    @property
    def data(self) -> AudioData:
        """The data module that is trained on."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, AudioData)
        return data

    def codec_config(self, data: AudioData) -> AudioCodecConfig:
        """Config of a codec of these sounds."""
        return self._codec_config(data.rate, data.channels)

    def _codec_config(self, rate: int, channels: int) -> AudioCodecConfig:
        hops = parse_hops(self.config.hops, rate)
        return AudioCodecConfig(**asdict(self.config.nets), hops=hops, rate=rate, channels=channels)

    def check(self, data: AudioData) -> None:
        """ValueError for windows that codes cannot tile."""
        hop = self.codec_config(data).hops[-1]
        if data.window % hop or data.window < 4 * hop:
            raise ValueError(f"--data.window {data.window} is not a multiple, at least 4 times, of the top hop {hop}")

    def plan(self, data: AudioData) -> tuple[nn.Module, str]:
        """The codec that will be trained, and what it does with the data."""
        codec = AudioCodec(self.codec_config(data))
        speeds = ", ".join(f"{data.rate / hop:,.0f}" for hop in codec.config.hops)
        size = codec.level(0).codebook_size
        return codec, f"{data.rate:,} samples a second to {speeds} of {self.describe_codes(size)}"

    def make_codec(self) -> nn.Module:
        """A codec, freshly initialised, whose nets see the sounds at a standard deviation of 1."""
        config, own = self.codec_config(self.data), self.config
        learning = QuantizerLearning(decay=own.decay, commitment=own.commitment, kl=own.kl, rare=own.rare)
        quantizers = [make_quantizer(config, learning) for _ in config.hops]
        codec, windows = AudioCodec(config, quantizers), self.data.sample(SAMPLED)
        self.scales = measure_scales(windows[:, :-1], windows[:, -1:], config.rate)
        for level in codec.levels:
            assert isinstance(level, AudioCodecLevel)
            level.scale.fill_(self.scales.variance**0.5)
        return codec

    def metric_name(self, name: str, part: str) -> str:
        """With the hop, where there are several levels."""
        return name if len(self.parts) == 1 else f"{name}-{self._hop(part)}"

    def _hop(self, part: str) -> int:
        level = self.parts[part]
        assert isinstance(level, AudioCodecLevel)
        return level.hop

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Loss of a batch of windows [B, C + 1, S], the last channel of which is the mask; the sum over the levels."""
        self.update_quantizers()
        sound, mask = batch[:, :-1], batch[:, -1:]
        total = sound.new_zeros(())
        for name, level in self.parts.items():
            heard = level(sound)
            with torch.autocast(sound.device.type, enabled=False):
                made = sound_loss(heard.sound, sound, mask, self.data.rate, self.scales, self.weights)
            total = total + made + heard.loss
            if level.started:
                self.count(name, heard.codes)
        self.log("train/loss", self.reduce_loss(total, batch_idx), batch_size=1)
        return total

    def on_validation_epoch_start(self) -> None:
        """Starts adding up errors and codes."""
        self._sums = {name: Sums(5, self.device) for name in self.parts}
        self._held = self.zero_counts()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Adds a sound's figures at each level: squared error, energy, SI-SDR, mel distance, and one for its number."""
        for name, level in self.parts.items():
            assert isinstance(level, AudioCodecLevel)
            codes = level.encode(batch)
            made = level.decode(codes)[..., : batch.shape[-1]]
            self.count(name, codes, self._held)
            energy = batch.square().sum()
            if energy > 0:  # silence has no ratio
                # As `reconstruct` has it, chunk by chunk; torchmetrics' differs where what was made is silent
                ratio, mel = si_sdr(batch, made).mean(), mel_distance(batch, made, self.data.rate).mean()
                self._sums[name].update((made - batch).square().sum(), energy, ratio, mel, 1.0)

    def on_validation_epoch_end(self) -> None:
        """Logs `val/loss`, the share of the energy that is lost, SI-SDR, mel distance, usage and perplexity.

        The loss is the mean over the levels. Before there is a codebook, nothing.
        """
        if not self.started:
            return
        losses = []
        for name, sums in self._sums.items():
            error, energy, ratio, mel, count = sums.compute().tolist()
            if count:
                losses.append(error / energy)
                found = {"val/si_sdr": ratio / count, "val/mel_distance": mel / count}
                self.log_figures({self.metric_name(key, name): value for key, value in found.items()})
        if losses:
            self.log_figures({"val/loss": float(np.mean(losses))})
        self.log_figures(self.codebooks(self._held))

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def used_codes(self, codec: nn.Module) -> dict[str, Tensor]:
        """Part -> bool [K]: codes that some sound to train on has."""
        found = {}
        for name, level in bottlenecks(codec).items():
            assert isinstance(level, AudioCodecLevel)
            found[name] = torch.zeros(level.codebook_size, dtype=torch.bool)
            for sounds in self.data.whole_sounds():
                for codes in level.encode_many([sound.to(self.device) for sound in sounds]):
                    found[name][codes.unique().cpu()] = True
        return found

    def write_samples(self, path: Path) -> None:
        """PATH-N-before.wav and PATH-N-hopH.wav of some held-out sounds (of training, where none is)."""
        if not self.started:
            return
        self.codec.eval()
        for number, example in enumerate(self.data.examples(SHOWN)):
            before = self.data.sounds.stretch(int(example), 0, 10 * self.data.rate)
            for name, made in [("before", before), *reconstructions(self.codec, before.to(self.device))]:
                target = path.with_name(f"{path.name}-{number}-{name}.wav")
                write_audio(Sound(made.T.cpu().numpy(), self.data.rate), target)

    def throughput_units(self, batch: Tensor) -> float:
        """Seconds of sound."""
        return float(batch[:, -1].sum()) / self.data.rate

    def progress_metrics(self, metrics: Mapping[str, Tensor]) -> list[str]:
        """How good reconstructions of held-out sounds are, and how much of the codebook they use."""
        words = [f"loss {float(metrics['train/loss']):.3f}"] if "train/loss" in metrics else []
        for part in self.parts:
            at = [self.metric_name(f"val/{name}", part) for name in ("si_sdr", "usage", "perplexity")]
            if all(name in metrics for name in at):
                ratio, usage, perplexity = (float(metrics[name]) for name in at)
                hop = f"hop {self._hop(part)}: " if len(self.parts) > 1 else ""
                words.append(f"{hop}SI-SDR {ratio:.2f} dB, {100 * usage:.0f} % of codes, perplexity {perplexity:.0f}")
        return words


def reconstructions(codec: AudioCodec, sound: Tensor) -> list[tuple[str, Tensor]]:
    """(name, [C, S]) of a sound [C, S] after each level, finest first."""
    made = []
    for level in codec.levels:
        assert isinstance(level, AudioCodecLevel)
        made.append((f"hop{level.hop}", level.decode_long(level.encode_long(sound))[:, : sound.shape[1]]))
    return made
