"""Sampling: logits processors as small frozen objects, and inverse-CDF sampling from one uniform number per token.

Shapes: B batch, V tokens of the current slot, `eos` included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from helicon.formats.kinds import kind_of
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.plugins.registry import Registry
from helicon.sampling import SamplingOptions

FORBIDDEN = float("-inf")  # logit of a token that has no probability


class LogitsProcessor(Protocol):
    """Map from logits to logits; a chain of processors shapes the distribution that is sampled."""

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        """Return changed logits.

        Args:
            logits_BV: floats of the slot's V tokens; -inf for tokens that earlier processors or the grammar forbid.
            seen_BV: bool, True for tokens that occurred in the slot so far.

        Returns:
            Logits of the same shape, not all -inf in a row.
        """
        ...


Step = TypeVar("Step", bound=Callable[..., LogitsProcessor])

# By name after `--sampler`: makers of a processor from the numbers that follow the name
STEPS: Registry[Callable[..., LogitsProcessor]] = Registry("sampler step")


def register_sampler_step(name: str) -> Callable[[Step], Step]:
    """Decorate a class or function as a sampler step, used by `--sampler NAME` or `--sampler NAME:0.9,2`.

    Args:
        name: of the step, as typed after `--sampler`.

    Returns:
        A decorator of a class or function that makes a LogitsProcessor from the typed numbers, which are floats. It
        returns that class or function.

    Raises:
        PluginError: another step has the name.
    """

    def add(make: Step) -> Step:
        STEPS.register(name, make)
        return make

    return add


@register_sampler_step("repetition_penalty")
@dataclass(frozen=True)
class RepetitionPenalty:
    """Repetition penalty: positive logits of seen tokens / factor, negative ones x factor (arXiv:1909.05858, 4.1)."""

    factor: float

    def __post_init__(self) -> None:
        _require(0 < self.factor < math.inf, "repetition_penalty", self.factor, "above 0 (1 changes nothing)")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        changed = torch.where(logits_BV > 0, logits_BV / self.factor, logits_BV * self.factor)
        return torch.where(seen_BV, changed, logits_BV)


@register_sampler_step("temperature")
@dataclass(frozen=True)
class Temperature:
    """Temperature, which divides the logits; 0 leaves only the most likely token (greedy)."""

    value: float

    def __post_init__(self) -> None:
        _require(0 <= self.value < math.inf, "temperature", self.value, "0 or more")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        if self.value == 0:
            best = logits_BV.argmax(-1, keepdim=True)
            return torch.full_like(logits_BV, FORBIDDEN).scatter(-1, best, 0.0)
        if self.value == 1:
            return logits_BV
        # Shifted to a largest logit of 0, so that a tiny temperature cannot overflow to infinity or NaN
        return (logits_BV - logits_BV.amax(-1, keepdim=True)) / self.value


@register_sampler_step("top_k")
@dataclass(frozen=True)
class TopK:
    """Top-k filter: keeps the k most likely tokens, and any tied with the last of them."""

    k: int

    def __post_init__(self) -> None:
        _require(self.k >= 1, "top_k", self.k, "1 or more")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        threshold = logits_BV.topk(min(self.k, logits_BV.shape[-1])).values[..., -1:]
        return logits_BV.masked_fill(logits_BV < threshold, FORBIDDEN)


@register_sampler_step("top_p")
@dataclass(frozen=True)
class TopP:
    """Nucleus filter: keeps the smallest set of most likely tokens with at least probability p (arXiv:1904.09751)."""

    p: float

    def __post_init__(self) -> None:
        _require(0 < self.p <= 1, "top_p", self.p, "above 0 and at most 1")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        ordered, order = logits_BV.sort(descending=True, stable=True)
        probability = ordered.softmax(-1)
        outside = probability.cumsum(-1) - probability >= self.p  # reached p before this token
        return ordered.masked_fill(outside, FORBIDDEN).gather(-1, order.argsort(-1))


@register_sampler_step("min_p")
@dataclass(frozen=True)
class MinP:
    """Min-p filter: keeps tokens at least `p` times as likely as the most likely one (arXiv:2407.01082)."""

    p: float

    def __post_init__(self) -> None:
        _require(0 <= self.p <= 1, "min_p", self.p, "between 0 and 1")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        probability = logits_BV.softmax(-1)
        return logits_BV.masked_fill(probability < self.p * probability.amax(-1, keepdim=True), FORBIDDEN)


@dataclass(frozen=True)
class CheckedProcessor:
    """A plugin's step with its output checked, which synchronises with a GPU.

    Attributes:
        step: the plugin's processor.
        name: its name in STEPS, for messages.
    """

    step: LogitsProcessor
    name: str

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        with STEPS.running(self.name):
            output = self.step(logits_BV, seen_BV)
        if not isinstance(output, Tensor) or output.shape != logits_BV.shape or not output.is_floating_point():
            raise STEPS.fault(self.name, f"logits {kind_of(output)}, {kind_of(logits_BV)} are needed")
        largest_B = output.amax(-1)  # NaN if any is NaN
        if not largest_B.isfinite().all():
            raise STEPS.fault(self.name, "logits that are NaN or infinite, or that leave no token")
        return output


def logits_processors(options: SamplingOptions) -> tuple[LogitsProcessor, ...]:
    """Make the `LogitsProcessor`s of `SamplingOptions`, in the order in which they are applied.

    Helicon's own come first, then `--sampler` steps. ValueError names a wrong value.
    """
    values = {name: getattr(options, name) for name in SamplingOptions.steps()}
    built_in = [STEPS.get(name)(value) for name, value in values.items() if value is not None]
    return (*built_in, *map(_parsed, options.sampler))


def _parsed(text: str) -> LogitsProcessor:
    """Make the step of a text `NAME` or `NAME:0.9,2`."""
    name, colon, numbers = text.partition(":")
    make = STEPS.get(name)
    try:
        values = [float(number) for number in (numbers.split(",") if colon else ())]
        with STEPS.running(name):
            step = make(*values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"--sampler {printable(text, 80)}: {printable(error, MAX_QUOTED)}") from error
    if not callable(step):
        raise STEPS.fault(name, f"it makes {type(step).__name__}; a method of logits and seen tokens is needed")
    return CheckedProcessor(step, name)


def sample(
    logits_BV: Tensor, allowed_BV: Tensor | None, seen_BV: Tensor, uniform_B: Tensor, chain: Sequence[LogitsProcessor]
) -> Tensor:
    """Sample tokens by inverse CDF: the first token whose cumulative probability exceeds the uniform number.

    Args:
        logits_BV: logits of the V tokens of the slot, of any float dtype.
        allowed_BV: bool, True for tokens that the grammar allows; None allows all.
        seen_BV: bool, True for tokens that occurred in the slot so far.
        uniform_B: uniform numbers in [0, 1), one per row.
        chain: `LogitsProcessor`s, applied in order after the grammar.

    Returns:
        Indices [B] into the V tokens, int64. Computed in float64, so that rounding cannot choose a token of
        probability 0.
    """
    logits = logits_BV.double()
    if allowed_BV is not None:
        logits = logits.masked_fill(~allowed_BV, FORBIDDEN)
    for processor in chain:
        logits = processor(logits, seen_BV)
    cdf = logits.softmax(-1).cumsum(-1)
    # Below the total also if the product rounds up to it: the last increase of the CDF is at a possible token
    threshold = (uniform_B.double()[:, None] * cdf[:, -1:]).minimum(
        cdf[:, -1:].nextafter(torch.zeros_like(cdf[:, -1:]))
    )
    # With NaN the search ends past the last token. Clamped instead of checked, which would synchronise at each step
    return torch.searchsorted(cdf, threshold, right=True).squeeze(-1).clamp(max=cdf.shape[-1] - 1)


class PerItemRNG:
    """Uniform numbers of one item, seeded by (seed, item); step t of its sampling uses the t-th number.

    On the CPU whatever the device, so that an item does not depend on the device or on other items of its batch.

    Args:
        seed: of the request, an integer.
        item: index of the item in the request.
    """

    CHUNK = 1024  # numbers drawn at a time, which spares calls and copies to a GPU

    def __init__(self, seed: int, item: int) -> None:
        self._generator = torch.Generator().manual_seed(_mix(seed, item))

    def chunk(self) -> Tensor:
        """Draw the next numbers: float64 [CHUNK] in [0, 1), on the CPU."""
        return torch.rand(self.CHUNK, generator=self._generator, dtype=torch.float64)


def _mix(seed: int, item: int) -> int:
    """Hash to a 63-bit seed by splitmix64's finaliser, so that neighbouring items are uncorrelated."""
    mask = (1 << 64) - 1
    x = (seed * 0x9E3779B97F4A7C15 + (item + 1) * 0xD1B54A32D192ED03) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return (x ^ (x >> 31)) >> 1


def _require(holds: bool, name: str, value: float, accepted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {accepted}, got {value}")
