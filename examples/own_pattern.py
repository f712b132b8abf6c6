"""An attention pattern of one's own: one predicate, found wherever a pattern is named.

helicon train text FOLDER_OF_TEXT_FILES --model.pattern dense,dilated:4,8 --plugin own_pattern.py
helicon generate runs/text-1 --plugin own_pattern.py

or, as a script that does both: python own_pattern.py FOLDER_OF_TEXT_FILES [STEPS]
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import helicon


@helicon.register_pattern
@dataclass(frozen=True)
class Dilated(helicon.AttentionPattern):
    """Every L-th of the last L x N keys, self included."""

    stride: int
    number: int
    form = "dilated:L,N"

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        back = query - key
        return (back % self.stride == 0) & (back < self.stride * self.number)


def main(folder: Path, steps: int = 300) -> None:
    """Trains half of the steps, goes on with the other half, and writes four texts."""
    options = ["--model.pattern", "dense,dilated:4,8"]
    half = {"steps": steps // 2, "name": "dilated", "options": options}
    run = helicon.train(folder, task="text", size="tiny", **half, progress=sys.stderr)
    run = helicon.resume(run, options=["--trainer.max_steps", str(steps)], progress=sys.stderr)
    for path in helicon.save(helicon.sample(helicon.load(run), count=4, tokens=64), run / "texts"):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
