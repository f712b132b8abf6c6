"""The products of a GPT's step in float32 on a CPU: by PyTorch's linear, and by ours (helicon/gpt/linear.py).

python benchmarks/products.py [--repeats 15]

So many weights in turns that none of them is in the processor's cache, as in a step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from machine import describe, side_by_side
from torch import Tensor

from helicon.gpt.linear import linear

SHAPES = ((1536, 512), (512, 2048), (2048, 512), (8192, 512))  # outputs, inputs
ROWS = (1, 9, 256)
BYTES = 60e6  # of all weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    print(
        f"{describe()}\n\n| outputs x inputs | rows | ours are | PyTorch's, us | ours, us |\n|---|---:|---:|---:|---:|"
    )
    for outputs, inputs in SHAPES:
        weights = [torch.randn(outputs, inputs) for _ in range(round(BYTES / (4 * outputs * inputs)))]
        for rows in ROWS:
            x = torch.randn(rows, inputs)
            runs = {"PyTorch": products(F.linear, x, weights), "ours": products(linear, x, weights)}
            theirs, ours = (seconds / len(weights) for seconds in side_by_side(runs, args.repeats).values())
            print(f"| {outputs} x {inputs} | {rows} | {theirs / ours:.2f}x | {1e6 * theirs:.0f} | {1e6 * ours:.0f} |")


def products(product: Callable[[Tensor, Tensor], Tensor], x: Tensor, weights: list[Tensor]) -> Callable[[], object]:
    """One after another."""

    @torch.inference_mode()
    def run() -> None:
        for weight in weights:
            product(x, weight)

    return run


if __name__ == "__main__":
    main()
