"""Trains on a folder of MIDI files and writes four new pieces of 10 seconds.

python examples/train_on_a_folder.py FOLDER [MINUTES]
"""

import sys
from pathlib import Path

import helicon


def main(folder: Path, minutes: float = 10.0) -> None:
    """Trains, then samples."""
    run = helicon.train(folder, task="music", minutes=minutes, progress=sys.stderr)
    model = helicon.load(run)
    pieces = helicon.sample(model, count=4, seed=7, seconds=10)
    for path in helicon.save(pieces, run / "pieces"):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
