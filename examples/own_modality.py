"""A modality of one's own: drum patterns in `.steps` files, a line of `x` and `-` for each of three drums.

helicon train steps FOLDER_OF_STEPS_FILES --plugin own_modality.py
helicon generate runs/steps-1 --plugin own_modality.py
"""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

import helicon

Pattern = list[str]  # kick, snare and hat, each such as "x---x---"


class StepTokenizer(helicon.Tokenizer[Pattern]):
    """One token a step: which of the drums sound."""

    block = helicon.TokenBlock("steps", tuple(map("".join, product("-x", repeat=3))))

    def encode(self, media: Pattern) -> np.ndarray:
        return np.array([self.block.index["".join(step)] for step in zip(*media)], np.int64)

    def decode(self, ids: np.ndarray) -> Pattern:
        return ["".join(self.block.tokens[i][drum] for i in ids) for drum in range(3)]


@dataclass(frozen=True)
class StepOptions:
    """Reading options; each field is a flag, here --data.longest.

    Args:
        longest: steps of a pattern that are read.
    """

    longest: int = 64


def read(path: Path, options: StepOptions) -> tuple[Pattern, helicon.ReadReport]:
    lines = [line[: options.longest] for line in path.read_text(encoding="utf-8").split()]
    if len(lines) != 3 or len({*map(len, lines)}) != 1 or {*"".join(lines)} - {*"x-"}:
        raise ValueError("not three lines of equal length of x and -")
    return lines, helicon.ReadReport()


def write(media: Pattern, path: Path) -> None:
    path.write_text("\n".join(media) + "\n", encoding="utf-8")


SPEC = helicon.TokenizerSpec(make=StepTokenizer, from_state=lambda state: StepTokenizer(), needs_fit=False)
helicon.register_modality(
    helicon.Modality(
        name="steps", suffixes=(".steps",), read_file=read, write=write, slots={"steps": {"steps": SPEC}},
        options=StepOptions,
    )
)  # fmt: skip
