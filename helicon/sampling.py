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

    repetition_penalty: float | None = _option(
        None, "above 1, tokens that occurred before become less likely (default: none)", "X", step=True
    )
    temperature: float = _option(1.0, "below 1 sharpens the distribution, 0 is greedy (default: 1)", "X", step=True)
    top_k: int | None = _option(None, "only the K most probable tokens (default: all)", "K", step=True)
    top_p: float | None = _option(
        None, "only the most probable tokens, of total probability P (default: all)", "P", step=True
    )
    min_p: float | None = _option(
        None, "only tokens of at least P times the highest probability (default: all)", "P", step=True
    )
    sampler: Sequence[str] = _option((), "additional step of a plugin; repeatable", "NAME[:X,Y]")
    guidance: float = _option(
        1.0, "scale of classifier-free guidance: above 1, conditions count more (default: 1)", "X"
    )
    best_of: int | None = _option(None, "sample N candidates of each item, and keep the best (default: 1)", "N")
    by: str = _option(
        "fit", "judge of candidates: fit, how well one fits its conditions, or a plugin's (default: fit)", "NAME"
    )
    overlap: float = _option(0.5, "share of the context kept when the window moves on (default: 0.5)", "X")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all options, such as `top_k`, those of subclasses excluded."""
        return tuple(option.name for option in fields(SamplingOptions))

    @classmethod
    def steps(cls) -> tuple[str, ...]:
        """Return the names of the options that are sampler steps, such as `top_k`, in their order."""
        return tuple(option.name for option in fields(SamplingOptions) if option.metadata["step"])
