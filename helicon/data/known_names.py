"""Names of columns and keys, as tools write them in tables and JSON, and the field of an example that each is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# Field -> its names, in order: of several that are there, the first with a value counts. `known` says how they compare
FILE = (
    "file", "file_name", "filename", "file_path", "filepath", "path",  # Hugging Face's folders; open_clip, Common Voice
    "image", "image_path", "image_file", "image_name", "image_file_name", "img", "img_path", "picture",
    "audio", "audio_path", "audio_file", "audio_file_name", "audio_filename", "audio_filepath", "sound", "wav",  # NeMo
    "midi", "midi_path", "midi_file", "midi_filename",  # MAESTRO
)  # fmt: skip
LABEL = ("label", "class", "class_name", "category", "genre")
CAPTION = (
    "text", "caption", "captions", "title", "description", "sentence", "sentences", "transcription", "transcript",
    "prompt", "txt", "raw", "comment", "lyrics",
)  # fmt: skip
TAGS = ("keywords", "tags")  # what stands for a caption where there is none: audiocraft, image boards
SURROGATE = re.compile("[\ud800-\udfff]")
CHOSEN, REJECTED = ("chosen",), ("rejected",)  # sides of a preference pair


def known(name: str) -> str:
    """Return the name of a column or key as the tables above have it.

    Lower case, with `_` for spaces and hyphens, and without the number of one of several, as in `caption_1`.
    """
    return name.strip("\ufeff \t").lower().replace(" ", "_").replace("-", "_").rstrip("0123456789").rstrip("_")


def is_text(value: Any) -> bool:
    """Return True for a string without halves of UTF-16 pairs, which JSON can escape and UTF-8 cannot hold."""
    return isinstance(value, str) and (value.isascii() or not SURROGATE.search(value))


def captions_in(value: Any) -> list[str] | None:
    """List the captions of a value: a text, a list of texts, or objects that have one each; None if there are others.

    Captions of white space alone are left out.
    """
    if isinstance(value, Mapping):
        return captions_of(value)
    if isinstance(value, list):
        several = [captions_in(part) for part in value]
        return None if None in several else [text for texts in several for text in texts or ()]
    return ([value] if value.strip() else []) if is_text(value) else None


def captions_of(row: Mapping[str, Any]) -> list[str] | None:
    """List the captions of an object of JSON, under the first known name that has some, or of its tags.

    Args:
        row: key -> value.

    Returns:
        Captions, empty if there are none; None if one is no text.
    """
    names = [known(key) for key in row]
    for name in CAPTION:
        texts = captions_in([value for key, value in zip(names, row.values()) if key == name and value is not None])
        if texts is None or texts:
            return texts
    tags = captions_in([value for key, value in zip(names, row.values()) if key in TAGS and value is not None])
    return [", ".join(tags)] if tags else tags


def listed(names: Iterable[str], most: int = 8) -> str:
    """Format the first names of a field for a message.

    Args:
        names: of the field, in order.
        most: number of names that are shown.

    Returns:
        Text such as `file, file_name, path ...`.
    """
    first, more = list(names)[:most], len(list(names)) > most
    return ", ".join(first) + (" ..." if more else "")
