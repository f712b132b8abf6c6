"""Packaged YAML configs: tasks (what is trained) and shapes (published models and their tiny twins).

`--config NAME` takes any of them; several are merged, the later ones winning: `--config music --config small`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from helicon.tokenizers.names import unknown

FOLDER = Path(__file__).parent


def preset_names() -> list[str]:
    """Names that `--config` takes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def preset_path(name: str) -> Path:
    """File of a preset, or the file itself that `name` names; ValueError shows the nearest names."""
    packaged = FOLDER / f"{name}.yaml"
    if packaged.is_file():
        return packaged
    if Path(name).is_file():
        return Path(name)
    raise ValueError(unknown("preset or config file", name, preset_names()))


def preset(name: str) -> dict[str, Any]:
    """The config of a packaged preset, or of the file of that name."""
    return yaml.safe_load(preset_path(name).read_text(encoding="utf-8")) or {}
