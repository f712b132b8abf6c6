"""Sound. The slot `audio` holds the codes of a learned codec, or samples; `above` the codes of a coarser level.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from helicon.formats.audio import MAX_CHANNELS, MAX_RATE, SUFFIXES, Sound, read_audio, write_audio
from helicon.formats.audio_kinds import REMEDIES
from helicon.formats.checked import fields, integer, text
from helicon.formats.read_report import ReadReport
from helicon.modalities.base import Modality, TokenizerSpec, parse_amount
from helicon.tokenizers.augment_sounds import SoundRanges
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.pcm import PcmTokenizer
from helicon.tokenizers.samples import CHANNELS, RATE
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.config import MAX_HOPS
from helicon.vqvae.storage import CodecBundle, find_codec, inference_state_dict, load_codec

MAX_FILE_BYTES = 4 << 30  # sizes in WAV files have 32 bits; `formats.audio` has a lower limit for samples in memory
TOP_LEVEL = -1  # the coarsest of a codec; the finest is 0
_AT_LEVEL = re.compile(r"(.+)@(\d+)")  # PATH@N


@dataclass(frozen=True)
class AudioOptions:
    """Options of reading sound files.

    Args:
        rate: samples a second that sounds are resampled to; 8000, or what a codec was trained on.
        channels: of sounds, 1 or 2; 1, or what a codec was trained on.
    """

    rate: int | None = RATE
    channels: int = CHANNELS

    def __post_init__(self) -> None:
        if self.rate is not None:
            integer("rate", self.rate, 1, MAX_RATE)
        integer("channels", self.channels, 1, MAX_CHANNELS)


def read_file(path: Path, options: AudioOptions) -> tuple[Sound, ReadReport]:
    """Read a sound file.

    Args:
        path: of the file.
        options: `AudioOptions`, rate and channels that the sound is resampled, and mixed or doubled, to.

    Returns:
        `Sound` of float32 [S, C], S samples and C channels, and a `ReadReport` of what was repaired.

    Raises:
        OSError: the file cannot be read.
        ValueError: no sound, or a sound that is too long.
    """
    return read_audio(path, options.rate, options.channels)


def preview(media: Sound, path: Path) -> list[Path]:
    """Draw loudness and spectrogram; the sound file itself can be played.

    Args:
        media: any `Sound`.
        path: of the sound file; the picture is beside it, a PNG.

    Returns:
        The picture's path in a list; an empty list for an empty sound.
    """
    from helicon.formats.sound_plots import sound_picture  # loads plotting, which reading does not need

    if not len(media):
        return []
    picture = path.with_suffix(".png")
    sound_picture(media.samples, media.rate, picture)
    return [picture]


def keep(media: Sound, amount: str) -> Sound:
    """Cut a sound to its beginning.

    Args:
        media: `Sound` to be cut.
        amount: seconds, such as `8s`, or a share, such as `0.5`.

    Returns:
        `Sound` of the beginning.

    Raises:
        ValueError: an invalid amount.
    """
    return media.cut(parse_amount(amount, media.seconds, "s"))


def fit_codes() -> NoReturn:
    """Refuse to fit codes: codecs are trained, and the ValueError shows the command."""
    raise ValueError("codes need a codec: train one with `helicon train audio-codec DIR`, then --data.tokenizer RUN")


def codes_tokenizer(bundle: CodecBundle, level: int = TOP_LEVEL, block: str = "audio") -> SoundCodesTokenizer:
    """Make the tokenizer of a level of a codec.

    Args:
        bundle: `CodecBundle` of an audio codec.
        level: 0 the finest, -1 the top.
        block: name of its token block, which is the slot's.

    Returns:
        The tokenizer.

    Raises:
        ValueError: no such level, or a codec of another medium.
    """
    codec = bundle.codec
    if not isinstance(codec, AudioCodec):
        raise ValueError(f"a codec of {bundle.medium}, one of sound is needed")
    rate, channels = bundle.reading["rate"], bundle.reading["channels"]
    return SoundCodesTokenizer(codec, level, rate, channels, bundle.config(), inference_state_dict(codec), block)


def codes_from_state(state: dict[str, Any], weights: Mapping[str, Tensor] | None = None) -> SoundCodesTokenizer:
    """Restore the tokenizer: the inverse of its `state` and `weights`.

    Args:
        state: JSON-able dict with the codec's config, and the fingerprint of its weights.
        weights: tensors of the codec by name.

    Returns:
        The tokenizer.

    Raises:
        ValueError: an invalid state, no weights, or those of another codec.
    """
    state = fields("state", state, ("block", "level", "codec"))  # type: ignore[assignment]
    codec, level = CodecBundle.restore(state["codec"], weights), integer("level", state["level"], 0, MAX_HOPS)
    return codes_tokenizer(codec, level, text("block", state["block"]))


def open_codes(path: Path, device: torch.device | str = "cpu", block: str = "audio") -> SoundCodesTokenizer | None:
    """Open a codec's run or bundle as a tokenizer.

    Args:
        path: folder of the run or bundle, for the top level; `PATH@N` for level N.
        device: PyTorch device of the codec.
        block: name of the token block, which is the slot's.

    Returns:
        The tokenizer; None if there is no audio codec at the path.

    Raises:
        ValueError: the codec has no level N, or its bundle is broken.
    """
    level, at_level = TOP_LEVEL, _AT_LEVEL.fullmatch(path.name)
    if at_level and not path.exists():
        path, level = path.with_name(at_level[1]), int(at_level[2])
    return codes_tokenizer(load_codec(path, device), level, block) if find_codec(path, "audio") else None


AUDIO = Modality(
    name="audio",
    suffixes=SUFFIXES,
    read_file=read_file,
    options=AudioOptions,
    write=write_audio,
    preview=preview,
    keep=keep,
    max_bytes=MAX_FILE_BYTES,
    trim=Sound.cut,
    augmentation=SoundRanges,
    raw="pcm",
    media={"audio": Sound, "above": Sound},
    remedies=REMEDIES,
    slots={
        "audio": {
            "mulaw": TokenizerSpec(make=MulawTokenizer, from_state=MulawTokenizer.from_state, needs_fit=False),
            "codes": TokenizerSpec(
                make=fit_codes, from_state=codes_from_state, from_pretrained=open_codes, needs_fit=False
            ),
            "pcm": TokenizerSpec(make=PcmTokenizer, from_state=PcmTokenizer.from_state, needs_fit=False),
        },
        "above": {
            "codes": TokenizerSpec(
                make=fit_codes,
                from_state=codes_from_state,
                from_pretrained=partial(open_codes, block="above"),
                needs_fit=False,
            )
        },
    },
)
