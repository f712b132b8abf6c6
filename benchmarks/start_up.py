"""From typing `helicon generate` to the first token, on a tiny model: the median of fresh processes, on a warm disk.

python benchmarks/start_up.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from machine import describe

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import save_bundle
from helicon.demos.composer import compose
from helicon.gpt.model import GPTConfig
from helicon.modalities.music import MUSIC
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

REPEATS = 5


def main() -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_bundle(tiny(), folder / "tiny")
        first_token(folder)  # compiles the step where there is a compiler, and warms the disk
        times = [first_token(folder) for _ in range(REPEATS)]
    print(f"first token after {median(times):.2f} s (median of {REPEATS}; {min(times):.2f} to {max(times):.2f})")


def tiny() -> Bundle:
    """An untrained model of music of the size `tiny`."""
    surveys = [MUSIC.survey(compose(seed)) for seed in range(4)]
    names = {"style": next(iter(MUSIC.slots["style"])), "music": "musenet"}
    tokenizers = {slot: MUSIC.slots[slot][name].fit(surveys, siblings={}) for slot, name in names.items()}
    sequencer = Sequencer([Layout.parse("style[8] music")], tokenizers, 256)
    torch.manual_seed(0)
    return Bundle(
        gpt=make_gpt(GPTConfig(layers=4, width=128), sequencer.schema), sequencer=sequencer, tokenizer_names=names
    )


def first_token(folder: Path) -> float:
    """Seconds until the first line of --stream."""
    command = [sys.executable, "-m", "helicon", "generate", str(folder / "tiny"), "--tokens", "20", "--stream"]
    started = time.perf_counter()
    with subprocess.Popen([*command, "-o", str(folder / "out")], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        word = process.stdout.readline()
        taken = time.perf_counter() - started
        process.stdout.read()
    assert word.strip(), "nothing was made"
    return taken


if __name__ == "__main__":
    main()
