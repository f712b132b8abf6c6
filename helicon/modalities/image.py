"""Pictures. The slot `image` holds colour clusters, bytes, or the codes of a learned codec, row by row.

Shapes: pictures are uint8 [H, W, 3].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from helicon.formats.checked import fields, integer, text
from helicon.formats.image import MAX_BYTES, read_image, write_image
from helicon.formats.image_kinds import REMEDIES, SUFFIXES
from helicon.formats.read_report import ReadReport
from helicon.modalities.base import Modality, TokenizerSpec, parse_amount
from helicon.tokenizers.augment_pictures import PictureRanges
from helicon.tokenizers.codes import CodesTokenizer
from helicon.tokenizers.palette import PaletteTokenizer, sample_pixels
from helicon.tokenizers.pixels import MAX_PIXELS, SIZE
from helicon.tokenizers.rgb import RgbTokenizer
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.storage import CodecBundle, find_codec, inference_state_dict, load_codec

COLOURS = 512  # of a palette; as many as Image GPT (Chen et al. 2020) has


@dataclass(frozen=True)
class ImageOptions:
    """Options of reading pictures.

    Args:
        size: pixels each way that pictures are scaled and cropped to; 32, or what a codec was trained on.
    """

    size: int = SIZE

    def __post_init__(self) -> None:
        integer("size", self.size, 1, MAX_PIXELS)


@dataclass(frozen=True)
class ImageFitting:
    """Options of fitting a palette.

    Args:
        colours: number of colours of a palette that is fitted.
    """

    colours: int = COLOURS


def read_file(path: Path, options: ImageOptions) -> tuple[np.ndarray, ReadReport]:
    """Read a picture file.

    Args:
        path: of the file.
        options: `ImageOptions`, size that the picture is scaled and cropped to, around its middle.

    Returns:
        Pixels NumPy uint8 [size, size, 3], and a `ReadReport` of what was repaired.

    Raises:
        OSError: the file cannot be read.
        ValueError: no picture, or one of too many pixels.
    """
    return read_image(path, options.size)


def preview(media: np.ndarray, path: Path) -> list[Path]:
    """Write the picture with enlarged pixels as NAME-large.png beside NAME.png.

    Args:
        media: the picture, NumPy uint8 [H, W, 3], H x W pixels.
        path: of the picture file; the preview is beside it.

    Returns:
        The preview's path in a list; an empty list for an empty picture.
    """
    from helicon.formats.sheets import enlarged

    if not len(media):
        return []
    large = path.with_name(f"{path.stem}-large.png")
    write_image(enlarged(media), large)
    return [large]


def sheet(media: Sequence[np.ndarray], path: Path) -> Path | None:
    """Write a contact sheet.

    Args:
        media: pictures NumPy uint8 [H, W, 3], H x W pixels; empty ones are left out.
        path: of the sheet, a PNG file.

    Returns:
        The path; None if there is nothing to show.
    """
    from helicon.formats.sheets import contact_sheet

    pictures = [picture for picture in media if len(picture)]
    if pictures:
        contact_sheet(pictures, path)
    return path if pictures else None


def keep(media: np.ndarray, amount: str) -> np.ndarray:
    """Cut a picture to its upper part.

    Args:
        media: the picture, NumPy uint8 [H, W, 3], H x W pixels.
        amount: share of the rows, such as `0.5`.

    Returns:
        The upper rows, at least 1, NumPy uint8 [rows, W, 3].

    Raises:
        ValueError: an invalid share.
    """
    return media[: max(1, round(parse_amount(amount, len(media))))]


def fit_palette(surveys: Iterable[np.ndarray], size: int = SIZE, colours: int = COLOURS) -> PaletteTokenizer:
    """Fit a palette by clustering colours.

    Args:
        surveys: pixels NumPy uint8 [N, 3] of each training picture, N pixels, as `sample_pixels` draws them.
        size: pixels each way of the pictures that are tokenized.
        colours: number of clusters.

    Returns:
        The tokenizer.
    """
    return PaletteTokenizer.fit(surveys, size, colours)


def fit_codes() -> NoReturn:
    """Refuse to fit codes: codecs are trained, and the ValueError shows the command."""
    raise ValueError("codes need a codec: train one with `helicon train image-codec DIR`, then --data.tokenizer RUN")


def codes_tokenizer(bundle: CodecBundle, block: str = "image") -> CodesTokenizer:
    """Make the tokenizer of a codec.

    Args:
        bundle: `CodecBundle` of an image codec.
        block: name of its token block, which is the slot's.

    Returns:
        The tokenizer.

    Raises:
        ValueError: a codec of another medium.
    """
    codec = bundle.codec
    if not isinstance(codec, ImageCodec):
        raise ValueError(f"a codec of {bundle.medium}, one of pictures is needed")
    options = ImageOptions(**bundle.reading)
    return CodesTokenizer(codec, options.size, codec.config.factor, bundle.config(), inference_state_dict(codec), block)


def codes_from_state(state: dict[str, Any], weights: Mapping[str, Tensor] | None = None) -> CodesTokenizer:
    """Restore the tokenizer: the inverse of its `state` and `weights`.

    Args:
        state: JSON-able dict with the codec's config, and the fingerprint of its weights.
        weights: tensors of the codec by name.

    Returns:
        The tokenizer.

    Raises:
        ValueError: an invalid state, no weights, or those of another codec.
    """
    state = fields("state", state, ("block", "codec"))  # type: ignore[assignment]
    return codes_tokenizer(CodecBundle.restore(state["codec"], weights), text("block", state["block"]))


def open_codes(path: Path, device: torch.device | str = "cpu") -> CodesTokenizer | None:
    """Open a codec's run or bundle as a tokenizer.

    Args:
        path: folder of the run or bundle.
        device: PyTorch device of the codec.

    Returns:
        The tokenizer; None if there is no image codec at the path.

    Raises:
        ValueError: a broken bundle.
    """
    return codes_tokenizer(load_codec(path, device)) if find_codec(path, "image") else None


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
    media={"image": np.ndarray},
    remedies=REMEDIES,
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
