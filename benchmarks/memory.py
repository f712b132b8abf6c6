"""Peak memory and time of a training step by context length, pattern, number format and activation checkpointing.

python benchmarks/memory.py                              # up to 8,192 tokens, about 9 minutes on 2 cores
python benchmarks/memory.py --lengths 16384              # another 10: dense attention over 16,384 tokens is slow
python benchmarks/memory.py --device cuda --lengths 1024 4096 16384 65536

One sequence of bytes through 8 layers x 512: forward, backward, no optimizer. Each figure is of a fresh process: the
highest resident size less that after the imports, weights (102 MB) and their gradients included; on a GPU what PyTorch
had allocated at most. `checkpointing` is `--model.activation_checkpointing true`: of each layer only the input is kept,
and the layer is computed again in the backward pass (Chen et al., arXiv:1604.06174; Sparse Transformer,
arXiv:1904.10509, section 5.4).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import product

import numpy as np
import torch
from machine import describe

from helicon.bundle.bundle import make_gpt
from helicon.data.collate import collate
from helicon.gpt.config import GPTConfig
from helicon.objectives.next_token import slot_nats
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer
from helicon.training.memory import keep_freed_memory, return_freed_memory

PATTERNS = ("dense", "strided:128", "block:128,column:128")
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


def main() -> None:
    """Prints a table: a row a length and pattern, a column a number format with and without recomputation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="tokens")
    parser.add_argument("--patterns", nargs="+", default=list(PATTERNS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--point", help=argparse.SUPPRESS)  # one figure: LENGTH PATTERN FORMAT RECOMPUTE
    args = parser.parse_args()
    if args.point:
        length, pattern, numbers, checkpointing = args.point.split()
        print(json.dumps(measure(int(length), pattern, numbers == "bf16", checkpointing == "yes", args.device)))
        return
    kinds = list(product(("fp32", "bf16"), ("no", "yes")))
    print(
        f"{describe()}\n\n| tokens | pattern | "
        + " | ".join(f"{n}{', checkpointing' * (r == 'yes')}" for n, r in kinds)
    )
    print("|---:|---|" + "---:|" * len(kinds))
    for length, pattern in product(args.lengths, args.patterns):
        cells = []
        for numbers, checkpointing in kinds:
            point = f"{length} {pattern} {numbers} {checkpointing}"
            command = [sys.executable, __file__, "--device", args.device, "--point", point]
            done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
            cells.append("{MB:.0f} MB, {seconds:.2f} s".format(**json.loads(done.stdout)) if done.stdout else "failed")
        print(f"| {length:,} | {pattern} | " + " | ".join(cells) + " |", flush=True)


def measure(length: int, pattern: str, bf16: bool, checkpointing: bool, device: str) -> dict[str, float]:
    """Megabytes at most, and seconds of the faster of two steps; one where a step takes long."""
    keep_freed_memory()  # as a training does
    if checkpointing:
        return_freed_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    layout = Layout.parse("text")
    sequencer = Sequencer([layout], {"text": BytesTokenizer()}, length)
    text = np.random.default_rng(0).integers(256, size=length + 1)
    batch = collate(0, [sequencer.pack(layout, {"text": text})])
    batch = batch.to(device)
    gpt = make_gpt(GPTConfig(layers=8, width=512, heads=8, pattern=pattern), sequencer.schema).to(device)
    gpt.checkpoint = checkpointing
    taken: list[float] = []
    while len(taken) < 2 and sum(taken) < 10:
        gpt.zero_grad()
        began = time.perf_counter()
        with torch.autocast(device, torch.bfloat16) if bf16 else nullcontext():
            (total, _) = slot_nats(gpt, sequencer, batch, {"text"})["text"]
        (total / length).backward()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    if device == "cuda":
        return {"MB": torch.cuda.max_memory_allocated() / 1e6, "seconds": min(taken)}
    return {
        "MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_BYTES / 1e6, "seconds": min(taken),
    }  # fmt: skip


if __name__ == "__main__":
    main()
