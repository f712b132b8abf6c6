"""Slugs: labels as single words."""

from __future__ import annotations

import re
import unicodedata

LONGEST_LABEL = 256  # characters; the rest is cut


def slug(label: str) -> str:
    """Convert any text to one word: lower case; anything but letters, digits, '_', '.' and '-' becomes '-'."""
    # Cut first: normal forms of many combining marks in a row take quadratic time
    return re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", label[:LONGEST_LABEL]).lower()).strip("-")
