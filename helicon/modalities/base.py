"""What a medium is to the rest of the library: how its files are read, written and shown, and its tokenizers."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from helicon.formats.files import open_regular
from helicon.formats.score import ReadReport
from helicon.plugins.registry import Registry
from helicon.tokenizers.augment import AugmentationRanges
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.names import slug


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


def _check_call(name: str, method: Any, given: Sequence[str]) -> None:
    """TypeError unless a function can be called by so many arguments."""
    if not callable(method):
        raise TypeError(f"{name} is {type(method).__name__}; a function is accepted")
    try:
        inspect.signature(method).bind(*given)
    except TypeError as error:
        raise TypeError(f"{name} is called as {name}({', '.join(given)}): {error}") from None


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """A way to tokenize a slot.

    make(surveys, ...): a tokenizer fitted to what was surveyed; further parameters have defaults and are options.
    needs_fit: whether it learns from surveys; otherwise make(...) takes options alone. Where no tokenizer of a medium
    needs any, files are read once.
    from_state(state): the tokenizer whose `state()` it was; of a `CodecTokenizer`, from_state(state, weights).
    extend_vocabulary(tokenizer, surveys): the same with tokens added that the surveys ask for; None where none can be.
    from_pretrained(path, device): the tokenizer that lies there as a run or bundle of its own, None when it is none of
    this kind.
    """

    make: Callable[..., Tokenizer]
    from_state: Callable[..., Tokenizer]
    extend_vocabulary: Callable[..., Tokenizer] | None = None
    from_pretrained: Callable[[Path, Any], Tokenizer | None] = _nothing_there
    needs_fit: bool = True

    def __post_init__(self) -> None:
        _check_call("make", self.make, ["surveys"] if self.needs_fit else [])
        try:
            _check_call("from_state", self.from_state, ["state"])
        except TypeError:  # of a codec
            _check_call("from_state", self.from_state, ["state", "weights"])

    def fit(self, surveys: Sequence[Any], **options: Any) -> Tokenizer:
        """A fitted tokenizer. Options that `make` has no parameter for are those of others and are passed over."""
        known = inspect.signature(self.make).parameters
        taken = {name: value for name, value in options.items() if name in known}
        return self.make(surveys, **taken) if self.needs_fit else self.make(**taken)


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One binding per medium. What is left out has a default that suits a medium of one slot.

    name: as in `helicon train NAME`. suffixes: lower case, with the dot; files are written with the first. Without any,
    media are the labels of examples, which are in no file.
    read_file(path): media, and what was dropped or repaired on the way. OSError, or a ValueError of one line, without
    the path, that says why not.
    options: a dataclass of how files are read, such as at what size, whose fields have defaults and are checked as it
    is made, and whose docstring has them under `Args:`; then read_file(path, options). Each is a flag, `--data.NAME`.
    They are part of every model, and said once for all of its files.
    fitting: a dataclass of the same kind, of how its tokenizers are learned: parameters of their `make`.
    write(media, path): whole or not at all.
    slots: slot -> tokenizer's name -> spec; the first is used unless another is asked for.
    preview(media, path): files that show the media or let it be heard, beside `path` with other suffixes; all of them.
    documents(media): the parts that become one example each. paired(media): media as they are beside other media, such
    as a caption without the end of its line. typed(text): media of a caption, or of words typed; None
    for a medium that words cannot be. keep(media, amount): its beginning, of `8s` or a share such as `0.5`.
    trim(media, seconds): at most that much of it, exactly, of a medium whose tokens are each some time long.
    survey(media): what fitting needs to know, small and picklable; by default the media.
    labelled(media, label): media that know their label, unless they have one.
    join(parts): media of what was decoded from each slot, by name. augmentation: the ranges that augmentations for
    tokenizers that are `Augmentable` are drawn from, each named as in `--data.changes`. sheet(media, path): a PNG of
    many at once. max_bytes: of a file that is read. raw: name of the tokenizer that takes media as they are, for
    codecs.
    """

    name: str
    suffixes: tuple[str, ...]
    read_file: Callable[..., tuple[Any, ReadReport]]
    write: Callable[[Any, Path], None]
    slots: Mapping[str, Mapping[str, TokenizerSpec]]
    options: type[Any] | None = None
    fitting: type[Any] | None = None
    preview: Callable[[Any, Path], list[Path]] = _no_preview
    documents: Callable[[Any], list[Any]] = _alone
    paired: Callable[[Any], Any] = _as_it_is
    typed: Callable[[str], Any] | None = None
    keep: Callable[[Any, str], Any] = _all_or_nothing
    trim: Callable[[Any, float], Any] = _as_it_is
    survey: Callable[[Any], Any] = _as_it_is
    labelled: Callable[[Any, str], Any] = _as_it_is
    join: Callable[[Mapping[str, Any]], Any] = _only
    augmentation: type[AugmentationRanges] | None = None
    sheet: Callable[[Sequence[Any], Path], Path | None] = _no_sheet
    max_bytes: int = 1 << 30
    raw: str | None = None

    def read(
        self, path: Path, label: str | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Any, dict[str, int]]:
        """Media of a file, and counts of what was dropped or repaired. Options of other media are passed over.

        OSError for what is no regular file, ValueError for one of too many bytes; PluginError for a reader of a plugin
        that raises anything else, or gives no such pair.
        """
        with open_regular(path) as file:
            self.check_size(os.fstat(file.fileno()).st_size, options)
        given = (path, self.options(**self.read_options(options or {}))) if self.options else (path,)
        with MODALITIES.running(self.name, accepted=(OSError, ValueError)):
            found = self.read_file(*given)
        if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], ReadReport):
            needed = "(media, helicon.ReadReport) are needed"
            raise MODALITIES.fault(self.name, f"read_file gives {type(found).__name__}; {needed}")
        media, report = found
        return (self.labelled(media, label) if label else media), report.counts

    def check_size(self, size: int, options: Mapping[str, Any] | None = None) -> None:
        """ValueError for a file of so many bytes that it is not read, by `max_bytes` or the option `max_mb`."""
        most = (options or {}).get("max_mb")
        most = self.max_bytes if most is None else most << 20
        if size > most:
            raise ValueError(
                f"{size:,} bytes are more than the {most:,} that a file of {self.name} may have (--data.max_mb)"
            )

    @property
    def in_files(self) -> bool:
        """Whether media are in files; labels are not."""
        return bool(self.suffixes)

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options of reading."""
        return tuple(each.name for each in fields(self.options)) if self.options else ()

    def read_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options of reading: as they are given, else the defaults. ValueError for a value that is none."""
        if self.options is None:
            return {}
        return asdict(self.options(**{name: given[name] for name in self.option_names if name in given}))

    def from_text(self, text: str) -> Any:
        """Media of a caption; ValueError where words cannot be that medium."""
        if self.typed is None:
            raise ValueError(f"{self.name} is not made from text")
        with MODALITIES.running(self.name, accepted=(ValueError,)):
            return self.typed(text)


MODALITIES: Registry[Modality] = Registry("modality")


def with_label(media: Any, label: str) -> Any:
    """Media of a dataclass with a label, unless their file had one."""
    return media if media.label else replace(media, label=slug(label) or None)


def amount_of(amount: str, whole: float, unit: str = "") -> float:
    """How much of `whole` an amount is: `8s` in the unit `s` is 8, `0.5` is half. ValueError says what is taken."""
    match = re.fullmatch(r"(\d*\.?\d+)([a-z]*)", amount.strip())
    if match and unit and match[2] == unit:
        return float(match[1])
    if match and not match[2] and 0 < float(match[1]) <= 1:
        return float(match[1]) * whole
    accepted = f"an amount such as 8{unit}, or a share" if unit else "a share"
    raise ValueError(f"cannot keep {amount!r}: {accepted} between 0 and 1 is accepted")
