"""Sparse attention against dense: forward + backward in one process, 8 heads x 64, medians after a warm-up.

python benchmarks/attention.py                             # every pattern against dense causal SDPA, 2 to 4 minutes
python benchmarks/attention.py --bf16                      # in bfloat16 instead of float32
python benchmarks/attention.py --length 4096 --prefix 4
python benchmarks/attention.py --scaling                   # time and peak memory of `strided`, 2k to 16k tokens
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from machine import describe
from torch import Tensor

from helicon.gpt.attention.attend import attend
from helicon.gpt.attention.patterns import parse_pattern
from helicon.sequence.layout import PatternContext

HEADS, FEATURES = 8, 64
SCALING_LENGTHS = (2048, 4096, 8192, 16384)
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=16384, help="tokens")
    parser.add_argument("--block", type=int, default=128, help="L of every pattern")
    parser.add_argument("--summary", type=int, default=8, help="C of summary and fixed")
    parser.add_argument("--prefix", type=int, default=0, help="tokens before the slot")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="in bfloat16")
    parser.add_argument("--scaling", action="store_true", help="how time and memory of `strided` grow")
    parser.add_argument("--point", action="store_true", help=argparse.SUPPRESS)  # one length of --scaling
    args = parser.parse_args()
    if args.point:
        print(json.dumps(measure_point(args)))
        return
    print(f"{describe()}\n{'bf16' if args.bf16 else 'fp32'}, L = {args.block}, prefix {args.prefix}\n")
    (print_scaling if args.scaling else print_ratios)(args)


def print_ratios(args: argparse.Namespace) -> None:
    """One row a pattern: how many times faster than dense, then the medians behind the ratio."""
    names = ["local:L", "block:L", "previous:L", "column:L", "summary:L,C", "strided:L", "fixed:L,C", "conv:11,L"]
    specs = [name.replace("L", str(args.block)).replace("C", str(args.summary)) for name in names]
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    steps = [training_step(dense, args.length, dtype)]
    steps += [training_step(sparse(spec, args.prefix), args.length, dtype) for spec in specs]
    dense_s, *sparse_s = medians_s(steps, args.repeats)
    print(f"| pattern, {args.length} tokens | x dense | ms |\n|---|---:|---:|\n| dense | 1.0 | {dense_s * 1e3:.0f} |")
    for spec, seconds in zip(specs, sparse_s, strict=True):
        print(f"| {spec} | {dense_s / seconds:.1f} | {seconds * 1e3:.0f} |")


def print_scaling(args: argparse.Namespace) -> None:
    """A fresh process a length, since peak memory never falls; slopes fitted on log-log axes."""
    points = []
    print("| strided, tokens | ms | peak MB |\n|---:|---:|---:|")
    for length in SCALING_LENGTHS:
        forwarded = [f"--{name}={getattr(args, name)}" for name in ("block", "prefix", "repeats")]
        command = [sys.executable, __file__, "--point", f"--length={length}", *forwarded]
        point = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        points.append(point)
        print(f"| {length} | {point['seconds'] * 1e3:.0f} | {point['bytes'] / 1e6:.0f} |", flush=True)
    for name in ("seconds", "bytes"):
        slope = log_log_slope(SCALING_LENGTHS, [point[name] for point in points])
        print(f"\nlog-log slope of {name}: {slope:.2f}")


def measure_point(args: argparse.Namespace) -> dict[str, float]:
    """Median seconds, and bytes of peak memory above what the process held before (inputs and gradients included)."""
    attention = sparse(f"strided:{args.block}", args.prefix)
    training_step(attention, 2 * args.block)()  # what threads and libraries allocate once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (seconds,) = medians_s([training_step(attention, args.length)], args.repeats)
    return {"seconds": seconds, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_BYTES}


Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def sparse(spec: str, prefix: int) -> Attention:
    pattern = parse_pattern(spec)
    return lambda q, k, v: attend(q, k, v, pattern, PatternContext(prefix))


def training_step(attention: Attention, length: int, dtype: torch.dtype = torch.float32) -> Callable[[], object]:
    """Forward and backward on fixed inputs laid out as a linear layer leaves them: [1, T, H, D], heads transposed."""
    drawn = (torch.randn(1, length, HEADS, FEATURES).to(dtype).transpose(1, 2) for _ in range(4))
    q, k, v, grad = (x.requires_grad_(number < 3) for number, x in enumerate(drawn))
    return lambda: torch.autograd.grad(attention(q, k, v), (q, k, v), grad)


def medians_s(steps: list[Callable[[], object]], repeats: int) -> list[float]:
    """Median wall time of each, a warm-up aside; taken in turns, so that a busy spell of the machine hits all alike."""
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats + 1):
        for step, spent in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            spent.append(time.perf_counter() - start)
    return [statistics.median(spent[1:]) for spent in times]


def log_log_slope(lengths: tuple[int, ...], values: list[float]) -> float:
    """Least squares: the exponent p of value ~ length ** p."""
    slope, _ = statistics.linear_regression([math.log(x) for x in lengths], [math.log(y) for y in values])
    return slope


if __name__ == "__main__":
    main()
