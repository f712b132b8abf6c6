"""Decoding on a CPU against Hugging Face `generate`, and against ourselves: sparse layers, nine items, later positions.

python benchmarks/decoding.py            # all tables, some 10 minutes
python benchmarks/decoding.py --only peers --tokens 256
python benchmarks/decoding.py --dry      # tiny, seconds: that it runs

8 layers x 512, 8 heads, 8,192 codes after 256 tokens of text. Figures are medians over `--repeats` whole decodings,
prefill included, taken in turns after a warm-up. Needs `pip install -e ".[bench]"`.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from machine import describe, side_by_side

from helicon.bundle.bundle import make_gpt
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.numbers import cast
from helicon.gpt.sampler import logits_processors
from helicon.gpt.stepping import DecodeBackend, make_step
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout, PatternContext
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Grid
from helicon.tokenizers.sequencer import Sequencer

CODES, WORDS = 8192, 1024
DALLE = "row,column,row,row,row,column,row,conv:11"
FORMATS = ("fp32", "bf16", "int8")


class Words:
    """A tokenizer's block without a medium."""

    automaton = None

    def __init__(self, size: int) -> None:
        self.block = TokenBlock("codes", tuple(map(str, range(size))))


class Codes(Words, Grid):
    """Codes of a picture of so many rows and columns."""

    def __init__(self, size: int, shape: tuple[int, int]) -> None:
        super().__init__(size)
        self.shape = shape


class World:
    """A model of text, then a picture of `side` x `side` codes, untrained: speed does not ask what is said."""

    def __init__(self, pattern: str, side: int, text: int, layers: int, width: int) -> None:
        layout = f"text[{text - 1}] image[]"  # and the token that names the layout
        tokenizers = {"text": Words(WORDS), "image": Codes(CODES, (side, side))}
        self.sequencer = Sequencer([Layout.parse(layout)], tokenizers, text + side * side)  # type: ignore[arg-type]
        (self.layout,) = self.sequencer.schema.layouts
        torch.manual_seed(0)
        self.gpt = make_gpt(
            GPTConfig(layers=layers, width=width, heads=width // 64, pattern=pattern), self.sequencer.schema
        )
        self.prompt = Prompt({"text": np.arange(text - 1) % WORDS})

    def run(self, gpt: GPT, tokens: int, items: int = 1, backend: DecodeBackend = "auto", prime: int = 0) -> None:
        """Decodes so many tokens of so many items, after as many codes that are given."""
        prompt = Prompt(self.prompt.conditions, np.arange(prime) % CODES)
        sampling = Sampling(chain=logits_processors(SamplingOptions(temperature=1.0)), seed=0, max_tokens=tokens)
        made = decode(gpt, self.sequencer, self.layout, [prompt] * items, sampling, backend=backend)
        assert all(len(ids) == prime + tokens for ids in made)


def peers(args: argparse.Namespace) -> None:
    """Batch 1, dense: ours in each format, with a compiler and without, against Hugging Face."""
    from transformers import GPT2Config, GPT2LMHeadModel

    world = World("dense", args.side, args.text, args.layers, args.width)
    config = GPT2Config(
        vocab_size=len(world.sequencer.schema.vocabulary), n_positions=args.text + args.side**2, n_embd=args.width,
        n_layer=args.layers, n_head=args.width // 64, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs, words = GPT2LMHeadModel(config).eval(), torch.randint(WORDS, (1, args.text))
    sampled = {"do_sample": True, "top_k": 0, "max_new_tokens": args.tokens, "pad_token_id": 0}
    runs: dict[str, Callable[[], object]] = {
        "Hugging Face fp32": lambda: theirs.generate(words, attention_mask=torch.ones_like(words), **sampled)  # type: ignore[arg-type]
    }
    for name in args.formats:
        gpt = cast(copy.deepcopy(world.gpt), name)
        for engine in args.engines:
            runs[f"{name} {engine}"] = partial(world.run, gpt, args.tokens, backend=engine)
    table(f"{args.text} + {args.tokens} tokens, one item, dense", side_by_side(runs, args.repeats), args.tokens)


def sparse(args: argparse.Namespace) -> None:
    """DALL·E's layers against dense ones, over the whole of a picture and at the end of a long context."""
    worlds = {name: World(pattern, args.side, args.text, args.layers, args.width) for name, pattern in KINDS.items()}
    for name in FORMATS:
        models = {kind: cast(copy.deepcopy(world.gpt), name) for kind, world in worlds.items()}
        runs = {kind: partial(worlds[kind].run, gpt, args.tokens) for kind, gpt in models.items()}
        table(f"{args.text} + {args.tokens} tokens, one item, {name}", side_by_side(runs, args.repeats), args.tokens)
    for name in FORMATS:
        runs = {kind: late(pattern, name, args) for kind, pattern in KINDS.items()}
        title = f"positions {args.late[0]:,} to {args.late[-1]:,}, one item, {name}, {len(args.late)} of them"
        table(title, side_by_side(runs, args.repeats), len(args.late))


def late(pattern: str, number: str, args: argparse.Namespace) -> Callable[[], object]:
    """Steps at late positions of a context that is full of something."""
    shape = GPTConfig(layers=args.layers, width=args.width, heads=args.width // 64, pattern=pattern)
    gpt, frame = cast(GPT(shape, CODES + WORDS, 4).eval(), number), PatternContext(args.text, 64)
    step = make_step(gpt, gpt.new_cache(1, args.late[-1] + 1), frame)
    ids, rows = torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)

    @torch.inference_mode()
    def run() -> None:
        for position in args.late:
            step(ids, rows, torch.tensor([position]), slice(0, CODES), position + 1)

    return run


def nine(args: argparse.Namespace) -> None:
    """Nine pictures at once against one."""
    for kind, pattern in KINDS.items():
        world = World(pattern, args.side, args.text, args.layers, args.width)
        for name in FORMATS:
            gpt = cast(copy.deepcopy(world.gpt), name)
            runs = {f"{n} at once": partial(world.run, gpt, args.tokens, n) for n in (1, 9)}
            times = side_by_side(runs, args.repeats)
            one, many = args.tokens / times["1 at once"], 9 * args.tokens / times["9 at once"]
            print(f"{kind:8} {name}: nine pictures {many:,.0f} tokens a second, one {one:,.0f}: {many / one:.2f}x")


def table(title: str, times: dict[str, float], tokens: int) -> None:
    """Ratios to the first."""
    first = next(iter(times.values()))
    print(f"\n{title}")
    for name, taken in times.items():
        speed = f"{tokens / taken:7.0f} tokens a second, {1000 * taken / tokens:.2f} ms each"
        print(f"  {first / taken:5.2f}x  {name:20} {speed}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TABLES, nargs="+", default=list(TABLES))
    parser.add_argument("--tokens", type=int, default=1024, help="tokens that are made, of 1,024")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--formats", choices=FORMATS, nargs="+", default=FORMATS, help="of ours beside peers")
    parser.add_argument("--engines", choices=ENGINES, nargs="+", default=ENGINES, help="the same")
    parser.add_argument("--dry", action="store_true", help="tiny models, to see that it runs")
    args = parser.parse_args()
    args.side, args.text, args.layers, args.width = (4, 4, 2, 64) if args.dry else (32, 256, 8, 512)
    args.tokens, args.repeats = (args.side**2, 1) if args.dry else (args.tokens, args.repeats)
    args.late = range(40, 48) if args.dry else range(7168, 8192, 32)
    print(describe())
    for name in args.only:
        TABLES[name](args)


ENGINES: tuple[DecodeBackend, ...] = ("native", "eager")
KINDS = {"dense": "dense", "DALL·E's": DALLE}
TABLES = {"peers": peers, "sparse": sparse, "nine": nine}

if __name__ == "__main__":
    main()
