"""How long a minute of sound takes at Jukebox's shapes, full context: measured over a stretch, the rest extrapolated.

python benchmarks/sound_speed.py [--preset jukebox-small-prior] [--tokens 32]

Weights are random: time does not depend on them. A context is filled, then tokens are made at its end, where attention
has most to read; a minute of Jukebox's top level is 20,672 tokens, for which half a context is kept and read again
every 4,096. Jukebox itself took 9 hours for a minute of sound on a V100, all three levels in all.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
import yaml

from helicon.bundle.bundle import make_gpt
from helicon.gpt.cache import Cache
from helicon.gpt.model import GPTConfig
from helicon.presets import preset_path
from helicon.sequence.layout import Layout, Schema
from helicon.sequence.vocabulary import TokenBlock

TOP, CODES = 44100 / 128, 2048


def main() -> None:
    """Prints what was measured and what follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="jukebox-small-prior")
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    model = yaml.safe_load(preset_path(args.preset).read_text(encoding="utf-8"))["model"]
    fields = {name: value for name, value in model.items() if name in GPTConfig.__dataclass_fields__}
    block = TokenBlock("audio", tuple(map(str, range(CODES))))
    schema = Schema(
        layouts=(Layout.parse("audio"),),
        blocks={"audio": block},
        slot_axes={},
        context=model["context"],
        positions="flat",
    )
    gpt = make_gpt(GPTConfig(**{**fields, "dropout": 0.0}), schema).eval()
    frame, context = schema.layouts[0].frame, schema.context
    shape = gpt.config
    cache = Cache(shape.layers, 1, shape.heads, context, shape.head_width, "cpu", torch.float32)
    rows = torch.arange(context).view(1, -1, 1)
    with torch.inference_mode():
        began = time.perf_counter()
        fill = context - args.tokens
        gpt(torch.randint(CODES, (1, fill)), rows[:, :fill], frame, cache)
        prefill = time.perf_counter() - began
        steps = []
        for place in range(fill, context):
            began = time.perf_counter()
            hidden = gpt.step(torch.tensor([7]), rows[:, place], torch.tensor([place]), frame, cache)
            gpt.logits(hidden, schema.vocab_slice(schema.layouts[0].target)).argmax()
            steps.append(time.perf_counter() - began)
    tokens = round(60 * TOP)
    windows = max(0, -(-(tokens - context) // (context // 2)))
    total = tokens * median(steps) + windows * prefill
    print(f"{args.preset}: {gpt.parameter_count() / 1e6:.0f} M parameters, {context} tokens of context, "
          f"{torch.get_num_threads()} threads, fp32, batch 1")  # fmt: skip
    print(f"  prefill of {fill} tokens {prefill:.1f} s; {args.tokens} more, median {1e3 * median(steps):.1f} ms each")
    print(f"  a minute of the top level: {tokens:,} tokens and {windows} prefills: {total / 60:.1f} min (extrapolated)")
    print("  Jukebox, all three levels, V100: 540 min a minute")


if __name__ == "__main__":
    main()
