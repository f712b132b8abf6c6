"""Ways to damage the files of a bundle or a codec: each gives what is done to a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

Harm = Callable[[Path], None]


def tensors(name: str, change: Callable[[dict[str, Any]], Any]) -> Harm:
    """Changes the tensors of a file of weights."""

    def harm(folder: Path) -> None:
        found = load_file(folder / name)
        change(found)
        save_file(found, folder / name)

    return harm


def raw(name: str, change: Callable[[bytes], bytes]) -> Harm:
    """Changes the bytes of a file."""

    def harm(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return harm


def values(name: str, change: Callable[[Any], Any]) -> Harm:
    """Changes what a JSON file says."""

    def harm(folder: Path) -> None:
        found = json.loads((folder / name).read_text())
        change(found)
        (folder / name).write_text(json.dumps(found))

    return harm
