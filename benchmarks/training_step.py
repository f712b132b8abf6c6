"""A training step, forward, backward and AdamW, of 8 layers x 512: ours beside Hugging Face's GPT-2 and x-transformers.

python benchmarks/training_step.py                     # 1,280 tokens of text, then 256 of text with 1,024 of a picture
python benchmarks/training_step.py long --repeats 3    # 16,384 tokens: block and column in turn against dense SDPA
python benchmarks/training_step.py pieces              # short pieces of various lengths: filled up, and packed

Each model is in a process of its own: ours tells glibc to reuse freed memory, as every training of ours does; peers are
taken as they come, and once more so told. Medians of runs in turns after a warm-up. `pip install -e ".[bench]"` brings
the peers.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection

import torch
from machine import describe, seconds, side_by_side
from step_models import (
    PICTURE,
    TEXT,
    TOKENS,
    Model,
    Slots,
    draw,
    flops,
    hugging_face,
    new_gpt,
    ours,
    step,
    x_transformer,
)
from torch import Tensor

from helicon.gpt.cross_entropy import Scored
from helicon.gpt.linear import linear
from helicon.sequence.layout import PatternContext
from helicon.training.memory import keep_freed_memory

LONG = 16384  # tokens
Maker = Callable[[Slots], Model]
MODELS: dict[str, tuple[Maker, bool]] = {  # and whether they are told to reuse freed memory
    "helicon": (ours, True),
    "Hugging Face GPT-2": (hugging_face, False),
    "x-transformers": (x_transformer, False),
    "Hugging Face GPT-2, told": (hugging_face, True),
    "x-transformers, told": (x_transformer, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["peers", "long", "pieces"], default="peers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="long and pieces: under autocast instead of in float32")
    args = parser.parse_args()
    if args.what != "peers":
        keep_freed_memory()
    print(describe() + "\n")
    {"peers": print_peers, "long": print_long, "pieces": print_pieces}[args.what](args)


def print_peers(args: argparse.Namespace) -> None:
    """Tokens a second of each model and type of numbers, and how many times ours are those of a peer at its best."""
    peaks = {"fp32": matmul_peak(torch.float32), "bf16": matmul_peak(torch.bfloat16)}
    print("matrix products: " + ", ".join(f"{peak:.0f} GFLOP/s in {number}" for number, peak in peaks.items()))
    for name, slots in {"text": TEXT, "text and a picture": PICTURE}.items():
        with ExitStack() as stack:
            runs = {}
            for label, (make, told) in MODELS.items():
                once = stack.enter_context(apart(make, slots, told))
                runs |= {f"{label} {number}": partial(once, number == "bf16") for number in peaks}
            times = side_by_side(runs, args.repeats)
        best = {label: min(times[f"{label} {number}"] for number in peaks) for label in MODELS}
        print(f"\n| {TOKENS} tokens, {name} | ours are | tokens/s fp32 | bf16 |\n|---|---:|---:|---:|")
        for label in MODELS:
            fp32, bf16 = (TOKENS / times[f"{label} {number}"] for number in peaks)
            print(f"| {label} | {best[label] / best['helicon']:.2f}x | {fp32:,.0f} | {bf16:,.0f} |", flush=True)
        shares = {number: flops(slots) / times[f"helicon {number}"] / 1e9 / peak for number, peak in peaks.items()}
        said = " and ".join(f"{100 * share:.0f} % in {number}" for number, share in shares.items())
        print(f"\nours: {said} of the speed of matrix products")


@contextmanager
def apart(make: Maker, slots: Slots, told: bool) -> Iterator[Callable[[bool], object]]:
    """A model in a process of its own, and what has it make one step; `told`: to reuse freed memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, make, slots, told), daemon=True)
    process.start()
    theirs.close()  # so that one who dies is heard of

    def once(bf16: bool) -> object:
        ours.send(bf16)
        return ours.recv()

    try:
        yield once
    finally:
        process.terminate()
        process.join()


def serve(connection: Connection, make: Maker, slots: Slots, told: bool) -> None:
    """Makes a step in the numbers asked for, again and again."""
    if told:
        keep_freed_memory()
    model, ids = make(slots), draw(slots)
    steps = {bf16: step(model, ids, bf16) for bf16 in (False, True)}
    while True:
        steps[connection.recv()]()
        connection.send(None)


def print_long(args: argparse.Namespace) -> None:
    """A sparse GPT against a dense one."""
    slots: Slots = {"text": (TEXT["text"][0], LONG)}
    patterns = {"dense": "dense", "block and column in turn": "block:128,column:128", "merged": "strided:128"}
    runs = {name: step(ours(slots, pattern), draw(slots), args.bf16) for name, pattern in patterns.items()}
    times = side_by_side(runs, args.repeats)
    print(f"| {LONG} tokens, {'bf16' if args.bf16 else 'fp32'} | x dense | seconds a step |\n|---|---:|---:|")
    for name, taken in times.items():
        print(f"| {name} | {times['dense'] / taken:.2f} | {taken:.2f} |")


def print_pieces(args: argparse.Namespace) -> None:
    """16 pieces of 32 to 512 tokens, all of one batch."""
    lengths_B = torch.linspace(32, 512, 16).long()
    (rows, _), longest = TEXT["text"], int(lengths_B.max())
    gpt, ids = new_gpt(rows.stop, longest), torch.randint(rows.start, rows.stop, (len(lengths_B), longest + 1))
    places = torch.arange(longest).view(1, -1, 1).expand(len(ids), -1, -1)
    real_BT = torch.arange(longest) < lengths_B[:, None]

    def loss(ids_BT: Tensor, lengths_B: Tensor | None) -> Tensor:
        hidden = gpt(ids_BT[:, :-1], places, PatternContext(), lengths_B=lengths_B)
        return gpt.nll_sum([Scored(hidden[real_BT], rows, ids_BT[:, 1:][real_BT] - rows.start)]).sum() / real_BT.sum()

    runs = {
        name: step(Model(gpt, lambda ids, kept=kept: loss(ids, kept)), ids, args.bf16)
        for name, kept in {"filled up": None, "packed": lengths_B}.items()
    }
    times, tokens = side_by_side(runs, args.repeats), int(lengths_B.sum())
    print(f"| {len(ids)} pieces, {tokens} tokens of {real_BT.numel()} | faster | tokens/s |\n|---|---:|---:|")
    for name, taken in times.items():
        print(f"| {name} | {times['filled up'] / taken:.2f}x | {tokens / taken:,.0f} |")


@torch.no_grad()
def matmul_peak(dtype: torch.dtype, size: int = 2048) -> float:
    """GFLOP/s of a product of square matrices, by the faster of PyTorch's and ours."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    products: list[Callable[[], object]] = [lambda: a @ b, lambda: linear(a, b)]
    return 2 * size**3 / min(seconds(product) for product in products * 3) / 1e9


if __name__ == "__main__":
    main()
