"""Figures of one CUDA card: attention's ways, decoding codes to media, decoding tokens, training.

python benchmarks/gpu.py --quick [-o FILE]  # within 7 minutes, the most important first: every kernel against the
                                            # oracle, media, decoding, training, six patterns; each figure is written
                                            # as soon as it is known
python benchmarks/gpu.py                    # the rows of README.md, some 5 minutes
python benchmarks/gpu.py --attention        # every way to attend; writes the table that helicon chooses by: half an
                                            # hour, most of it compiling. Run it first
python benchmarks/gpu.py --only media decode
python benchmarks/gpu.py --dry              # tiny and on the CPU, seconds: that all of it runs

Medians after a warm-up, rivals in turns, the card waited for at the end of each run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from gpu_attention import check_ways, measure_quickly, measure_ways
from machine import describe, seconds, side_by_side
from torch import Tensor

from helicon.gpt.attention.attend import attend
from helicon.gpt.attention.patterns import parse_pattern
from helicon.gpt.attention.selection import TABLE
from helicon.gpt.cross_entropy import Scored
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.numbers import cast
from helicon.gpt.stepping import make_step
from helicon.modalities.audio import codes_tokenizer as sound_codes_tokenizer
from helicon.modalities.image import codes_tokenizer as picture_codes_tokenizer
from helicon.sequence.layout import PatternContext
from helicon.training.learning.optimizers import MuonAdamW
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import AudioCodecConfig, ImageCodecConfig
from helicon.vqvae.storage import CodecBundle


@dataclass(frozen=True)
class Sizes:
    """Of what is measured. media: pictures and sounds at once; side: pixels; sound_s: seconds. deep, wide: layers and
    width of the model that decodes; layers, width, tokens, batch: of the one that trains. matmul: rows of the matrices.
    """

    lengths: tuple[int, ...] = (16384, 65536)
    stride: int = 128
    media: int = 64
    side: int = 256
    sound_s: float = 10.0
    deep: int = 20
    wide: int = 2048
    context: int = 2048
    layers: int = 24
    width: int = 1024
    tokens: int = 4096
    batch: int = 4
    words: int = 50304
    matmul: int = 8192
    copied_bytes: int = 1 << 32
    repeats: int = 5


TINY = Sizes((64, 128), 8, 3, 16, 0.1, 2, 64, 96, 2, 64, 32, 2, 512, 64, 1 << 20, 2)


class Bench:
    """A device, and the time that work takes there."""

    def __init__(self, device: str, sizes: Sizes) -> None:
        self.device, self.sizes = torch.device(device), sizes
        self.until = float("inf")  # of time.monotonic, after which nothing more is begun

    def waited(self, run: Callable[[], object]) -> Callable[[], None]:
        """The same, and that it is done."""

        def done() -> None:
            run()
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return done

    def seconds(self, run: Callable[[], object]) -> float:
        return seconds(self.waited(run), self.sizes.repeats)

    def side_by_side(self, **runs: Callable[[], object]) -> dict[str, float]:
        return side_by_side({name: self.waited(run) for name, run in runs.items()}, self.sizes.repeats)


def sparse(bench: Bench) -> None:
    """Forward and backward of one layer as `attend` runs it, 16 heads x 64 in bfloat16, against flash SDPA."""
    print("| pattern | tokens | x flash SDPA | ms | flash ms |\n|---|---:|---:|---:|---:|")
    for tokens in bench.sizes.lengths:
        q, k, v, grad = torch.randn(4, 1, tokens, 16, 64, device=bench.device).bfloat16().transpose(2, 3)
        inputs = tuple(x.requires_grad_() for x in (q, k, v))

        def step(attention: Callable[[], Tensor], inputs: tuple[Tensor, ...] = inputs, grad: Tensor = grad) -> object:
            return torch.autograd.grad(attention(), inputs, grad)

        flash = partial(F.scaled_dot_product_attention, *inputs, is_causal=True)
        for spec in ("strided", "block", "column"):
            ours = partial(attend, *inputs, parse_pattern(f"{spec}:{bench.sizes.stride}"))
            found = bench.side_by_side(flash=partial(step, flash), ours=partial(step, ours))
            ratio = found["flash"] / found["ours"]
            print(f"| {spec} | {tokens:,} | {ratio:.1f} | {found['ours'] * 1e3:.2f} | {found['flash'] * 1e3:.2f} |")


def media(bench: Bench) -> None:
    """Codes to pixels and waveforms, arrays in and arrays out: all items together against one after the other."""
    size = bench.sizes
    codec = ImageCodec(ImageCodecConfig(factor=8, width=128)).eval()
    pictures = picture_codes_tokenizer(CodecBundle(codec=codec, medium="image", reading={"size": size.side})).to(
        bench.device
    )
    shape = AudioCodecConfig(hops=(8, 32, 128), rate=44100, stride=2, width=64)
    sounds = sound_codes_tokenizer(
        CodecBundle(codec=AudioCodec(shape).eval(), medium="audio", reading={"rate": 44100, "channels": 1})
    )
    sounds, rng = sounds.to(bench.device), np.random.default_rng(0)
    grid, codes = (size.side // 8) ** 2, round(size.sound_s * 44100 / 128)
    print("| codes of | x a loop | items a second |\n|---|---:|---:|")
    for name, tokenizer, length in (("pictures", pictures, grid), ("sounds", sounds, codes)):
        ids = [rng.integers(len(tokenizer.block), size=length) for _ in range(size.media)]
        found = bench.side_by_side(
            together=partial(tokenizer.decode_many, ids),
            loop=lambda tokenizer=tokenizer, ids=ids: [tokenizer.decode(each) for each in ids],
        )
        print(f"| {size.media} {name} | {found['loop'] / found['together']:.1f} | {len(ids) / found['together']:.0f} |")


@torch.inference_mode()
def decode(bench: Bench) -> None:
    """A token at a time of a model of 1 B parameters, batch 1, against reading its weights once a token."""
    size = bench.sizes
    with torch.device(bench.device):
        position = torch.tensor([size.context // 2])
        ids, rows = torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)
        bandwidth = 2 * size.copied_bytes / bench.seconds(torch.empty(size.copied_bytes, dtype=torch.uint8).clone)
    for name, width in (("bf16", 2), ("int8", 1)):
        with torch.device(bench.device):
            gpt = GPT(
                GPTConfig(layers=size.deep, width=size.wide, heads=size.wide // 64), size.words, size.context
            ).eval()
            parameters = gpt.parameter_count()
            gpt = cast(gpt, name)
            step = make_step(gpt, gpt.new_cache(1, size.context), PatternContext())
        token_s = bench.seconds(partial(step, ids, rows, position, slice(0, size.words), size.context // 2 + 1))
        floor_s = width * parameters / bandwidth
        print(f"| decode | {parameters / 1e9:.2f} B parameters, {name}, batch 1 |\n|---|---|")
        print(f"| share of the bandwidth floor | {100 * floor_s / token_s:.0f} % |")
        print(f"| tokens a second | {1 / token_s:.0f} of {1 / floor_s:.0f}, at {bandwidth / 1e12:.2f} TB/s, measured |")


def train(bench: Bench) -> None:
    """A whole step of 350 M parameters, dense, bfloat16, against the measured peak of a matrix product.

    Operations: 6 a parameter and token, and of attention 6 layers x width x tokens a token: the causal half of it.
    """
    size, device = bench.sizes, bench.device
    shape = GPTConfig(layers=size.layers, width=size.width, heads=size.width // 64, mlp="relu2", norm="rms", bias=False)
    gpt = GPT(shape, size.words, size.tokens).to(device).train()
    matrices = [p for name, p in gpt.named_parameters() if p.dim() > 1 and name.startswith("layers")]
    rest = [p for name, p in gpt.named_parameters() if p.dim() < 2 or not name.startswith("layers")]
    optimizer = MuonAdamW(matrices, rest, 1e-3, 0.1, 0.95)
    ids = torch.randint(size.words, (size.batch, size.tokens), device=device)
    rows = torch.arange(size.tokens, device=device).expand_as(ids)[..., None]

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            hidden = gpt(ids, rows, PatternContext())
            scored = Scored(hidden.flatten(0, 1), slice(0, size.words), ids.flatten())
            loss = gpt.nll_sum([scored]).sum() / ids.numel()
        loss.backward()
        optimizer.step()

    a, b = (torch.randn(size.matmul, size.matmul, device=device, dtype=torch.bfloat16) for _ in range(2))
    peak = 2 * size.matmul**3 / bench.seconds(lambda: a @ b)
    step_s = bench.seconds(step)
    a_token = 6 * (gpt.parameter_count() + size.layers * size.width * size.tokens)
    flops = a_token * ids.numel() / step_s
    millions = gpt.parameter_count() / 1e6
    print(f"| train | {millions:.0f} M parameters, {size.batch} x {size.tokens:,} tokens |\n|---|---|")
    print(f"| share of the measured peak | {100 * flops / peak:.0f} % |")
    print(f"| TFLOP/s | {flops / 1e12:.0f} of {peak / 1e12:.0f} |")
    print(f"| tokens a second | {ids.numel() / step_s:,.0f} |")


PARTS = {"sparse": sparse, "media": media, "decode": decode, "train": train}
MINUTES = 7  # that --quick takes at most
QUICK = {"check": check_ways, "media": media, "decode": decode, "train": train, "attention": measure_quickly}


class Tee(io.TextIOBase):
    """Standard output that also goes to a file, each write at once: what is known stays known."""

    def __init__(self, path: Path) -> None:
        self._streams = sys.stdout, path.open("w", encoding="utf-8")

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
            stream.flush()
        return len(text)


def quick(bench: Bench, path: Path) -> None:
    """The parts of --quick, as many as there is time for; what fails is said, and the next part goes on."""
    began = time.monotonic()
    bench.until = began + 60 * MINUTES
    failed = []
    with contextlib.redirect_stdout(Tee(path)):
        print(describe() + "\n")
        for name, part in QUICK.items():
            if time.monotonic() > bench.until:
                print(f"{name}: no time left")
                continue
            try:
                part(bench)
            except Exception as error:
                failed.append(name)
                print(f"{name} FAILED: {error}")
            print(f"({name} done after {time.monotonic() - began:.0f} s)\n")
    print(f"written to {path}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attention", action="store_true", help="measure all ways to attend and write the table")
    parser.add_argument("--quick", action="store_true", help=f"the most important figures, within {MINUTES} minutes")
    parser.add_argument("-o", "--out", type=Path, default=Path("gpu-quick.md"), help="where --quick writes them")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--dry", action="store_true", help="tiny and on the CPU; writes what --quick does alone")
    args = parser.parse_args(arguments)
    if not args.dry and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --dry shows that all of it runs")
    torch.manual_seed(0)
    if args.quick:
        quick(Bench("cpu", TINY) if args.dry else Bench("cuda", Sizes(repeats=3)), args.out)
        return
    print(describe() + "\n")
    if args.attention:
        table = measure_ways(args.dry, describe())
        if not args.dry:
            table.write()
            print(f"\nwritten to {TABLE}")
        return
    bench = Bench("cpu", TINY) if args.dry else Bench("cuda", Sizes())
    for name in args.only:
        PARTS[name](bench)
        print(flush=True)


if __name__ == "__main__":
    main()
