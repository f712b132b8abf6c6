"""RowColumns of a dataset's rows: which are media, text and label, and the files that a row becomes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from helicon.formats.printable import MAX_QUOTED, printable
from helicon.sources.kinds import suffix_of
from helicon.sources.places import SourceError
from helicon.sources.remote import Gone, explaining
from helicon.sources.shard_writer import Sample

# Names of columns, in order of preference
TEXTS = (
    "text", "caption", "captions", "sentence", "transcription", "transcript", "normalized_text", "description",
    "prompt", "content", "document", "lyrics", "article", "story",
)  # fmt: skip
LABELS = ("label", "labels", "class", "class_name", "genre", "style", "category", "artist", "composer")
MAX_VALUE_BYTES = 1 << 30  # of one file


@dataclass(frozen=True, kw_only=True)
class RowColumns:
    """RowColumns that are used.

    Attributes:
        media: names of those with files: pictures, sounds, MIDI.
        text: name of the one with texts, which become a file `.txt`; None for none.
        label: name of the one with labels; None for none.
        classes: names of the labels by number; () where the column has texts.
        left: names of the others.
    """

    media: tuple[str, ...]
    text: str | None
    label: str | None
    classes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @staticmethod
    def of(place: str, row: Mapping[str, Any], features: Mapping[str, Any]) -> RowColumns:
        """Choose the columns by a row and their types.

        Args:
            place: for messages.
            row: column -> value, of the first row.
            features: column -> its type in `datasets`; {} where it is not known.

        Returns:
            The `RowColumns`.

        Raises:
            SourceError: none has media or text.
        """
        media = tuple(name for name, value in row.items() if _is_file(value))
        labels = [name for name in row if name.lower() in LABELS] + [n for n in row if _classes(features.get(n))]
        label = min(labels, key=lambda name: not _classes(features.get(name)), default=None)
        texts = [name for name, value in row.items() if _is_text(value) and name != label]
        named = [name for known in TEXTS for name in texts if name.lower() == known]
        text = named[0] if named else texts[0] if len(texts) == 1 else None
        if not media and text is None:
            wanted = f"one of pictures, sounds or MIDI files, or of texts ({', '.join(TEXTS[:4])} ...), is needed"
            raise SourceError(f"{place}: columns {printable(', '.join(row), MAX_QUOTED)}; {wanted}")
        classes = _classes(features.get(label)) if label else ()
        left = tuple(name for name in row if name not in (*media, text, label))
        return RowColumns(media=media, text=text, label=label, classes=classes, left=left)

    def __str__(self) -> str:
        used = [f"{name} (files)" for name in self.media]
        used += [f"{self.text} (text)"] * (self.text is not None) + [f"{self.label} (label)"] * (self.label is not None)
        left = f"; left out: {', '.join(self.left)}" if self.left else ""
        return printable(f"{', '.join(used)}{left}", MAX_QUOTED)

    def sample(self, row: Mapping[str, Any], folder: Path | None) -> Sample:
        """Make the files of a row.

        Args:
            row: column -> value.
            folder: of the dataset on this machine, whose files the row may name; None for one from elsewhere.

        Returns:
            `Sample`, with the first file of each suffix.

        Raises:
            Gone: the row has no media, or names a file that it may not.
            Broken: a file that it names cannot be read now.
        """
        files: dict[str, bytes] = {}
        for name in self.media:
            data, path = _content(row.get(name), folder)
            if data and (suffix := suffix_of(data, path)):
                files.setdefault(suffix, data)
        if self.media and not files:
            raise Gone("without a file of a medium that is read")
        if self.text is not None and (text := _text(row.get(self.text))):
            files[".txt"] = text.encode("utf-8", "replace")
        if not files:
            raise Gone("without text")
        return Sample(files, self._label(row))

    def _label(self, row: Mapping[str, Any]) -> str:
        value = row.get(self.label) if self.label else None
        if isinstance(value, int) and 0 <= value < len(self.classes):
            return self.classes[value]
        return str(value) if isinstance(value, str | int) and not (self.classes and isinstance(value, int)) else ""


def _classes(kind: Any) -> tuple[str, ...]:
    """Return the names of a type `ClassLabel`; () for another."""
    from datasets import ClassLabel

    return tuple(kind.names) if isinstance(kind, ClassLabel) else ()


def _is_file(value: Any) -> bool:
    """Return True for a picture or sound that is not decoded, or for bytes of a medium."""
    if isinstance(value, Mapping):
        return {"bytes", "path"} <= set(value)
    return isinstance(value, bytes) and bool(suffix_of(value, ""))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], str))


def _text(value: Any) -> str:
    """Return a text; of several captions, all, a line each."""
    if isinstance(value, list):
        return "\n".join(" ".join(part.split()) for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _content(value: Any, folder: Path | None) -> tuple[bytes | None, str]:
    """Return the bytes of a value, and the path that it had.

    A dataset is a stranger's: a row that names a file of this machine, outside of the dataset's own folder, is refused.
    """
    if isinstance(value, bytes):
        return value, ""
    if not isinstance(value, Mapping):
        return None, ""
    path = str(value.get("path") or "")
    data = value.get("bytes")
    if isinstance(data, bytes) or not path:
        return data if isinstance(data, bytes) else None, path
    is_hub = path.rpartition("::")[2].startswith("hf://")
    if not is_hub and not (folder and "::" not in path and _is_within(path, folder)):
        raise Gone("that name a file elsewhere: not opened")
    with explaining(), fsspec.open(path, "rb") as file:
        return file.read(MAX_VALUE_BYTES), path  # type: ignore[attr-defined]


def _is_within(path: str, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(folder)
