"""Held-out nats a token of a GPT after so many minutes, against an order-5 interpolated Witten-Bell n-gram.

    python benchmarks/chorales.py FOLDER_OF_MIDI [--minutes 10] [fit options such as --model.lr 0.003]

Both are trained on the same files and scored on the same targets: every token and the end of every held-out piece. The
GPT sees its style slot (label, instruments, tempo) and no plan; the n-gram sees the five tokens before.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from helicon.bundle.storage import load_bundle
from helicon.commands.fit import quiet
from helicon.data.batches import val_windows
from helicon.data.collate import collate
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.evaluation.ngram import WittenBell
from helicon.objectives.next_token import slot_nats
from helicon.training.plan_config import format_duration
from helicon.training.run import run_lightning


def main() -> None:
    """Trains, measures, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", default="small")
    parser.add_argument("--runs", default=tempfile.gettempdir())
    args, rest = parser.parse_known_args()
    quiet()
    begun = time.monotonic()
    run = run_lightning(
        "fit",
        [
            *("--config", "music", "--config", args.size, "--data.path", str(args.path), "--runs", args.runs),
            *("--trainer.max_time", format_duration(round(args.minutes * 60))),
            *("--trainer.precision", "bf16-mixed", "--samples", "false", *rest),
        ],
    ).run_folder
    took = time.monotonic() - begun
    bundle = load_bundle(run)
    prepared = prepare(
        DataSource(path=args.path, layouts=("style[3] music",), tokenizers=bundle.tokenizer_names),
        kept=bundle.sequencer.tokenizers,
        log=print,
    )
    (layout,), (corpus,) = bundle.schema.layouts, prepared.corpora
    windows = [window for ((_, window),) in val_windows(corpus, bundle.sequencer, layout)]
    total = count = 0.0
    with torch.inference_mode():
        for i in range(0, len(windows), 16):
            nats, n = slot_nats(bundle.gpt.eval(), bundle.sequencer, collate(0, windows[i : i + 16]), ["music"])[
                "music"
            ]
            total, count = total + float(nats), count + n
    size = len(bundle.schema.blocks["music"]) + 1
    pieces = {held: [_ended(corpus, i, size) for i in corpus.select(held)] for held in (False, True)}
    table = {"gpt": total / count}
    for order in (1, 2, 3, 5):
        model = WittenBell(order, size).fit(pieces[False])
        nats = np.concatenate([model.token_nll(piece) for piece in pieces[True]])
        assert len(nats) == count, (len(nats), count)
        table[f"order {order}"] = float(nats.mean())
    print(
        f"trained {took / 60:.1f} minutes in all, {bundle.gpt.parameter_count():,} parameters, {int(count):,} targets"
    )
    print(json.dumps({name: round(value, 4) for name, value in table.items()}))
    print(f"ratio to order 5: {table['gpt'] / table['order 5']:.3f}")


def _ended(corpus: object, index: int, size: int) -> np.ndarray:
    """A piece with its end, as the GPT is scored on."""
    return np.append(corpus.example(int(index))["music"], size - 1)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
