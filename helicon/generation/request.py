"""What is asked for: which slot to make from what, how many and how long, and how its tokens are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from helicon.formats.printable import printable
from helicon.sampling import SamplingOptions

MOST_ITEMS, MOST_TOKENS, MOST_SECONDS = 10_000, 10_000_000, 86_400  # of one request: more would not end
MOST_SEED = 2**63 - 1


class RequestError(ValueError):
    """What was asked for cannot be made by this model; the message names it and says what can."""


@dataclass(frozen=True, kw_only=True)
class Request(SamplingOptions):
    """What to make, and how it is drawn.

    given: slot -> what was typed for it (words, text or a file). words: slots of which it is words, whatever they look
    like: what comes from data names no files. to: the slot to make, where a model makes several.
    prime: a file to continue. keep: how much of it, `8s` or a share such as `0.5`; all of it unless given.
    seconds, tokens: how long; as long as the model likes, at most its context, unless given.
    """

    count: int = 1
    seed: int = 0
    given: Mapping[str, str] = field(default_factory=dict)
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
        _check("-n", self.count, 1, MOST_ITEMS)
        _check("--best-of", self.best_of, 1, MOST_ITEMS)
        _check("--seed", self.seed, 0, MOST_SEED)
        _check("--tokens", self.tokens, 1, MOST_TOKENS)
        if self.seconds is not None and not 0 < self.seconds <= MOST_SECONDS:
            raise RequestError(f"--seconds must be above 0 and at most {MOST_SECONDS:,}, got {self.seconds:g}")
        if self.keep is not None and self.prime is None:
            raise RequestError("--keep says how much of --prime FILE to keep; no --prime was given")


def _check(option: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise RequestError(f"{option} must be {least} to {most:,}, got {printable(value, 40)}")
