"""Sampling options: each stated once, for the command line, the library and the record of an item.

A new one is a field here and, where it acts on logits, a sampler step of the same name in gpt/sampler.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any


def _option(default: Any, text: str, metavar: str | None = None, step: bool = False) -> Any:
    """Make the field of an option.

    Args:
        default: value unless given.
        text: help text.
        metavar: placeholder of the value, in the help.
        step: True if a sampler step of the same name does it; such a step is left out for the value None.
    """
    return field(default=default, metadata={"help": text, "metavar": metavar, "step": step})


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Sampling options; each field is one, `--top-k 40` or `top_k=40`. Steps act in the fields' order."""

    repetition_penalty: float | None = _option(None, "above 1, tokens that occurred before are less likely", step=True)
    temperature: float = _option(1.0, "1 is the model's own distribution, 0 the likeliest token", step=True)
    top_k: int | None = _option(None, "only the K likeliest tokens", step=True)
    top_p: float | None = _option(None, "only the likeliest tokens that make up P of the probability", step=True)
    min_p: float | None = _option(None, "only tokens at least P times as likely as the likeliest", step=True)
    sampler: Sequence[str] = _option((), "a further step, of a plugin; repeatable", "NAME[:X,Y]")
    guidance: float = _option(1.0, "above 1, heeds what is given more than the model would")
    best_of: int | None = _option(None, "make N and keep those that a judge finds best", "N")
    by: str = _option("fit", "which judge: fit, how well it fits what is given, or that of a plugin", "NAME")
    overlap: float = _option(0.5, "share of a full context that is kept when the window moves on")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options, those of subclasses excluded."""
        return tuple(option.name for option in fields(SamplingOptions))

    @classmethod
    def steps(cls) -> tuple[str, ...]:
        """Return the names of the options that are sampler steps, in their order."""
        return tuple(option.name for option in fields(SamplingOptions) if option.metadata["step"])
