"""Pieces at a high temperature, half from untrained weights: does every file open, close its notes, last as asked?

python benchmarks/validity.py RUN_OR_BUNDLE [--pieces 200] [--seconds 30] [--temperature 1.5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import mido
import symusic
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import load_bundle
from helicon.generation.generate import generate
from helicon.generation.request import Request

BATCH = 20


def main() -> None:
    """Generates, writes, opens with two readers of others, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pieces", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--temperature", type=float, default=1.5)
    args = parser.parse_args()
    trained = load_bundle(args.model)
    torch.manual_seed(0)
    fresh = make_gpt(trained.gpt.config, trained.schema)
    print("| weights | pieces | open in mido | open in symusic | hanging notes | longest error, s | tokens a second |")
    print("|---|---|---|---|---|---|---|")
    for name, bundle in (
        ("trained", trained),
        ("untrained", Bundle(gpt=fresh, sequencer=trained.sequencer, tokenizer_names=trained.tokenizer_names)),
    ):
        print(
            f"| {name} | {' | '.join(measure(bundle, args.pieces // 2, args.seconds, args.temperature))} |", flush=True
        )


def measure(bundle: Bundle, pieces: int, seconds: float, temperature: float) -> list[str]:
    """One row of the table."""
    opened = {"mido": 0, "symusic": 0}
    hanging, error, tokens, begun, made = 0, 0.0, 0, time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        while made < pieces:
            count = min(BATCH, pieces - made)
            request = Request(count=count, seed=made, seconds=seconds, temperature=temperature)
            for item in generate(bundle, request):
                path = Path(folder) / f"{made:03d}.mid"
                item.modality.write(item.media, path)
                tokens, made = tokens + len(item.ids), made + 1
                file = mido.MidiFile(path)
                opened["mido"] += 1
                hanging += hanging_notes(file)
                error = max(error, abs(file.length - seconds))
                score: Any = symusic.Score(path, ttype="second")
                opened["symusic"] += 1
                error = max(error, abs(score.end() - seconds))
    speed = tokens / (time.monotonic() - begun)
    return [str(made), str(opened["mido"]), str(opened["symusic"]), str(hanging), f"{error:.3f}", f"{speed:,.0f}"]


def hanging_notes(file: mido.MidiFile) -> int:
    """Note-ons that no note-off answers, track by track."""
    count = 0
    for track in file.tracks:
        sounding: dict[tuple[int, int], int] = {}
        for message in track:
            if message.type in ("note_on", "note_off"):
                key = (message.channel, message.note)
                on = message.type == "note_on" and message.velocity > 0
                sounding[key] = max(0, sounding.get(key, 0) + (1 if on else -1))
        count += sum(sounding.values())
    return count


if __name__ == "__main__":
    main()
