"""Continues a piece in two ways: the first 8 seconds are the file's, the rest is the model's.

python examples/continue_a_piece.py RUN PIECE.mid [SECONDS]
"""

import sys
from pathlib import Path

import helicon


def main(run: Path, piece: Path, seconds: float = 30.0) -> None:
    """Samples after the start of `piece`."""
    model = helicon.load(run)
    continued = helicon.sample(model, count=2, prime=piece, keep="8s", seconds=seconds)
    for item, path in zip(continued, helicon.save(continued, run / "continued")):
        assert isinstance(item.media, helicon.Score)
        print(f"{path}: {len(item.media)} notes, {item.media.seconds:.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:]))
