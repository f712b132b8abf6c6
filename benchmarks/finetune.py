"""A few pieces of one folder: learning them from scratch, and from a model that knows other music, in the same minutes.

    python benchmarks/finetune.py RUN_OR_BUNDLE FOLDER_OF_MIDI [--pieces 30] [--minutes 5]

The pieces are those of the folder whose hash is smallest; the model must not have been trained on that folder. One in
five is held out; both ways have the same tokens, so their held-out nats a token compare.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from helicon.data.files import share


def main() -> None:
    """Trains both ways, one after the other, and prints what each reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument("--pieces", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5.0)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="finetune-"))
    chosen = sorted(args.path.rglob("*.mid"), key=lambda path: share(path.name))[: args.pieces]
    for path in chosen:
        target = root / "pieces" / args.path.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    common = ["--minutes", str(args.minutes), "--runs", str(root), "--data.val_split", "0.2"]
    tokenizers = json.loads((_bundle(args.model) / "bundle.json").read_text(encoding="utf-8"))["tokenizers"]
    names = json.dumps({slot: item["name"] for slot, item in tokenizers.items()})
    ways = {"from": ["--from", str(args.model)], "scratch": ["--size", "small", "--data.tokenizers", names]}
    reached = {}
    for way, options in ways.items():
        _helicon("train", "music", str(root / "pieces"), "--name", way, *common, *options)
        reached[way] = json.loads((root / way / "model" / "bundle.json").read_text(encoding="utf-8"))["notes"]
    for way, notes in reached.items():
        print(f"{way:8} {notes['val_loss']:.3f} nats a held-out token, best at step {notes['step']}")


def _bundle(model: Path) -> Path:
    return model / "model" if (model / "model").is_dir() else model


def _helicon(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "helicon", *arguments], check=True)


if __name__ == "__main__":
    main()
