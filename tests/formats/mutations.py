"""Files that are broken at random, for what reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mutated(data: bytes, rng: np.random.Generator, specials: Sequence[bytes]) -> bytes:
    """One to five random edits, half of them near the beginning, where headers are; specials are put in."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at, to = sorted(rng.integers(0, len(out) + 1, 2).tolist())
        at = int(rng.integers(0, min(64, len(out) + 1))) if rng.integers(2) else at
        special = specials[rng.integers(len(specials))]
        match rng.integers(6):
            case 0 | 1 if at < len(out):
                out[at] = rng.integers(256)
            case 2:
                del out[at : min(to, at + 40)]
            case 3:
                out[at:at] = out[at : min(to, at + 200)]
            case 4:
                out[at:at] = special
            case 5:
                out[at : at + len(special)] = special
    return bytes(out)
