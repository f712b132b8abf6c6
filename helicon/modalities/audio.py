"""Sound. The slot `audio` holds the codes of a learned codec, or samples; `above` the codes of a coarser level."""

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
from helicon.formats.checked import fields, integer, text
from helicon.formats.score import ReadReport
from helicon.modalities.base import Modality, TokenizerSpec, amount_of
from helicon.tokenizers.augment_sounds import SoundRanges
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.pcm import PcmTokenizer
from helicon.tokenizers.samples import CHANNELS, RATE
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.config import MAX_HOPS
from helicon.vqvae.storage import CodecBundle, find_codec, inference_state_dict, load_codec

MAX_FILE_BYTES = 4 << 30  # what the sizes of WAV files can say; of samples in memory fewer are accepted
TOP = -1
_AT_LEVEL = re.compile(r"(.+)@(\d+)")


@dataclass(frozen=True)
class AudioOptions:
    """How sounds are read.

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
    """Sound of a file, resampled, its channels mixed or doubled."""
    return read_audio(path, options.rate, options.channels)


def preview(media: Sound, path: Path) -> list[Path]:
    """A picture of how loud and of what pitch it is; the file itself can be heard."""
    from helicon.formats.sound_plots import sound_picture  # loads plotting, which reading does not need

    if not len(media):
        return []
    picture = path.with_suffix(".png")
    sound_picture(media.samples, media.rate, picture)
    return [picture]


def keep(media: Sound, amount: str) -> Sound:
    """The first seconds (`8s`) or share of it."""
    return media.cut(amount_of(amount, media.seconds, "s"))


def fit_codes() -> NoReturn:
    """A codec is trained, not fitted: ValueError says how."""
    raise ValueError("codes need a codec: train one with `helicon train audio-codec DIR`, then --data.tokenizer RUN")


def codes_of(bundle: CodecBundle, level: int = TOP, block: str = "audio") -> SoundCodesTokenizer:
    """The tokenizer of a level, 0 the finest, -1 the top; ValueError for another, or a codec of another medium."""
    codec = bundle.codec
    if not isinstance(codec, AudioCodec):
        raise ValueError(f"a codec of {bundle.medium}, one of sound is needed")
    how = bundle.reading["rate"], bundle.reading["channels"], bundle.config()
    return SoundCodesTokenizer(codec, level, *how, inference_state_dict(codec), block)


def codes_from_state(state: dict[str, Any], weights: Mapping[str, Tensor] | None = None) -> SoundCodesTokenizer:
    """Inverse of the tokenizer's `state` and `weights`; ValueError when the weights are another codec's."""
    state = fields("state", state, ("block", "level", "codec"))  # type: ignore[assignment]
    codec, level = CodecBundle.restore(state["codec"], weights), integer("level", state["level"], 0, MAX_HOPS)
    return codes_of(codec, level, text("block", state["block"]))


def open_codes(path: Path, device: torch.device | str = "cpu", block: str = "audio") -> SoundCodesTokenizer | None:
    """The tokenizer of a codec's run or bundle: of level N at `PATH@N`, of the top level at `PATH`.

    None when there is no codec of sound at that path; ValueError when it has no level N.
    """
    level, at_level = TOP, _AT_LEVEL.fullmatch(path.name)
    if at_level and not path.exists():
        path, level = path.with_name(at_level[1]), int(at_level[2])
    return codes_of(load_codec(path, device), level, block) if find_codec(path, "audio") else None


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
