"""What a medium is to the rest of the library: how its files are read, written and shown, and which tokenizers it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helicon.formats.score import ReadReport
from helicon.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class TokenizerKind:
    """A way to tokenize a slot.

    fit(surveys, **options): a tokenizer for the media that were surveyed; surveys come once, in order, and may be many.
    from_state(state): the tokenizer whose `state()` it was.
    """

    fit: Callable[..., Tokenizer]
    from_state: Callable[[dict[str, Any]], Tokenizer]


def _itself(media: Any) -> Any:
    return media


def _alone(media: Any) -> list[Any]:
    return [media]


def _unlabelled(media: Any, label: str) -> Any:
    return media


def _only(parts: Mapping[str, Any]) -> Any:
    (media,) = parts.values()
    return media


def _no_preview(media: Any, path: Path) -> list[Path]:
    return []


@dataclass(frozen=True)
class Modality:
    """One binding per medium; what is left out has a default that suits a medium of one slot.

    name: as in `helicon train NAME`. suffixes: lower case, with the dot; files are written with `suffix`.
    slots: slot -> tokenizer's name -> kind; the first is used unless another is asked for.
    read(path, **options): the media of a file. OSError, or ValueError of one line that says why not.
    read_with_report: like `read`, with what was dropped and repaired on the way.
    write(media, path): whole or not at all. preview(media, path): files that show the media or let it be heard, beside
    `path` with other suffixes; the list of them.
    documents(media): pieces that become one example each. survey(media): what `fit` needs to know of the media, small and
    picklable; by default the media. labelled(media, label): media that know their label, if they have none of their own.
    join(parts): media of what was decoded from each slot of a modality with several.
    draw_change(rng): a random change for `augment` of its tokenizers; None when there is nothing to change.
    """

    name: str
    suffix: str
    read: Callable[..., Any]
    write: Callable[[Any, Path], None]
    slots: Mapping[str, Mapping[str, TokenizerKind]]
    suffixes: frozenset[str] = frozenset()
    preview: Callable[[Any, Path], list[Path]] = _no_preview
    documents: Callable[[Any], Iterable[Any]] = _alone
    survey: Callable[[Any], Any] = _itself
    labelled: Callable[[Any, str], Any] = _unlabelled
    join: Callable[[Mapping[str, Any]], Any] = _only
    draw_change: Callable[..., Any] | None = None
    report: Callable[..., tuple[Any, ReadReport]] | None = field(default=None)

    def __post_init__(self) -> None:
        # The dataclass is frozen, and a modality of one suffix should not have to name it twice.
        object.__setattr__(self, "suffixes", self.suffixes | {self.suffix})

    def read_with_report(self, path: Path, **options: Any) -> tuple[Any, ReadReport]:
        """Media and what was dropped and repaired in reading them."""
        return self.report(path, **options) if self.report else (self.read(path, **options), ReadReport())
