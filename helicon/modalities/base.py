"""What a medium is to the rest of the library: how its files are read, written and shown, and its tokenizers."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from helicon.formats.checked import number, one_of, shown, text
from helicon.formats.files import open_regular
from helicon.formats.score import ReadReport
from helicon.tokenizers.base import Tokenizer


def _as_it_is(media: Any, *others: Any) -> Any:
    return media


def _alone(media: Any) -> list[Any]:
    return [media]


def _all_or_nothing(media: Any, amount: str) -> Any:
    raise ValueError(f"cannot keep {amount} of this medium, only all of it")


def _only(parts: Mapping[str, Any]) -> Any:
    (media,) = parts.values()
    return media


def _nothing_there(path: Path, device: Any) -> None:
    return None


def _no_sheet(media: Sequence[Any], path: Path) -> None:
    return None


def _no_preview(media: Any, path: Path) -> list[Path]:
    return []


@dataclass(frozen=True)
class TokenizerKind:
    """A way to tokenize a slot.

    make(surveys, ...): a tokenizer fitted to what was surveyed; further parameters have defaults and are options.
    learns: whether it asks the surveys anything. Where no tokenizer does, files are read once and none is surveyed.
    from_state(state): the tokenizer whose `state()` it was; of one that has `weights()`, from_state(state, weights).
    grow(tokenizer, surveys): the same with tokens added that the surveys ask for. open(path, device): the tokenizer
    that lies there as a run or bundle of its own, None when it is none of this kind.
    """

    make: Callable[..., Tokenizer]
    from_state: Callable[..., Tokenizer]
    grow: Callable[..., Tokenizer] = _as_it_is
    open: Callable[[Path, Any], Tokenizer | None] = _nothing_there
    learns: bool = True

    @property
    def grows(self) -> bool:
        """Whether it learns from surveys when its tokenizer is there already."""
        return self.grow is not _as_it_is

    def fit(self, surveys: Sequence[Any], **options: Any) -> Tokenizer:
        """A fitted tokenizer. Options that `make` has no parameter for are those of others and are passed over."""
        return self.make(surveys, **_accepted(self.make, options))


@dataclass(frozen=True)
class Modality:
    """One binding per medium. What is left out has a default that suits a medium of one slot.

    name: as in `helicon train NAME`. suffixes: lower case, with the dot; files are written with the first.
    read_file(path, ...): media, and what was dropped or repaired on the way; further parameters have defaults and are
    options. OSError, or a ValueError of one line, without the path, that says why not.
    write(media, path): whole or not at all.
    slots: slot -> tokenizer's name -> kind; the first is used unless another is asked for.
    preview(media, path): files that show the media or let it be heard, beside `path` with other suffixes; all of them.
    documents(media): the parts that become one example each. paired(media): media as they are beside other media, such
    as a caption without the end of its line. typed(text): media of a caption, or of words typed; None
    for a medium that words cannot be. keep(media, amount): its beginning, of `8s` or a share such as `0.5`.
    trim(media, seconds): at most that much of it, exactly, of a medium whose tokens are each some time long.
    survey(media): what fitting needs to know, small and picklable; by default the media.
    labelled(media, label): media that know their label, unless they have one.
    join(parts): media of what was decoded from each slot, by name. draw_change(rng): a change for `augment`.
    sheet(media, path): a PNG of many at once. max_bytes: of a file that is read. raw: name of the tokenizer that takes
    media as they are, for codecs.
    """

    name: str
    suffixes: tuple[str, ...]
    read_file: Callable[..., tuple[Any, ReadReport]]
    write: Callable[[Any, Path], None]
    slots: Mapping[str, Mapping[str, TokenizerKind]]
    preview: Callable[[Any, Path], list[Path]] = _no_preview
    documents: Callable[[Any], list[Any]] = _alone
    paired: Callable[[Any], Any] = _as_it_is
    typed: Callable[[str], Any] | None = None
    keep: Callable[[Any, str], Any] = _all_or_nothing
    trim: Callable[[Any, float], Any] = _as_it_is
    survey: Callable[[Any], Any] = _as_it_is
    labelled: Callable[[Any, str], Any] = _as_it_is
    join: Callable[[Mapping[str, Any]], Any] = _only
    draw_change: Callable[..., Any] | None = None
    sheet: Callable[[Sequence[Any], Path], Path | None] = _no_sheet
    max_bytes: int = 1 << 30
    raw: str | None = None

    def read(
        self, path: Path, label: str | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Any, dict[str, int]]:
        """Media of a file, and counts of what was dropped or repaired. Options of other media are passed over.

        OSError for what is no regular file, ValueError for one of too many bytes.
        """
        with open_regular(path) as file:
            self.check_size(os.fstat(file.fileno()).st_size, options)
        chosen = {name: value for name, value in (options or {}).items() if name in self._read_options}
        media, report = self.read_file(path, **chosen)
        return (self.labelled(media, label) if label else media), report.counts

    def check_size(self, size: int, options: Mapping[str, Any] | None = None) -> None:
        """ValueError for a file of so many bytes that it is not read, by `max_bytes` or the option `max_mb`."""
        most = (options or {}).get("max_mb")
        most = self.max_bytes if most is None else most << 20
        if size > most:
            raise ValueError(
                f"{size:,} bytes are more than the {most:,} that a file of {self.name} may have (--data.max_mb)"
            )

    def reading(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """All options of reading: as they are given, else the defaults. ValueError for a value of another type."""
        return {
            name: _checked(name, options[name], self._read_hints.get(name)) if name in options else default
            for name, default in self._read_options.items()
        }

    @cached_property
    def _read_options(self) -> dict[str, Any]:
        """Options of `read_file` and their defaults; asking takes as long as reading a small file."""
        parameters = inspect.signature(self.read_file).parameters.values()
        return {each.name: each.default for each in parameters if each.default is not each.empty}

    @cached_property
    def _read_hints(self) -> dict[str, Any]:
        return get_type_hints(self.read_file)

    def from_text(self, text: str) -> Any:
        """Media of a caption; ValueError where words cannot be that medium."""
        if self.typed is None:
            raise ValueError(f"{self.name} is not made from text")
        return self.typed(text)

    def encode(self, tokenizer: Tokenizer, media: Sequence[Any]) -> list[tuple[np.ndarray, dict[str, int]]]:
        """Local ids of each of some media, and counts of what was lost."""
        together = getattr(tokenizer, "encode_many", None)
        if together is not None:
            return [(ids, {}) for ids in together(media)]
        with_report = getattr(tokenizer, "encode_with_report", None)
        if with_report is None:
            return [(tokenizer.encode(each), {}) for each in media]
        return [(ids, report.counts) for ids, report in map(with_report, media)]

    def decode(self, tokenizer: Tokenizer, ids: Sequence[np.ndarray]) -> list[Any]:
        """Media of each of some id sequences."""
        together = getattr(tokenizer, "decode_many", None)
        return together(ids) if together is not None else [tokenizer.decode(each) for each in ids]


def amount_of(amount: str, whole: float, unit: str = "") -> float:
    """How much of `whole` an amount is: `8s` in the unit `s` is 8, `0.5` is half. ValueError says what is taken."""
    match = re.fullmatch(r"(\d*\.?\d+)([a-z]*)", amount.strip())
    if match and unit and match[2] == unit:
        return float(match[1])
    if match and not match[2] and 0 < float(match[1]) <= 1:
        return float(match[1]) * whole
    accepted = f"an amount such as 8{unit}, or a share" if unit else "a share"
    raise ValueError(f"cannot keep {amount!r}: {accepted} between 0 and 1 is accepted")


def _checked(name: str, value: Any, hint: Any) -> Any:
    """A value of an option of reading, of its type or of a plain one; ValueError for another."""
    if get_origin(hint) is Literal:
        return one_of(name, value, get_args(hint))
    accepted = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}
    kinds = [kind for part in (get_args(hint) or (hint,)) for kind in accepted.get(part, ())]
    if value is None and type(None) in get_args(hint):
        return value
    if kinds and type(value) not in kinds:
        raise ValueError(f"{name} {shown(value)}: {' or '.join(kind.__name__ for kind in kinds)} is accepted")
    if type(value) is str:
        return text(name, value)
    return value if type(value) is bool else number(name, value)


def _accepted(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a function has parameters for."""
    return {name: options[name] for name in inspect.signature(function).parameters if name in options}
