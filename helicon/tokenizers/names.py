"""Labels as words."""

from __future__ import annotations

import re
import unicodedata

LONGEST_LABEL = 256  # characters


def slug(label: str) -> str:
    """A label as one word: lower case, anything but letters, digits, '_', '.' and '-' becomes '-'; 256 characters."""
    # Of marks that follow each other normal forms take quadratic time
    return re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", label[:LONGEST_LABEL]).lower()).strip("-")
