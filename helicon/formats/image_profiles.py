"""Colour profiles (ICC) of pictures, by which their colours are converted to sRGB."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms, features

from helicon.formats.read_report import ReadReport

MAX_PROFILE = 4 << 20  # bytes: those of printers, the largest, have 1 or 2 MB
APPLIED, IGNORED = "pictures converted to sRGB by their colour profiles", "broken colour profiles ignored"
UNSUPPORTED = "colour profiles ignored (Pillow without LittleCMS)"
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # Pillow's mode by the profile's name of its colours
_CACHED = 8  # transforms, of a few megabytes at most: the pictures of a folder share few profiles


def rgb_by_profile(
    image: Image.Image, to_rgb: Callable[[], Image.Image], profile: object, report: ReadReport
) -> Image.Image:  # fmt: skip
    """Convert a picture to sRGB.

    Perceptual intent, the default of profiles; alpha is composed before the conversion.

    Args:
        image: Pillow's image of any mode, loaded.
        to_rgb: converts it to RGB as if it had no profile, in an image that may be changed.
        profile: bytes of the ICC profile in the file; anything else for none.
        report: `ReadReport` that counts pictures converted and profiles ignored.

    Returns:
        Pillow's image of mode RGB and the same size.
    """
    if not isinstance(profile, bytes) or not profile:
        return to_rgb()
    if not features.check("littlecms2"):
        report.add(UNSUPPORTED)
        return to_rgb()
    try:
        mode, transform = _transform(profile)
    except Exception:  # of any type: LittleCMS and Pillow stumble over what is in it
        report.add(IGNORED)
        return to_rgb()
    if (mode == "CMYK") != (image.mode == "CMYK"):  # a profile of other colours than the file's
        report.add(IGNORED)
        return to_rgb()
    if transform is None:
        return to_rgb()
    report.add(APPLIED)
    if mode == "CMYK":
        return transform.apply(image)
    rgb = to_rgb()
    if mode == "L":
        return transform.apply(rgb.getchannel(0))
    transform.apply_in_place(rgb)
    return rgb


@lru_cache(_CACHED)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return Pillow's mode of a profile's colours, and their transform to sRGB; None for those of sRGB itself.

    Any exception is raised for a broken profile.
    """
    if len(profile) > MAX_PROFILE:
        raise ValueError(f"more than {MAX_PROFILE:,} bytes")
    opened = ImageCms.ImageCmsProfile(BytesIO(profile))
    content = opened.profile
    assert isinstance(content, ImageCms.core.CmsProfile)
    mode = _MODES[content.xcolor_space]
    if mode == "RGB" and "srgb" in (content.profile_description or "").lower():
        return mode, None
    return mode, ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
