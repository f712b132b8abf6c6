"""What decoding loses beside other programs: the same tokens on a quiet machine, then beside busy loops.

python benchmarks/busy.py [--format int8] [--loops 2] [--tokens 900] [--no-compiler]

The machine is to be quiet but for this. Start-up is not counted. Threads wait for each other as those of `helicon` do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from decoding import FORMATS, World
from machine import describe

from helicon.cli.dispatch import SPIN_COUNT
from helicon.gpt.numbers import cast
from helicon.gpt.stepping import DecodeBackend

LOOP = "while True: pass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, default="int8")
    parser.add_argument("--loops", type=int, default=os.cpu_count() or 1, help="busy ones, one a core")
    parser.add_argument("--tokens", type=int, default=900)
    parser.add_argument("--no-compiler", action="store_true", help="PyTorch's own step")
    parser.add_argument("--dry", action="store_true", help="a tiny model, to see that it runs")
    args = parser.parse_args()
    if "GOMP_SPINCOUNT" not in os.environ:  # read when PyTorch is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GOMP_SPINCOUNT": SPIN_COUNT})
    side, text, layers, width = (4, 4, 2, 64) if args.dry else (32, 256, 8, 512)
    tokens, engine = min(args.tokens, side * side), "eager" if args.no_compiler else "auto"
    world = World("dense", side, text, layers, width)
    cast(world.gpt, args.format)
    seconds(world, min(tokens, 16), engine)  # what is compiled and allocated once
    print(describe())
    quiet = seconds(world, tokens, engine)
    print(f"quiet                  {quiet:6.1f} s, {tokens / quiet:5.0f} tokens a second", flush=True)
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(args.loops)]
    try:
        time.sleep(1)
        busy = seconds(world, tokens, engine)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    print(f"beside {args.loops} busy loops    {busy:6.1f} s, {tokens / busy:5.0f} tokens a second")
    print(f"ratio                  {busy / quiet:6.2f}")


def seconds(world: World, tokens: int, backend: DecodeBackend) -> float:
    """Of so many tokens."""
    began = time.perf_counter()
    world.run(world.gpt, tokens, backend=backend)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
