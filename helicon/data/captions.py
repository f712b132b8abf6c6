"""Captions beside other media: text files of one, or of one a line, and JSON and others as other tools write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from helicon.data.entries import Entry, File, at_path, size
from helicon.data.known_names import CAPTION, captions_of, listed
from helicon.formats.json_files import parse_json
from helicon.formats.printable import printable
from helicon.formats.text_files import AUTO, read_text
from helicon.modalities.base import Modality

SUFFIXES = (".caption", ".json")  # of captions beside those of texts: kohya's; audiocraft's and webdataset's
MAX_BYTES = 4 << 20  # of a file of captions
SURVEYED = 100  # files of a folder that are looked at, spread evenly
LINES, WHOLE = "lines", "whole"  # a caption is a line of its file, or all of it
SENTENCE_ENDS = tuple(".!?…。！？।؟")  # of several scripts
GOES_ON = tuple(",;:-–—(،、，")  # at the end of a line: its caption is not at an end
MAX_SHOWN = 200  # characters of keys in a message


def with_caption_files(modalities: Sequence[Modality]) -> list[Modality]:
    """Let the modality of captions take files of other tools, where there is another medium to describe.

    Args:
        modalities: those in files that an example needs.

    Returns:
        The same, that of captions with more suffixes.
    """
    if len(modalities) < 2:
        return list(modalities)
    return [replace(m, suffixes=(*m.suffixes, *SUFFIXES)) if m.captions else m for m in modalities]


def read_captions(path: Path, modality: Modality, options: Mapping[str, Any]) -> tuple[list[str], dict[str, int]]:
    """Read a file of captions.

    Args:
        path: of the file.
        modality: of its texts.
        options: of reading, by name; `captions` is LINES, or else the file is one caption.

    Returns:
        At least one caption, and counts of what was repaired.

    Raises:
        ValueError: no caption, or no JSON.
        OSError: the file cannot be read.
    """
    if path.suffix.lower() == ".json":
        text, report = read_text(path, options.get("encoding", AUTO))
        row, counts = parse_json(text), report.counts
        captions = captions_of(row) if isinstance(row, dict) else None
        if not captions:
            keys = printable(", ".join(row)[:MAX_SHOWN]) if isinstance(row, dict) and row else "none"
            raise ValueError(f"no caption: its keys are {keys}; {listed(CAPTION)} are known")
    else:
        text, counts = modality.read(path, options=options)
        lines = text.splitlines() if options.get("captions") == LINES else [text]
        captions = [line for line in lines if line.strip()]
    if not captions:
        raise ValueError("an empty caption")
    return captions, counts


def settle(entries: Sequence[Entry], modality: Modality, options: Mapping[str, Any]) -> tuple[str, str]:
    """Settle whether text files of captions have one a line, by what most of them look like.

    A file has a caption a line if it has several lines, none of them empty, that end alike: all with a full stop or
    the like, or all without, and none with a comma.

    Args:
        entries: `Entry`s, some with a file of captions.
        modality: of the captions.
        options: of reading, by name; `captions` is LINES, WHOLE or AUTO.

    Returns:
        LINES or WHOLE; and a line for the report, empty if that is what was asked for or makes no difference.
    """
    asked = options.get("captions", AUTO)
    if asked != AUTO:
        return asked, ""
    surveyed = entries[:: max(1, len(entries) // SURVEYED)]
    texts = [_text(entry.files[modality.name], modality, options) for entry in surveyed if modality.name in entry.files]
    several = sum(len(text.strip().splitlines()) > 1 for text in texts)
    in_lines = sum(map(_is_of_lines, texts))
    if not several:
        return WHOLE, ""
    if 2 * in_lines > len(texts):
        reason = f"as most files have several that end alike ({in_lines} of {len(texts)} looked at)"
        return LINES, f"captions   each line is a caption, {reason}; --data.captions whole takes each file as one"
    reason = f"though some have several lines ({several} of {len(texts)} looked at)"
    return WHOLE, f"captions   each file is one caption, {reason}; --data.captions lines takes each line as one"


def _text(file: File, modality: Modality, options: Mapping[str, Any]) -> str:
    """Return the content of a text file; empty for one that cannot be read, which is said later, and for JSON."""
    if file.suffix.lower() == ".json":
        return ""
    try:
        if size(file) > MAX_BYTES:
            return ""
        with at_path(file) as path:
            return modality.read(path, options=options)[0]
    except (OSError, ValueError):
        return ""


def _is_of_lines(text: str) -> bool:
    lines = [line.strip() for line in text.strip().splitlines()]
    ends = {line.endswith(SENTENCE_ENDS) for line in lines}
    return len(lines) > 1 and all(lines) and len(ends) == 1 and not any(line.endswith(GOES_ON) for line in lines)
