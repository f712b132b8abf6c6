"""Lightning module that trains an image codec.

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
from helicon.training.codecs.codec_base import BaseCodecModule
from helicon.training.codecs.codec_data import ImageData
from helicon.training.learning.sums import Sums
from helicon.training.settings.config import ImageCodecModelConfig
from helicon.vqvae.codec import ImageCodec, make_quantizer
from helicon.vqvae.config import QuantizerLearning

SAMPLE_PICTURES = 12  # held-out pictures that are written before and after, from time to time
MAX_PSNR_DB = 120.0  # PSNR of equal pictures, which would be infinite
ONLY_PART = ""  # name of the only bottleneck: the codec itself
ROUNDING_MSE = (2 / 255) ** 2 / 12  # mean squared error of rounding values in [-1, 1] to 8 bits: step^2 / 12


class ImageCodecModule(BaseCodecModule):
    """Lightning module that trains an image codec: its loss, its metrics and its optimizer."""

    unit = "pictures"

    def __init__(self, config: ImageCodecModelConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def data(self) -> ImageData:
        """`ImageData`, the data module of the trainer."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ImageData)
        return data

    def check(self, data: ImageData) -> None:
        """Raise ValueError for pictures whose sides (`data.size`, pixels) are no multiple of those that a code has."""
        if data.size % self.config.factor:
            raise ValueError(f"--data.size {data.size} is not a multiple of --model.factor {self.config.factor}")

    def plan(self, data: ImageData) -> tuple[nn.Module, str]:
        """Make the `ImageCodec` that would be trained, and a line for the log on its pictures and codes.

        Args:
            data: `ImageData`, pictures to train on.

        Returns:
            (codec with random weights, line).
        """
        codec, grid = ImageCodec(self.config.codec), data.size // self.config.factor
        return (
            codec,
            f"{data.size} x {data.size} pixels to {grid} x {grid} of {self.describe_codes(codec.codebook_size)}",
        )

    def make_codec(self) -> nn.Module:
        """Make an `ImageCodec` with random weights, kernels channels-last in memory."""
        config = self.config
        learning = QuantizerLearning(decay=config.decay, commitment=config.commitment, kl=config.kl)
        quantizer = make_quantizer(config, learning)
        codec = ImageCodec(config.codec, quantizer)
        return codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Compute the loss of a batch, log it and count the codes.

        Args:
            batch: pictures of H x W pixels, uint8 [B, C, H, W].
            batch_idx: number of the batch, for the message when the loss is not finite.

        Returns:
            Scalar: reconstruction and quantizer loss of this process.
        """
        self.update_quantizers()
        output = self.codec(pixels_to_tensor(batch))
        loss = self.reduce_loss(output.loss, batch_idx)
        if self.started:
            self.count(ONLY_PART, output.codes)
        self.log("train/loss", loss, batch_size=1)
        return output.loss

    def on_validation_epoch_start(self) -> None:
        """Start the sums of squared errors and the counts of codes."""
        self._errors = Sums(2, self.device)
        self._psnr = PeakSignalNoiseRatio(data_range=2.0).to(self.device)  # of values in [-1, 1]
        self._val_counts = self.zero_counts()
        self._mean = pixels_to_tensor(self.data.mean[None]).double()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Add a batch's squared error, the squared error of the mean picture, and the codes.

        Args:
            batch: pictures of H x W pixels, uint8 [B, C, H, W].
            batch_idx: not used.
        """
        media = pixels_to_tensor(batch)
        codes = self.codec.encode(media)
        reconstruction, mean = self.codec.decode(codes), self._mean.to(media)
        self._errors.update((reconstruction - media).square().sum(), (media - mean).square().sum())
        self._psnr.update(reconstruction, media)
        self.count(ONLY_PART, codes, self._val_counts)

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss`, PSNR in dB, and usage and perplexity of the codes; nothing before there is a codebook.

        `val/loss` is the squared error as a share of the mean picture's, so that 1 is no better than the mean picture.
        The mean picture's error counts as the error of rounding at least, since all pictures may be the same. Usage and
        perplexity of training codes are over the batches since the last validation.
        """
        if not self.started:
            return
        error, mean_error = self._errors.compute().tolist()
        if values := float(self.sum_over_ranks(self._val_counts[ONLY_PART]).sum()) * self.config.factor**2 * 3:
            share = error / max(mean_error, ROUNDING_MSE * values)
            self.log_figures({"val/loss": share, "val/psnr": min(float(self._psnr.compute()), MAX_PSNR_DB)})
        self.log_figures(self.codebook_metrics(self._val_counts))

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def used_codes(self, codec: nn.Module) -> dict[str, Tensor]:
        """Return {"": bool [K codes]} of a codec: True for codes that some training picture has."""
        assert isinstance(codec, ImageCodec)
        pictures = self.data.pictures
        used = torch.zeros(codec.codebook_size, dtype=torch.bool)
        train = pictures.corpus.select(val=False)
        for start in range(0, len(train), 256):
            batch = pictures.batch(train[start : start + 256]).to(self.device)
            used[codec.encode(pixels_to_tensor(batch)).unique().cpu()] = True
        return {ONLY_PART: used}

    def write_samples(self, path: Path) -> None:
        """Write PATH-reconstructions.png, where `path` is PATH: some held-out pictures and their reconstructions.

        Training pictures where none is held out.
        """
        if not self.started:
            return
        self.codec.eval()
        before = self.data.pictures.batch(self.data.examples(SAMPLE_PICTURES)).to(self.device)
        write_reconstructions(self.codec, before, path.with_name(f"{path.name}-reconstructions.png"))

    def throughput_units(self, batch: Tensor) -> int:
        """Return the number of pictures of a batch [B, C, H, W], B."""
        return len(batch)

    def progress_metrics(self, metrics: Mapping[str, Tensor]) -> list[str]:
        """Describe loss, validation error, PSNR in dB and use of the codebook, for the progress line.

        Args:
            metrics: name -> last logged value, Lightning's `callback_metrics`.

        Returns:
            Phrases such as `loss 1.234`.
        """
        words = [f"loss {float(metrics['train/loss']):.4f}"] if "train/loss" in metrics else []
        if "val/psnr" in metrics:
            words += [f"val/loss {float(metrics['val/loss']):.4f}", f"PSNR {float(metrics['val/psnr']):.2f} dB"]
            words += [f"codes used {100 * float(metrics['val/usage']):.0f} %"]
            words += [f"perplexity {float(metrics['val/perplexity']):.0f}"]
        return words


def write_reconstructions(codec: ImageCodec, before: Tensor, path: Path) -> None:
    """Write a PNG of pictures and their reconstructions side by side.

    Args:
        codec: `ImageCodec` in evaluation mode.
        before: pictures of H x W pixels, uint8 [B, C, H, W].
        path: of the PNG.
    """
    after = codec.decode(codec.encode(pixels_to_tensor(before)))
    before_and_after(list(zip(arrays(before), tensor_to_pixels(after))), path)
