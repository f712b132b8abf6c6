"""The command in a process of its own, and pictures for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from helicon.formats.image import write_image


def helicon(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As it is typed in a folder."""
    command = [sys.executable, "-m", "helicon", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def pictures(home: Path) -> Path:
    """A folder of noise, 16 x 16."""
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3))
        write_image(noise.astype(np.uint8), home / "pictures" / f"{number}.png")
    return home / "pictures"
