"""Pictures. The slot `image` holds colour clusters, bytes, or the codes of a learned codec, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from helicon.formats.checked import fields, integer, text
from helicon.formats.image import MAX_BYTES, SUFFIXES, read_image, write_image
from helicon.formats.score import ReadReport
from helicon.modalities.base import Modality, TokenizerSpec, amount_of
from helicon.tokenizers.augment_pictures import PictureRanges
from helicon.tokenizers.codes import CodesTokenizer
from helicon.tokenizers.palette import PaletteTokenizer, sample_pixels
from helicon.tokenizers.pixels import MAX_PIXELS, SIZE
from helicon.tokenizers.rgb import RgbTokenizer
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.storage import CodecBundle, find_codec, inference_state_dict, load_codec

COLOURS = 512  # of a palette


@dataclass(frozen=True)
class ImageOptions:
    """How pictures are read.

    Args:
        size: pixels each way that pictures are scaled and cropped to; 32, or what a codec was trained on.
    """

    size: int = SIZE

    def __post_init__(self) -> None:
        integer("size", self.size, 1, MAX_PIXELS)


@dataclass(frozen=True)
class ImageFitting:
    """How a palette is learned.

    Args:
        colours: of a palette that is learned.
    """

    colours: int = COLOURS


def read_file(path: Path, options: ImageOptions) -> tuple[np.ndarray, ReadReport]:
    """Pixels [size, size, 3] of a picture file, cropped to the middle."""
    return read_image(path, options.size)


def preview(media: np.ndarray, path: Path) -> list[Path]:
    """The picture with its pixels enlarged until one can see them."""
    from helicon.formats.sheets import enlarged

    if not len(media):
        return []
    large = path.with_name(f"{path.stem}-large.png")
    write_image(enlarged(media), large)
    return [large]


def sheet(media: Sequence[np.ndarray], path: Path) -> Path | None:
    """A contact sheet."""
    from helicon.formats.sheets import contact_sheet

    pictures = [picture for picture in media if len(picture)]
    if pictures:
        contact_sheet(pictures, path)
    return path if pictures else None


def keep(media: np.ndarray, amount: str) -> np.ndarray:
    """The top share of the rows, at least one."""
    return media[: max(1, round(amount_of(amount, len(media))))]


def fit_palette(surveys: Iterable[np.ndarray], size: int = SIZE, colours: int = COLOURS) -> PaletteTokenizer:
    """Clusters of the colours found."""
    return PaletteTokenizer.fit(surveys, size, colours)


def fit_codes() -> NoReturn:
    """A codec is trained, not fitted: ValueError says how."""
    raise ValueError("codes need a codec: train one with `helicon train image-codec DIR`, then --data.tokenizer RUN")


def codes_of(bundle: CodecBundle, block: str = "image") -> CodesTokenizer:
    """The tokenizer of a codec; ValueError for one of another medium."""
    codec = bundle.codec
    if not isinstance(codec, ImageCodec):
        raise ValueError(f"a codec of {bundle.medium}, one of pictures is needed")
    options = ImageOptions(**bundle.reading)
    return CodesTokenizer(codec, options.size, codec.config.factor, bundle.config(), inference_state_dict(codec), block)


def codes_from_state(state: dict[str, Any], weights: Mapping[str, Tensor] | None = None) -> CodesTokenizer:
    """Inverse of the tokenizer's `state` and `weights`; ValueError when the weights are another codec's."""
    state = fields("state", state, ("block", "codec"))  # type: ignore[assignment]
    return codes_of(CodecBundle.restore(state["codec"], weights), text("block", state["block"]))


def open_codes(path: Path, device: torch.device | str = "cpu") -> CodesTokenizer | None:
    """The tokenizer of a codec's run or bundle; None when there is none at that path, or one of another medium."""
    return codes_of(load_codec(path, device)) if find_codec(path, "image") else None


IMAGE = Modality(
    name="image",
    suffixes=SUFFIXES,
    read_file=read_file,
    options=ImageOptions,
    fitting=ImageFitting,
    write=write_image,
    preview=preview,
    sheet=sheet,
    survey=sample_pixels,
    keep=keep,
    augmentation=PictureRanges,
    max_bytes=MAX_BYTES,
    raw="rgb",
    slots={
        "image": {
            "palette": TokenizerSpec(make=fit_palette, from_state=PaletteTokenizer.from_state),
            "rgb": TokenizerSpec(make=RgbTokenizer, from_state=RgbTokenizer.from_state, needs_fit=False),
            "codes": TokenizerSpec(
                make=fit_codes, from_state=codes_from_state, from_pretrained=open_codes, needs_fit=False
            ),
        }
    },
)
