"""The Lightning module that trains a codec on batches of pictures.

Shapes: B pictures, C channels, H x W pixels, h x w codes, K codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.image import PeakSignalNoiseRatio

from helicon.formats.sheets import before_and_after
from helicon.tokenizers.pixels import arrays, pixels_to_tensor, tensor_to_pixels
from helicon.training.codecs.codec_base import CodecRun
from helicon.training.codecs.codec_data import CodecData
from helicon.training.learning.sums import Sums
from helicon.training.settings.config import ImageCodecModelConfig
from helicon.vqvae.codec import ImageCodec, make_quantizer
from helicon.vqvae.config import QuantizerLearning

SHOWN = 12  # held-out pictures in the grid
MAX_DB = 120.0  # of pictures that are the same
PART = ""  # a codec of pictures has one bottleneck, itself
ROUNDING = (2 / 255) ** 2 / 12  # mean squared error of values in [-1, 1] that are rounded to 8 bits


class CodecModule(CodecRun):
    """A codec of pictures, its loss and its optimizer."""

    unit = "pictures"

    def __init__(self, config: ImageCodecModelConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def data(self) -> CodecData:
        """The data module that is trained on."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CodecData)
        return data

    def check(self, data: CodecData) -> None:
        """ValueError for pictures that codes cannot tile."""
        if data.size % self.config.factor:
            raise ValueError(f"--data.size {data.size} is not a multiple of --model.factor {self.config.factor}")

    def plan(self, data: CodecData) -> tuple[nn.Module, str]:
        """The codec that will be trained, and what it does with the data."""
        codec, grid = ImageCodec(self.config.codec), data.size // self.config.factor
        return (
            codec,
            f"{data.size} x {data.size} pixels to {grid} x {grid} of {self.describe_codes(codec.codebook_size)}",
        )

    def make_codec(self) -> nn.Module:
        """A codec, freshly initialised."""
        config = self.config
        learning = QuantizerLearning(decay=config.decay, commitment=config.commitment, kl=config.kl)
        quantizer = make_quantizer(config, learning)
        codec = ImageCodec(config.codec, quantizer)
        return codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Reconstruction and quantizer's loss of a batch uint8 [B, C, H, W]."""
        self.update_quantizers()
        seen = self.codec(pixels_to_tensor(batch))
        loss = self.reduce_loss(seen.loss, batch_idx)
        if self.started:
            self.count(PART, seen.codes)
        self.log("train/loss", loss, batch_size=1)
        return seen.loss

    def on_validation_epoch_start(self) -> None:
        """Starts adding up squared errors and codes."""
        self._errors = Sums(2, self.device)
        self._psnr = PeakSignalNoiseRatio(data_range=2.0).to(self.device)  # of values in [-1, 1]
        self._held = self.zero_counts()
        self._mean = pixels_to_tensor(self.data.mean[None]).double()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Adds a batch's squared error, that of the mean picture, and its codes."""
        media = pixels_to_tensor(batch)
        codes = self.codec.encode(media)
        made, mean = self.codec.decode(codes), self._mean.to(media)
        self._errors.update((made - media).square().sum(), (media - mean).square().sum())
        self._psnr.update(made, media)
        self.count(PART, codes, self._held)

    def on_validation_epoch_end(self) -> None:
        """Logs `val/loss`, the share of the mean picture's squared error that is left, PSNR, usage and perplexity.

        The mean picture's error counts as that of rounding at least: pictures may be all the same. Those of training
        codes are over the batches since the last validation. Before there is a codebook, nothing.
        """
        if not self.started:
            return
        error, whole = self._errors.compute().tolist()
        if values := float(self.sum_over_ranks(self._held[PART]).sum()) * self.config.factor**2 * 3:
            share = error / max(whole, ROUNDING * values)
            self.log_figures({"val/loss": share, "val/psnr": min(float(self._psnr.compute()), MAX_DB)})
        self.log_figures(self.codebooks(self._held))

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def used_codes(self, codec: nn.Module) -> dict[str, Tensor]:
        """bool [K]: codes that some picture to train on has."""
        assert isinstance(codec, ImageCodec)
        pictures = self.data.pictures
        used = torch.zeros(codec.codebook_size, dtype=torch.bool)
        train = pictures.corpus.select(val=False)
        for start in range(0, len(train), 256):
            batch = pictures.batch(train[start : start + 256]).to(self.device)
            used[codec.encode(pixels_to_tensor(batch)).unique().cpu()] = True
        return {PART: used}

    def write_samples(self, path: Path) -> None:
        """PATH-reconstructions.png: held-out pictures (of training, where none is) before and after."""
        if not self.started:
            return
        self.codec.eval()
        before = self.data.pictures.batch(self.data.examples(SHOWN)).to(self.device)
        write_reconstructions(self.codec, before, path.with_name(f"{path.name}-reconstructions.png"))

    def throughput_units(self, batch: Tensor) -> int:
        """Pictures."""
        return len(batch)

    def progress_metrics(self, metrics: Mapping[str, Tensor]) -> list[str]:
        """How good reconstructions of held-out pictures are, and how much of the codebook they use."""
        words = [f"loss {float(metrics['train/loss']):.4f}"] if "train/loss" in metrics else []
        if "val/psnr" in metrics:
            words += [f"error {float(metrics['val/loss']):.4f}", f"PSNR {float(metrics['val/psnr']):.2f} dB"]
            words += [f"codes used {100 * float(metrics['val/usage']):.0f} %"]
            words += [f"perplexity {float(metrics['val/perplexity']):.0f}"]
        return words


def write_reconstructions(codec: ImageCodec, before: Tensor, path: Path) -> None:
    """Writes a PNG of pictures uint8 [B, C, H, W] beside what the codec makes of them."""
    after = codec.decode(codec.encode(pixels_to_tensor(before)))
    before_and_after(list(zip(arrays(before), tensor_to_pixels(after))), path)
