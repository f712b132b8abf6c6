"""Requests in media: target slot, conditions, length, number of items and sampling options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from helicon.formats.printable import printable
from helicon.sampling import SamplingOptions

MAX_ITEMS, MAX_TOKENS, MAX_SECONDS = 10_000, 10_000_000, 86_400  # of one request (a day of sound): more would not end
MAX_SEED = 2**63 - 1  # int64, which torch.Generator takes


class RequestError(ValueError):
    """Request that a model cannot fulfil; the message names the option and lists what is possible."""


@dataclass(frozen=True, kw_only=True)
class Request(SamplingOptions):
    """Request for items.

    Attributes:
        count: items to return.
        seed: with an item's number it determines that item.
        conditions: typed condition by slot: words, a text, or the name of a file.
        words: slots whose condition is never a file name, as for texts from data.
        to: target slot, where a model generates several.
        prime: file to continue.
        keep: how much of the prime, `8s` or a share such as `0.5`; None for all.
        seconds: length of each item.
        tokens: new tokens of each item; None with `seconds` None leaves the length to the model, at most a context.
    """

    count: int = 1
    seed: int = 0
    conditions: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    to: str | None = None
    prime: Path | None = None
    keep: str | None = None
    seconds: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.best_of is not None and self.best_of < self.count:
            raise RequestError(f"--best-of {self.best_of}: the best {self.count} are to be kept of at least as many")
        if self.best_of is None and self.by != SamplingOptions.by:
            raise RequestError(f"--by {printable(self.by, 40)} judges several: --best-of N says how many to make")
        _check("-n", self.count, 1, MAX_ITEMS)
        _check("--best-of", self.best_of, 1, MAX_ITEMS)
        _check("--seed", self.seed, 0, MAX_SEED)
        _check("--tokens", self.tokens, 1, MAX_TOKENS)
        if self.seconds is not None and not 0 < self.seconds <= MAX_SECONDS:
            raise RequestError(f"--seconds must be above 0 and at most {MAX_SECONDS:,}, got {self.seconds:g}")
        if self.keep is not None and self.prime is None:
            raise RequestError("--keep says how much of --prime FILE to keep; no --prime was given")

    def record(self) -> dict[str, Any]:
        """Return all fields, name -> value, as result files have them; there the conditions are called `given`."""
        return {"given" if name == "conditions" else name: value for name, value in asdict(self).items()}


def _check(option: str, value: int | None, least: int, most: int) -> None:
    """Raise RequestError unless a value is in range."""
    if value is not None and not least <= value <= most:
        raise RequestError(f"{option} must be {least} to {most:,}, got {printable(value, 40)}")
