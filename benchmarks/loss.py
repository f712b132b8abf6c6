"""Time and peak memory of cross-entropy over 50,257 words: logits made whole, and in parts as our training makes them.

python benchmarks/loss.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import torch
import torch.nn.functional as F
from machine import describe, seconds

from helicon.gpt.cross_entropy import Scored, summed_cross_entropy
from helicon.training.memory import keep_freed_memory

TOKENS, WIDTH, WORDS = 1280, 512, 50257
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


def main() -> None:
    """A fresh process a row, since peak memory never falls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--point", choices=["whole", "parts"], help=argparse.SUPPRESS)  # one row
    args = parser.parse_args()
    if args.point:
        keep_freed_memory()
        print(json.dumps(measure(args.point, args.repeats)))
        return
    print(f"{describe()}\n\n| loss of {TOKENS} positions over {WORDS} words, bf16 | ms | peak MB |\n|---|---:|---:|")
    for way in ("whole", "parts"):
        command = [sys.executable, __file__, "--point", way, f"--repeats={args.repeats}"]
        point = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {way} | {point['seconds'] * 1e3:.0f} | {point['bytes'] / 1e6:.0f} |", flush=True)


def measure(way: str, repeats: int) -> dict[str, float]:
    """Median seconds forward and backward, and peak memory beyond weights, hidden states and their gradients."""
    hidden, weight = torch.randn(TOKENS, WIDTH, requires_grad=True), torch.randn(WORDS, WIDTH, requires_grad=True)
    hidden.grad, weight.grad = torch.zeros_like(hidden), torch.zeros_like(weight)
    targets = torch.randint(WORDS, (TOKENS,))

    def run(positions: int = TOKENS) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            if way == "parts":
                loss = summed_cross_entropy(weight, [Scored(hidden[:positions], slice(WORDS), targets[:positions])])[0]
            else:
                logits = F.linear(hidden[:positions], weight).float()
                loss = F.cross_entropy(logits, targets[:positions], reduction="sum")
        loss.backward()

    run(1)  # what threads and libraries allocate once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = seconds(run, repeats)
    return {"seconds": taken, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_BYTES}


if __name__ == "__main__":
    main()
