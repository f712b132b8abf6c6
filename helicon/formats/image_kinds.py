"""Kinds of picture files: their suffixes, what they begin with, and Pillow's decoder of each.

HEIC is read where pillow-heif is installed, AVIF where Pillow can.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import NamedTuple

from PIL import features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile


class ImageError(ValueError):
    """A file that is not a readable picture; the message is one line without the path."""


def _heic(file: BytesIO) -> ImageFile:
    import pillow_heif  # pyright: ignore[reportMissingImports]

    return pillow_heif.HeifImageFile(file)


def _avif(file: BytesIO) -> ImageFile:
    from PIL.AvifImagePlugin import AvifImageFile

    return AvifImageFile(file)


# Decoders are called directly: Image.open would warn of large pictures before it could be asked how large they are.
DECODERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "PNG": PngImageFile, "JPEG": JpegImageFile, "WEBP": WebPImageFile, "GIF": GifImageFile, "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}  # fmt: skip
TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES: tuple[str, ...] = (
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".gif", *TIFF_SUFFIXES,
)  # fmt: skip
_EXPORT = "export as .png"
# Suffix of pictures that are not read -> what to do
REMEDIES: dict[str, str] = dict.fromkeys(
    (".svg", ".psd", ".ai", ".eps", ".xcf", ".kra", ".ico", ".tga", ".exr", ".hdr", ".jp2", ".j2k", ".jxl", ".dng",
     ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
    _EXPORT,
)  # fmt: skip


class _Optional(NamedTuple):
    """Kind that some library reads: suffixes, brands in the first box, decoder, whether it is there, how to get it."""

    suffixes: tuple[str, ...]
    brands: tuple[bytes, ...]
    decoder: Callable[[BytesIO], ImageFile]
    there: bool
    install: str


_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_THERE = bool(find_spec("PIL.AvifImagePlugin")) and bool(features.check("avif"))  # of Pillow 11.3 and later
_OPTIONAL = {
    "AVIF": _Optional((".avif",), (b"avif", b"avis"), _avif, _AVIF_THERE, "pip install -U pillow"),
    "HEIC": _Optional(
        (".heic", ".heif"), _HEIC_BRANDS, _heic, bool(find_spec("pillow_heif")), "pip install pillow-heif"
    ),
}
for _name, _kind in _OPTIONAL.items():
    if _kind.there:
        DECODERS[_name] = _kind.decoder
        SUFFIXES += _kind.suffixes
    else:
        REMEDIES |= dict.fromkeys(_kind.suffixes, _kind.install)
_SIGNATURES = (  # offset, bytes there, what the file is
    (0, b"\x89PNG\r\n\x1a\n", "PNG"), (0, b"\xff\xd8\xff", "JPEG"), (0, b"GIF8", "GIF"), (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"), (0, b"II*\0", "TIFF"), (0, b"MM\0*", "TIFF"), (0, b"II+\0", "TIFF"), (0, b"MM\0+", "TIFF"),
    # Known by name only, so that people see what they have
    (0, b"%!PS", "PostScript (EPS)"), (0, b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"), (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"), (4, b"ftyp", "video (MPEG-4)"), (0, b"\0\0\1\0", "Windows icon"),
    (0, b"<", "web page or SVG"),
)  # fmt: skip
_MAX_BRANDS = 64  # of a file's first box that are looked at


def check_suffix(suffix: str) -> None:
    """Raise ImageError unless files of a suffix are read; the message says what to install where that would help."""
    if suffix not in SUFFIXES:
        hint = f"; {REMEDIES[suffix]}" if suffix in REMEDIES else ""
        raise ImageError(f"suffix {suffix!r}: {' '.join(SUFFIXES)} are accepted{hint}")


def kind_of(data: bytes, suffix: str) -> str:
    """Detect the kind of a picture file by its first bytes.

    Args:
        data: bytes of the file.
        suffix: of its name; TIFF files, and only they, are named .tif or .tiff.

    Returns:
        A key of DECODERS.

    Raises:
        ImageError: an unknown kind, one whose library is not installed, or a wrong suffix.
    """
    if not data:
        raise ImageError("the file is empty")
    kind = _by_brand(data) or next((kind for at, start, kind in _SIGNATURES if data.startswith(start, at)), "")
    accepted = [kind for kind in DECODERS if (kind == "TIFF") == (suffix in TIFF_SUFFIXES)]
    if kind not in accepted:
        kind_words = f"a {kind} file named {suffix}" if kind else "not a picture file"
        hint = f"; {_OPTIONAL[kind].install}" if kind in _OPTIONAL and kind not in DECODERS else ""
        raise ImageError(f"{kind_words}: accepted under that name: {', '.join(accepted)}{hint}")
    return kind


def _by_brand(data: bytes) -> str:
    """Return AVIF or HEIC by the brands of the first box (ISO/IEC 14496-12, `ftyp`), the main one before others."""
    if data[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(data[:4], "big"), 4 * _MAX_BRANDS)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    general = [brand for brand in brands if brand not in (b"mif1", b"msf1")] + brands
    return next((kind for brand in general for kind, known in _OPTIONAL.items() if brand in known.brands), "")
