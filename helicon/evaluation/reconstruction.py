"""Reconstruction: media encoded and decoded by a codec, and the error.

Shapes: H rows, W columns of pixels; S samples, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.cli.errors import CommandError
from helicon.evaluation.sound_roundtrip import roundtrip_sound
from helicon.formats.audio import Sound, read_blocks
from helicon.formats.notebook import html_of
from helicon.formats.quantities import quantity
from helicon.generation.runtime import choose_device
from helicon.modalities import audio, image, registry
from helicon.modalities.base import Modality
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer, decode_all, encode_all
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.storage import CodecBundle

# Media whose models can hold a codec -> the tokenizer of one
MEDIA: dict[str, Callable[[CodecBundle], Tokenizer]] = {"image": image.codes_tokenizer, "audio": audio.codes_tokenizer}


class ReconstructionError(CommandError, ValueError):
    """Request that no codec can fulfil; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Medium before and after a codec.

    Attributes:
        before: original as it was read: uint8 [H, W, 3], or a Sound.
        after: reconstruction of the same size.
        codes: number of codes that `after` was decoded from.
        figures: `psnr` of pictures or `si_sdr` of sounds, in dB; higher is better.
        modality: `Modality` of both.
    """

    before: Any
    after: Any
    codes: int
    figures: dict[str, float]
    modality: Modality

    @property
    def suffix(self) -> str:
        """File suffix of the medium, with the dot, such as `.png`."""
        return self.modality.suffixes[0]

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the reconstruction to the file `path`, the original to `STEM-before` beside it; return both paths."""
        after = Path(path)
        before = after.with_name(f"{after.stem}-before{after.suffix}")
        self.modality.write(self.after, after)
        self.modality.write(self.before, before)
        return [after, before]

    def _repr_html_(self) -> str:
        """Show original and reconstruction beside each other, and the error."""
        with TemporaryDirectory() as folder:
            shown = [html_of([path]) for path in self.save(Path(folder, f"made{self.suffix}"))]
        near = ", ".join(f"{name} {value:.1f} dB" for name, value in self.figures.items())
        return f"{shown[1]} {shown[0]}<br>{near}, {quantity(self.codes, 'code')}"


def reconstruct(tokenizer: Tokenizer, files: Sequence[Path], level: int | None = None) -> list[Reconstruction]:
    """Reconstruct files by a codec.

    Args:
        tokenizer: `Tokenizer` of a codec, as `codec_of` opens it.
        files: paths of pictures, or of sounds, which are read into memory.
        level: index of a level of a codec of sound, 0 the finest; None for the finest.

    Returns:
        A `Reconstruction` for each file, in order.

    Raises:
        ReconstructionError: a level that the codec does not have.
        ValueError: an unreadable file.
        OSError: a missing file.
    """
    if sound_codec := sound_codec_of(tokenizer):
        check_level(sound_codec, level)
        return [_reconstructed_sound(sound_codec, path, level or 0) for path in files]
    if level is not None:
        raise ReconstructionError("--level: a codec of pictures has one level")
    modality = registry.get("image")
    media = [modality.read(path, options=tokenizer.read_options)[0] for path in files]
    return reconstructed_pictures(tokenizer, media)


def reconstructed_pictures(tokenizer: Tokenizer, media: Sequence[np.ndarray]) -> list[Reconstruction]:
    """Reconstruct pictures that are read.

    Args:
        tokenizer: `Tokenizer` of a codec of pictures.
        media: NumPy uint8 [H, W, 3] each, H rows of W pixels.

    Returns:
        A `Reconstruction` for each picture, in order.
    """
    ids = [local for local, _ in encode_all(tokenizer, media)]
    return [
        Reconstruction(
            before=before, after=after, codes=len(codes), figures={"psnr": psnr(before, after)},
            modality=registry.get("image"),
        )
        for before, after, codes in zip(media, decode_all(tokenizer, ids), ids)
    ]  # fmt: skip


def _reconstructed_sound(codec: AudioCodec, path: Path, level: int) -> Reconstruction:
    rate, channels = codec.config.rate, codec.config.channels
    blocks: list[np.ndarray] = []
    figures = roundtrip_sound(codec.level(level), codec, path, blocks.extend)
    before, after = np.concatenate([*read_blocks(path, rate, channels)]), np.concatenate(blocks)
    return Reconstruction(
        before=Sound(before, rate), after=Sound(after, rate), codes=figures["codes"],
        figures={"si_sdr": figures["si_sdr"]}, modality=registry.get("audio"),
    )  # fmt: skip


def sound_codec_of(tokenizer: Tokenizer) -> AudioCodec | None:
    """Return the `AudioCodec` in a `Tokenizer`; None if there is none."""
    codec = tokenizer.codec if isinstance(tokenizer, CodecTokenizer) else None
    return codec if isinstance(codec, AudioCodec) else None


def check_level(codec: AudioCodec, level: int | None) -> None:
    """Check the level of a codec of sound.

    Args:
        codec: `AudioCodec`.
        level: index, 0 the finest; None for the default.

    Raises:
        ReconstructionError: the codec does not have it.
    """
    if level is not None and not 0 <= level < len(codec.levels):
        raise ReconstructionError(f"--level {level}: this codec has levels 0 (the finest) to {len(codec.levels) - 1}")


def codec_of(path: Path, device: str) -> Tokenizer:
    """Open the codec of a run or bundle, or the one in a model.

    Args:
        path: folder of a run or bundle.
        device: `auto`, `cuda`, `mps` or `cpu`.

    Returns:
        The codec as a `Tokenizer`.

    Raises:
        ReconstructionError: a model without a codec.
    """
    for slot in MEDIA:
        if opened := registry.open_tokenizer(slot, path, choose_device(device)):
            return opened[1]
    return codec_in(load_bundle(path, choose_device(device)), str(path))


def codec_in(model: Bundle | CodecBundle, named: str = "model") -> Tokenizer:
    """Return the tokenizer by which a model in memory reconstructs media.

    Args:
        model: `CodecBundle`, or `Bundle` of a model of pictures or of sound.
        named: name of the model, for messages.

    Returns:
        The codec as a `Tokenizer`; of a model of pictures without a codec, its tokenizer of pixels or palette colours.

    Raises:
        ReconstructionError: a model without pictures and sound, or of sound samples without a codec.
    """
    if isinstance(model, CodecBundle):
        return MEDIA[model.medium](model)
    tokenizers = model.sequencer.tokenizers
    coded = [tokenizers[slot] for slot in MEDIA if slot in tokenizers]
    needed = "the run of a codec, or of a model of pictures or of a codec's sound, is needed"
    if not coded:
        raise ReconstructionError(f"{named}: a model without pictures or sound; {needed}")
    if "image" not in tokenizers and not isinstance(coded[0], CodecTokenizer):
        raise ReconstructionError(f"{named}: a model of samples as they are; {needed}")
    return coded[0]


def psnr(before: np.ndarray, after: np.ndarray) -> float:
    """Compute the peak signal-to-noise ratio of pictures.

    Args:
        before: uint8 of any shape, such as [H, W, 3].
        after: uint8, of the same shape.

    Returns:
        PSNR in dB, higher is better; 99 where they are equal.
    """
    error = float(np.mean((before.astype(np.float64) - after.astype(np.float64)) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else 99.0
