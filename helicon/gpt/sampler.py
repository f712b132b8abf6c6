"""Sampling methods as small frozen objects, and the draw that turns logits and one uniform number into a token.

Shapes: B batch, V tokens of the slot at hand, `eos` included, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from helicon.formats.printable import MOST, printable
from helicon.plugins.registry import Registry
from helicon.sampling import SamplingOptions

FORBIDDEN = float("-inf")


class LogitsProcessor(Protocol):
    """Logits to logits; a chain of methods shapes the distribution that is drawn from."""

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        """Changed logits; `seen_BV` is true for tokens that occurred in the slot so far."""
        ...


Step = TypeVar("Step", bound=Callable[..., LogitsProcessor])

STEPS: Registry[Callable[..., LogitsProcessor]] = Registry("sampler step")


def register_sampler_step(name: str) -> Callable[[Step], Step]:
    """Decorates what makes a method of sampling, `--sampler NAME` or `--sampler NAME:0.9,2`.

    Args:
        name: of the step.

    Returns:
        A decorator of a class, or of a function: with the numbers that are typed it gives a Method.

    Raises:
        PluginError: for the name of another one.
    """

    def add(make: Step) -> Step:
        STEPS.register(name, make)
        return make

    return add


@register_sampler_step("repetition_penalty")
@dataclass(frozen=True)
class RepetitionPenalty:
    """Divides positive logits of tokens seen before by `factor`, multiplies negative ones (arXiv:1909.05858, 4.1)."""

    factor: float

    def __post_init__(self) -> None:
        _require(0 < self.factor < math.inf, "repetition_penalty", self.factor, "above 0 (1 changes nothing)")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        changed = torch.where(logits_BV > 0, logits_BV / self.factor, logits_BV * self.factor)
        return torch.where(seen_BV, changed, logits_BV)


@register_sampler_step("temperature")
@dataclass(frozen=True)
class Temperature:
    """Divides the logits; 0 leaves only the most likely token (greedy)."""

    value: float

    def __post_init__(self) -> None:
        _require(0 <= self.value < math.inf, "temperature", self.value, "0 or more")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        if self.value == 0:
            best = logits_BV.argmax(-1, keepdim=True)
            return torch.full_like(logits_BV, FORBIDDEN).scatter(-1, best, 0.0)
        if self.value == 1:
            return logits_BV
        # The largest is 0 before and after, so no temperature, however small, makes infinities or NaN of it
        return (logits_BV - logits_BV.amax(-1, keepdim=True)) / self.value


@register_sampler_step("top_k")
@dataclass(frozen=True)
class TopK:
    """Keeps the k most likely tokens, and any tied with the last of them."""

    k: int

    def __post_init__(self) -> None:
        _require(self.k >= 1, "top_k", self.k, "1 or more")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        least = logits_BV.topk(min(self.k, logits_BV.shape[-1])).values[..., -1:]
        return logits_BV.masked_fill(logits_BV < least, FORBIDDEN)


@register_sampler_step("top_p")
@dataclass(frozen=True)
class TopP:
    """Keeps the smallest set of most likely tokens whose probabilities sum to at least p (arXiv:1904.09751)."""

    p: float

    def __post_init__(self) -> None:
        _require(0 < self.p <= 1, "top_p", self.p, "above 0 and at most 1")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        ordered, order = logits_BV.sort(descending=True, stable=True)
        probability = ordered.softmax(-1)
        late = probability.cumsum(-1) - probability >= self.p
        return ordered.masked_fill(late, FORBIDDEN).gather(-1, order.argsort(-1))


@register_sampler_step("min_p")
@dataclass(frozen=True)
class MinP:
    """Keeps tokens at least `p` times as likely as the most likely one (arXiv:2407.01082)."""

    p: float

    def __post_init__(self) -> None:
        _require(0 <= self.p <= 1, "min_p", self.p, "between 0 and 1")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        probability = logits_BV.softmax(-1)
        return logits_BV.masked_fill(probability < self.p * probability.amax(-1, keepdim=True), FORBIDDEN)


@dataclass(frozen=True)
class CheckedProcessor:
    """A step of somebody's own, whose logits are looked at; on a GPU that is waited for. name: in STEPS."""

    step: LogitsProcessor
    name: str

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        with STEPS.running(self.name):
            found = self.step(logits_BV, seen_BV)
        if not isinstance(found, Tensor) or found.shape != logits_BV.shape or not found.is_floating_point():
            given = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise STEPS.fault(self.name, f"logits {given}, {logits_BV.dtype} {list(logits_BV.shape)} are needed")
        most_B = found.amax(-1)  # NaN where one is
        if not most_B.isfinite().all():
            raise STEPS.fault(self.name, "logits that are NaN or infinite, or that leave no token")
        return found


def methods(options: SamplingOptions) -> tuple[LogitsProcessor, ...]:
    """The chain that is asked for: Helicon's own steps, then the others. ValueError names a wrong value."""
    values = {name: getattr(options, name) for name in SamplingOptions.steps()}
    own = [STEPS.get(name)(value) for name, value in values.items() if value is not None]
    return (*own, *map(_parsed, options.sampler))


def _parsed(text: str) -> LogitsProcessor:
    """The step that `NAME` or `NAME:0.9,2` says."""
    name, colon, numbers = text.partition(":")
    make = STEPS.get(name)
    try:
        values = [float(number) for number in (numbers.split(",") if colon else ())]
        with STEPS.running(name):
            made = make(*values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"--sampler {printable(text, 80)}: {printable(error, MOST)}") from error
    if not callable(made):
        raise STEPS.fault(name, f"it makes {type(made).__name__}; a method of logits and seen tokens is needed")
    return CheckedProcessor(made, name)


def draw(
    logits_BV: Tensor, allowed_BV: Tensor | None, seen_BV: Tensor, uniform_B: Tensor, chain: Sequence[LogitsProcessor]
) -> Tensor:
    """Tokens [B] by inverse CDF: the first whose cumulative probability exceeds the row's uniform number.

    Forbidden tokens have no probability whatever the methods do. The sum runs in float64, so that rounding cannot
    choose a token that has none.
    """
    logits = logits_BV.double()
    if allowed_BV is not None:
        logits = logits.masked_fill(~allowed_BV, FORBIDDEN)
    for method in chain:
        logits = method(logits, seen_BV)
    cdf = logits.softmax(-1).cumsum(-1)
    # Below the whole sum also when rounding up would reach it: the last step of the CDF belongs to a possible token
    threshold = (uniform_B.double()[:, None] * cdf[:, -1:]).minimum(
        cdf[:, -1:].nextafter(torch.zeros_like(cdf[:, -1:]))
    )
    # NaN is above no number: a token all the same, for a GPU that is not waited for at each step
    return torch.searchsorted(cdf, threshold, right=True).squeeze(-1).clamp(max=cdf.shape[-1] - 1)


class PerItemRNG:
    """Uniform numbers of an item: its own CPU generator, seeded by (seed, item); step t draws with the t-th of them."""

    CHUNK = 1024

    def __init__(self, seed: int, item: int) -> None:
        self._generator = torch.Generator().manual_seed(_mix(seed, item))

    def chunk(self) -> Tensor:
        """The next CHUNK numbers: float64 in [0, 1), on the CPU."""
        return torch.rand(self.CHUNK, generator=self._generator, dtype=torch.float64)


def _mix(seed: int, item: int) -> int:
    """A 63-bit seed; splitmix64's finaliser, so that neighbouring items share nothing."""
    mask = (1 << 64) - 1
    x = (seed * 0x9E3779B97F4A7C15 + (item + 1) * 0xD1B54A32D192ED03) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return (x ^ (x >> 31)) >> 1


def _require(holds: bool, name: str, value: float, accepted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {accepted}, got {value}")
