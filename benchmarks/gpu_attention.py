"""Every way to attend on the card at hand, checked against the oracle and timed: for `gpu.py --attention`."""

from __future__ import annotations

import time
from functools import cache
from itertools import product
from typing import Protocol

import torch
from machine import seconds
from torch import Tensor
from tqdm import tqdm

from helicon.gpt.attention.attend import attend_dense
from helicon.gpt.attention.backends import BACKENDS, Attend
from helicon.gpt.attention.pattern_base import AttentionPattern
from helicon.gpt.attention.patterns import parse_pattern
from helicon.gpt.attention.selection import Timing, TimingKey, TimingTable
from helicon.gpt.attention.stride_patterns import DensePattern
from helicon.sequence.layout import PatternContext

HEADS, FEATURES = 16, 64
TOKENS_OF_A_BATCH = 65536
MAX_MASKED = 16384  # tokens beyond which a mask of all pairs is no way
CHECKED = 300  # tokens at which a way is compared with the oracle
FAR = {torch.float32: 0.005, torch.bfloat16: 0.03}  # from it, at most, as a share of the largest number

# Patterns of long sequences, and those of a picture of 32 codes a row after 256 tokens of text
PLAIN = ["local:128", "block:128", "previous:128", "column:128", "summary:128,8", "strided:128", "fixed:128,8"]
OF_A_GRID = ["row", "block", "column", "conv:11"]
PREFIX, ROW = 256, 32
LENGTHS = {torch.bfloat16: (1024, 4096, 16384, 65536), torch.float32: (1024, 4096)}
GRID_LENGTHS = (1280, 4352)
COMPILED = "strided:128"  # for which FlexAttention is checked where there is little time
QUICK_PATTERNS = [spec for spec in PLAIN if not spec.startswith("summary")]
QUICK_LENGTHS = (4096, 16384)
DRY_LENGTHS = (130, 260)


class Bench(Protocol):
    """Where, and until when, something is measured."""

    device: torch.device
    until: float


def measure_ways(dry: bool, measured_on: str) -> TimingTable:
    """A row for each pattern, number format and length; prints how many times faster than dense attention each is."""
    device, rows = torch.device("cpu" if dry else "cuda"), []
    cases = [
        (spec, PatternContext(), n, dtype) for dtype, lengths in LENGTHS.items() for spec in PLAIN for n in lengths
    ]
    cases += [
        (spec, PatternContext(PREFIX, ROW), n, dtype) for dtype in LENGTHS for spec in OF_A_GRID for n in GRID_LENGTHS
    ]
    if dry:
        cases = [
            ("strided:128", PatternContext(), 130, torch.float32),
            ("conv:11", PatternContext(PREFIX, ROW), 290, torch.bfloat16),
        ]
    for spec, frame, tokens, dtype in tqdm(cases, desc="attention", unit=" cases", disable=None):
        inputs = drawn(1 if dry else max(1, TOKENS_OF_A_BATCH // tokens), tokens, dtype, device)
        dense_ms = milliseconds(BACKENDS["disjoint"].attend, inputs, DensePattern(), 0, dry)
        ms = times(spec, frame, inputs, dry)
        rows.append(Timing(TimingKey.of(parse_pattern(spec).resolve(frame.row), frame.prefix, dtype), tokens, ms))
        told = ", ".join(f"{way} {dense_ms / ms[way]:.1f}x" for way in sorted(ms, key=ms.__getitem__))
        tqdm.write(f"{spec} after {frame.prefix}, {tokens:,} tokens, {rows[-1].key.dtype}: {told}")
    return TimingTable(measured_on, tuple(rows))


def check_ways(bench: Bench) -> None:
    """Every way against the oracle, for all patterns and two formats; FlexAttention, which is compiled, for one."""
    wrong = checked = 0
    print("| kernel | format | patterns right |\n|---|---|---|")
    for name, dtype in product(BACKENDS, LENGTHS):
        cases = [(spec, PatternContext()) for spec in PLAIN] + [
            (spec, PatternContext(PREFIX, ROW)) for spec in OF_A_GRID
        ]
        right = []
        for spec, frame in cases:
            q, resolved = drawn(1, CHECKED, dtype, bench.device)[0], parse_pattern(spec).resolve(frame.row)
            compiled = name == "flex" and (bench.device.type == "cpu" or spec != COMPILED)
            if not compiled and BACKENDS[name].supports(q, resolved, frame.prefix):
                right.append(is_the_oracle(name, spec, frame, dtype, bench.device))
        checked, wrong = checked + len(right), wrong + right.count(False)
        print(f"| {name} | {dtype} | {sum(right)} of {len(right)} |")
    print(f"\n{checked} checked, {wrong} WRONG" if wrong else f"\n{checked} checked, all right")
    if wrong:
        raise ArithmeticError(f"{wrong} of {checked} are not the oracle's")


def measure_quickly(bench: Bench) -> None:
    """Six patterns at two lengths in bfloat16, each by the fastest way but FlexAttention, against dense attention."""
    dry = bench.device.type == "cpu"
    print("| pattern | tokens | x dense | way | ms |\n|---|---:|---:|---|---:|")
    for length, spec in product(DRY_LENGTHS if dry else QUICK_LENGTHS, QUICK_PATTERNS):
        if time.monotonic() > bench.until:
            print("| no time left | | | | |")
            return
        inputs = drawn(1 if dry else TOKENS_OF_A_BATCH // length, length, torch.bfloat16, bench.device)
        dense_ms = milliseconds(BACKENDS["disjoint"].attend, inputs, DensePattern(), 0, dry)
        ms = times(spec, PatternContext(), inputs, dry, without="flex")
        way = min(ms, key=ms.__getitem__)
        print(f"| {spec} | {length:,} | {dense_ms / ms[way]:.1f} | {way} | {ms[way]:.2f} |")


def times(
    spec: str, frame: PatternContext, inputs: tuple[Tensor, ...], dry: bool, without: str = ""
) -> dict[str, float]:
    """Milliseconds of each way, but one, that takes the case, has memory for it, and gives what the oracle gives."""
    resolved, found, q = parse_pattern(spec).resolve(frame.row), {}, inputs[0]
    for name, way in BACKENDS.items():
        takes = way.supports(q, resolved, frame.prefix) and (name != "masked" or q.shape[2] <= MAX_MASKED)
        if not takes or name == without or (name == "flex" and not q.is_cuda):  # a CPU has no backward of it
            continue
        try:
            if is_the_oracle(name, spec, frame, q.dtype, q.device):
                found[name] = milliseconds(way.attend, inputs, resolved, frame.prefix, dry)
            else:
                tqdm.write(f"{name} is WRONG for {spec} after {frame.prefix} in {q.dtype}: left out")
        except torch.OutOfMemoryError:
            tqdm.write(f"{name} has no memory for {spec}, {q.shape[2]:,} tokens")
    return found


@cache
def is_the_oracle(name: str, spec: str, frame: PatternContext, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a way's output and gradients are the oracle's in float32, at a short ragged length."""
    tokens, pattern = CHECKED + frame.prefix, parse_pattern(spec)
    inputs, resolved = drawn(1, tokens, dtype, device), pattern.resolve(frame.row)
    wide = tuple(x.detach().float().requires_grad_() for x in inputs)
    oracle = step(lambda q, k, v, *_: attend_dense(q, k, v, pattern, frame), wide, resolved, frame.prefix)
    got = step(BACKENDS[name].attend, inputs, resolved, frame.prefix)
    return all(bool((a.float() - b).abs().amax() < FAR[dtype] * b.abs().amax()) for a, b in zip(got, oracle))


def milliseconds(
    attend: Attend, inputs: tuple[Tensor, ...], pattern: AttentionPattern, prefix: int, dry: bool
) -> float:
    """Median of forward and backward."""
    return 1e3 * seconds(lambda: step(attend, inputs, pattern, prefix), 2 if dry else 7, 1 if dry else 3)


def drawn(batch: int, tokens: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """q, k, v and a gradient, [B, H, T, D], laid out as a linear layer leaves them."""
    shape = (4, batch, tokens, HEADS, FEATURES)
    q, k, v, grad = torch.randn(shape, device=device).to(dtype).transpose(2, 3)
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), grad


def step(attend: Attend, inputs: tuple[Tensor, ...], pattern: AttentionPattern, prefix: int) -> tuple[Tensor, ...]:
    """Output and gradients, waited for."""
    q, k, v, grad = inputs
    out = attend(q, k, v, pattern, prefix)
    grads = torch.autograd.grad(out, (q, k, v), grad)
    if out.is_cuda:
        torch.cuda.synchronize()
    return out, *grads
