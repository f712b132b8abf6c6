"""How items are drawn: each option stated once, for the command line, the library and what is on record of an item.

A new one is a field here and, where it acts on logits, a sampler step of the same name in gpt/sampler.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any


def _option(default: Any, told: str, metavar: str | None = None, step: bool = False) -> Any:
    """A field of an option.

    Args:
        default: its value unless given.
        told: its help.
        metavar: of a value, in the help.
        step: whether a sampler step of the same name does it; None leaves that out.
    """
    return field(default=default, metadata={"help": told, "metavar": metavar, "step": step})


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How items are drawn; each field is an option, `--top-k 40` or `top_k=40`. Steps act in the fields' order."""

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
        """Of all options, those of a subclass left out."""
        return tuple(each.name for each in fields(SamplingOptions))

    @classmethod
    def steps(cls) -> tuple[str, ...]:
        """Of those that a sampler step does, in their order."""
        return tuple(each.name for each in fields(SamplingOptions) if each.metadata["step"])
