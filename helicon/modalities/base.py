"""Modality and TokenizerSpec: the interface of a medium, its files and its tokenizers, to the rest of the library."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from helicon.formats.files import open_regular
from helicon.formats.read_report import ReadReport
from helicon.plugins.registry import Registry
from helicon.tokenizers.augment import AugmentationRanges
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.names import slug


def _unchanged(media: Any, *others: Any) -> Any:
    return media


def _single_document(media: Any) -> list[Any]:
    return [media]


def _keep_refused(media: Any, amount: str) -> Any:
    raise ValueError(f"cannot keep {amount} of this medium, only all of it")


def _only_slot(parts: Mapping[str, Any]) -> Any:
    (media,) = parts.values()
    return media


def _not_pretrained(path: Path, device: Any) -> None:
    return None


def _no_sheet(media: Sequence[Any], path: Path) -> None:
    return None


def _no_preview(media: Any, path: Path) -> list[Path]:
    return []


def _with_values(options: type[Any], values: Mapping[str, Any]) -> Any:
    """Make options of values by name, over the defaults; other names are ignored. ValueError for an invalid value."""
    return options(**{option.name: values[option.name] for option in fields(options) if option.name in values})


def _check_call(name: str, method: Any, arguments: Sequence[str]) -> None:
    """Raise TypeError unless a function can be called with these positional arguments."""
    if not callable(method):
        raise TypeError(f"{name} is {type(method).__name__}; a function is accepted")
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{name} is called as {name}({', '.join(arguments)}): {error}") from None


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """Tokenizer of a slot, as registered: functions that make, restore and extend it.

    Attributes:
        make: `make(surveys, ...)` returns a tokenizer fitted to surveys of media (`Modality.survey`). Its further
            parameters need defaults; they are filled by name from the modality's `options` and `fitting`.
        from_state: `from_state(state)` is the inverse of the tokenizer's `state()`; for a `CodecTokenizer` it is
            `from_state(state, weights)`.
        extend_vocabulary: `extend_vocabulary(tokenizer, surveys)` returns the tokenizer with the new tokens that the
            surveys need; None if the vocabulary is fixed.
        from_pretrained: `from_pretrained(path, device)` opens a run or bundle that is such a tokenizer by itself, such
            as a codec; returns None for anything else.
        needs_fit: False if `make` takes options alone, no surveys. Files are read once instead of twice if no tokenizer
            of a medium needs fitting.
    """

    make: Callable[..., Tokenizer]
    from_state: Callable[..., Tokenizer]
    extend_vocabulary: Callable[..., Tokenizer] | None = None
    from_pretrained: Callable[[Path, Any], Tokenizer | None] = _not_pretrained
    needs_fit: bool = True

    def __post_init__(self) -> None:
        _check_call("make", self.make, ["surveys"] if self.needs_fit else [])
        try:
            _check_call("from_state", self.from_state, ["state"])
        except TypeError:  # a CodecTokenizer's takes the codec's weights, too
            _check_call("from_state", self.from_state, ["state", "weights"])

    def fit(self, surveys: Sequence[Any], **options: Any) -> Tokenizer:
        """Make the tokenizer.

        Args:
            surveys: results of `Modality.survey` for the training media; unused without `needs_fit`.
            **options: by name. Those that `make` has no parameter for belong to other tokenizers and are ignored.

        Returns:
            The fitted tokenizer.
        """
        parameters = inspect.signature(self.make).parameters
        accepted = {name: value for name, value in options.items() if name in parameters}
        return self.make(surveys, **accepted) if self.needs_fit else self.make(**accepted)


@dataclass(frozen=True, kw_only=True)
class Modality:
    """Medium: its file format, its slots and their tokenizers. Defaults suit a medium of one slot.

    Attributes:
        name: task of `helicon train NAME`.
        suffixes: of its files, lower case, with the dot; the first is used for writing. Empty for labels, which are not
            in files.
        read_file: `read_file(path)` returns media and a report of what was dropped or repaired, or raises OSError or a
            ValueError of one line without the path. With `options` it is called as `read_file(path, options)`.
        write: `write(media, path)` writes a file atomically.
        slots: slot -> tokenizer name -> spec; the first tokenizer is the default.
        media: slot -> class of the media that its tokenizers decode to, such as `str`; unchecked where none is named.
        options: dataclass of how files are read, such as the size of pictures. Its fields have defaults, are validated
            in `__post_init__` and described under `Args:`; each is a flag, `--data.NAME`. A model stores their values.
        source_options: dataclass of the same form, of how the files of a folder are written, such as the encoding of
            texts. `read_file` gets it as its last argument. No model stores it: its next folder may be another's.
        fitting: dataclass of the same form, with parameters of `TokenizerSpec.make`.
        preview: `preview(media, path)` writes files that show or play the media, beside `path` with other suffixes, and
            returns their paths.
        separate: `separate(media)` returns the documents that a file holds, one at least, such as those between marks
            in a text. Each is tokenized alone.
        documents: `documents(media)` splits media into parts, one training example each: the documents of a file, and
            parts of the long ones.
        divide: `divide(media, share)` divides media into beginning and end, of which the end is for validation where
            files are too few; share is that of the beginning, 0 to 1. None if media cannot be divided.
        paired: `paired(media)` normalizes media that are a condition or share an example with another medium: a caption
            loses its line end.
        captions: True if the texts of the medium describe another medium beside them: also files of captions that other
            tools write are read, and each example may have several.
        typed: `typed(text)` makes media from text, of a caption file or the command line; None if text cannot be media.
        keep: `keep(media, amount)` cuts a prime to its beginning; the amount is `8s` or a share such as `0.5`.
        trim: `trim(media, seconds)` cuts media to at most that duration, exactly, for a medium whose tokens have a
            fixed duration.
        survey: `survey(media)` extracts the statistics that fitting needs, small and picklable; by default the media.
        labelled: `labelled(media, label)` adds a label to media without one.
        join: `join(parts)` combines the media decoded from each slot, by slot.
        augmentation: dataclass of the ranges that augmentations are drawn from, for tokenizers that are `Augmentable`;
            its fields are the names in `--data.changes`.
        sheet: `sheet(media, path)` writes a PNG that shows many media, and returns its path, None if nothing was shown.
        max_bytes: greatest accepted file size.
        raw: name of the tokenizer that takes media without loss, which codecs learn from.
        remedies: suffix of files of the medium that are not read -> what to do, such as `pip install av`.
    """

    name: str
    suffixes: tuple[str, ...]
    read_file: Callable[..., tuple[Any, ReadReport]]
    write: Callable[[Any, Path], None]
    slots: Mapping[str, Mapping[str, TokenizerSpec]]
    media: Mapping[str, type[Any]] = field(default_factory=dict)
    options: type[Any] | None = None
    source_options: type[Any] | None = None
    fitting: type[Any] | None = None
    preview: Callable[[Any, Path], list[Path]] = _no_preview
    separate: Callable[[Any], list[Any]] = _single_document
    documents: Callable[[Any], list[Any]] = _single_document
    divide: Callable[[Any, float], tuple[Any, Any]] | None = None
    paired: Callable[[Any], Any] = _unchanged
    captions: bool = False
    typed: Callable[[str], Any] | None = None
    keep: Callable[[Any, str], Any] = _keep_refused
    trim: Callable[[Any, float], Any] = _unchanged
    survey: Callable[[Any], Any] = _unchanged
    labelled: Callable[[Any, str], Any] = _unchanged
    join: Callable[[Mapping[str, Any]], Any] = _only_slot
    augmentation: type[AugmentationRanges] | None = None
    sheet: Callable[[Sequence[Any], Path], Path | None] = _no_sheet
    max_bytes: int = 1 << 30
    raw: str | None = None
    remedies: Mapping[str, str] = field(default_factory=dict)

    def accepted_suffix(self, name: str) -> str:
        """Return the suffix of a file name (or path) by which it is of this medium, such as `.mid.gz`; else ''."""
        return next((ending for ending in endings(name) if ending in self.suffixes), "")

    def read(
        self, path: Path, label: str | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Any, dict[str, int]]:
        """Read a file and check what the reader returned.

        Args:
            path: of a regular file.
            label: a text, for media that have none in their file; None for no label.
            options: of reading and of the source, by name, over the defaults. Those of other media are ignored.

        Returns:
            Media in memory, such as a `Score`, and counts of what was dropped or repaired, by what it was.

        Raises:
            OSError: no regular file, or it cannot be read.
            ValueError: too many bytes, invalid content or an invalid option.
            PluginError: the reader of a plugin raises anything else, or returns no such pair.
        """
        with open_regular(path) as file:
            self.check_size(os.fstat(file.fileno()).st_size, options)
        read_options = (_with_values(kind, options or {}) for kind in (self.options, self.source_options) if kind)
        with MODALITIES.running(self.name, accepted=(OSError, ValueError)):
            result = self.read_file(path, *read_options)
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], ReadReport):
            needed = "(media, helicon.ReadReport) are needed"
            raise MODALITIES.fault(self.name, f"read_file gives {type(result).__name__}; {needed}")
        media, report = result
        return (self.labelled(media, label) if label else media), report.counts

    def check_size(self, size: int, options: Mapping[str, Any] | None = None) -> None:
        """Refuse a file that is too large.

        Args:
            size: of the file in bytes.
            options: of reading, by name; `max_mb`, in MiB, replaces `max_bytes`.

        Raises:
            ValueError: the size is above the limit.
        """
        max_mb = (options or {}).get("max_mb")
        limit = self.max_bytes if max_mb is None else max_mb << 20
        if size > limit:
            raise ValueError(
                f"{size:,} bytes are more than the {limit:,} that a file of {self.name} may have (--data.max_mb)"
            )

    @property
    def in_files(self) -> bool:
        """True if media are in files of their own; False for labels."""
        return bool(self.suffixes)

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options of reading."""
        return tuple(field.name for field in fields(self.options)) if self.options else ()

    def read_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of all options of reading, by name: from a mapping by name, else the default.

        Options of other media are ignored. ValueError for an invalid value.
        """
        return asdict(_with_values(self.options, values)) if self.options else {}

    def source_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of all options of the source, by name, as `read_options` does those of reading."""
        return asdict(_with_values(self.source_options, values)) if self.source_options else {}

    def from_text(self, text: str) -> Any:
        """Make media of the kind, such as a label, from a text; ValueError if the text cannot be such media."""
        if self.typed is None:
            raise ValueError(f"{self.name} is not made from text")
        with MODALITIES.running(self.name, accepted=(ValueError,)):
            return self.typed(text)


MODALITIES: Registry[Modality] = Registry("modality")


def endings(name: str) -> list[str]:
    """List what a file name (or path) may be known by, lower case: `.mid.gz` and `.gz`, or `.mid`, or nothing."""
    _, *parts = name.replace("\\", "/").rpartition("/")[2].lower().rsplit(".", 2)
    return [f".{'.'.join(parts[start:])}" for start in range(len(parts))]


def remedy(name: str, modalities: Iterable[Modality]) -> str:
    """Find what to do about a file that no modality reads.

    Args:
        name: of the file, or its path.
        modalities: of which its suffix may be.

    Returns:
        A few words, such as `pip install av`; empty for none.
    """
    return next((m.remedies[ending] for m in modalities for ending in endings(name) if ending in m.remedies), "")


def with_label(media: Any, label: str) -> Any:
    """Set the label of media that have none.

    Args:
        media: a dataclass with a field `label`.
        label: text, as in a folder's name; it becomes a slug, and None if nothing of it is left.

    Returns:
        The media, or a copy with the label.
    """
    return media if media.label else replace(media, label=slug(label) or None)


def parse_amount(amount: str, total: float, unit: str = "") -> float:
    """Parse how much of a prime is kept.

    Args:
        amount: a number with the unit, such as `8s`, or a share above 0 and at most 1, such as `0.5`.
        total: size of the media that shares refer to, such as its seconds or characters.
        unit: accepted suffix; shares alone are accepted if empty.

    Returns:
        The amount in units of `total`.

    Raises:
        ValueError: anything else.
    """
    match = re.fullmatch(r"(\d*\.?\d+)([a-z]*)", amount.strip())
    if match and unit and match[2] == unit:
        return float(match[1])
    if match and not match[2] and 0 < float(match[1]) <= 1:
        return float(match[1]) * total
    accepted = f"an amount such as 8{unit}, or a share" if unit else "a share"
    raise ValueError(f"cannot keep {amount!r}: {accepted} between 0 and 1 is accepted")
