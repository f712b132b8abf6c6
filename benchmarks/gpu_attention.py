"""Every way to attend on the card at hand, checked against the oracle and timed: for `gpu.py --attention`."""

from __future__ import annotations

from functools import cache

import torch
from machine import seconds
from torch import Tensor
from tqdm import tqdm

from helicon.gpt.attention import attend_dense
from helicon.gpt.choices import Key, Row, Table
from helicon.gpt.pattern_base import AttentionPattern
from helicon.gpt.patterns import parse_pattern
from helicon.gpt.stride_patterns import Dense
from helicon.gpt.ways import WAYS, Attend
from helicon.sequence.layout import Frame

HEADS, FEATURES = 16, 64
TOKENS_OF_A_BATCH = 65536
MOST_MASKED = 16384  # tokens beyond which a mask of all pairs is no way
CHECKED = 300  # tokens at which a way is compared with the oracle
FAR = {torch.float32: 0.005, torch.bfloat16: 0.03}  # from it, at most, as a share of the largest number

# Patterns of long sequences, and those of a picture of 32 codes a row after 256 tokens of text
PLAIN = ["local:128", "block:128", "previous:128", "column:128", "summary:128,8", "strided:128", "fixed:128,8"]
OF_A_GRID = ["row", "block", "column", "conv:11"]
PREFIX, ROW = 256, 32
LENGTHS = {torch.bfloat16: (1024, 4096, 16384, 65536), torch.float32: (1024, 4096)}
GRID_LENGTHS = (1280, 4352)


def measure_ways(dry: bool, measured_on: str) -> Table:
    """A row for each pattern, number format and length; prints how many times faster than dense attention each is."""
    device, rows = torch.device("cpu" if dry else "cuda"), []
    cases = [(spec, Frame(), n, dtype) for dtype, lengths in LENGTHS.items() for spec in PLAIN for n in lengths]
    cases += [(spec, Frame(PREFIX, ROW), n, dtype) for dtype in LENGTHS for spec in OF_A_GRID for n in GRID_LENGTHS]
    if dry:
        cases = [("strided:128", Frame(), 130, torch.float32), ("conv:11", Frame(PREFIX, ROW), 290, torch.bfloat16)]
    for spec, frame, tokens, dtype in tqdm(cases, desc="attention", unit=" cases", disable=None):
        inputs = drawn(1 if dry else max(1, TOKENS_OF_A_BATCH // tokens), tokens, dtype, device)
        dense_ms = milliseconds(WAYS["apart"].attend, inputs, Dense(), 0, dry)
        ms = times(spec, frame, inputs, dry)
        rows.append(Row(Key.of(parse_pattern(spec).bound(frame.row), frame.prefix, dtype), tokens, ms))
        told = ", ".join(f"{way} {dense_ms / ms[way]:.1f}x" for way in sorted(ms, key=ms.__getitem__))
        tqdm.write(f"{spec} after {frame.prefix}, {tokens:,} tokens, {rows[-1].key.dtype}: {told}")
    return Table(measured_on, tuple(rows))


def times(spec: str, frame: Frame, inputs: tuple[Tensor, ...], dry: bool) -> dict[str, float]:
    """Milliseconds of each way that takes the case, has memory for it, and gives what the oracle gives."""
    bound, found, q = parse_pattern(spec).bound(frame.row), {}, inputs[0]
    for name, way in WAYS.items():
        takes = way.takes(q, bound, frame.prefix) and (name != "masked" or q.shape[2] <= MOST_MASKED)
        if not takes or (name == "flex" and not q.is_cuda):  # a CPU has no backward of it
            continue
        try:
            if is_the_oracle(name, spec, frame, q.dtype, q.device):
                found[name] = milliseconds(way.attend, inputs, bound, frame.prefix, dry)
            else:
                tqdm.write(f"{name} is WRONG for {spec} after {frame.prefix} in {q.dtype}: left out")
        except torch.OutOfMemoryError:
            tqdm.write(f"{name} has no memory for {spec}, {q.shape[2]:,} tokens")
    return found


@cache
def is_the_oracle(name: str, spec: str, frame: Frame, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a way's output and gradients are the oracle's in float32, at a short ragged length."""
    tokens, pattern = CHECKED + frame.prefix, parse_pattern(spec)
    inputs, bound = drawn(1, tokens, dtype, device), pattern.bound(frame.row)
    wide = tuple(x.detach().float().requires_grad_() for x in inputs)
    oracle = step(lambda q, k, v, *_: attend_dense(q, k, v, pattern, frame), wide, bound, frame.prefix)
    got = step(WAYS[name].attend, inputs, bound, frame.prefix)
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
