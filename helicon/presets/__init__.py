"""Packaged YAML configs: tasks (what is trained) and shapes (published models and their tiny twins).

`--config NAME` takes any of them; several are merged, the later ones winning: `--config music --config small`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from helicon.formats.printable import MOST, printable
from helicon.tokenizers.names import unknown

FOLDER = Path(__file__).parent
GROUPS = ("model", "data", "trainer")  # of a config, beside the options of a run


def preset_names() -> list[str]:
    """Names that `--config` takes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def config_path(name: str) -> Path:
    """File of a preset, or of that name, whether it is there or not."""
    return FOLDER / f"{name}.yaml" if name in preset_names() else Path(name)


def preset_path(name: str) -> Path:
    """File of a preset, or the file itself that `name` names; ValueError shows the nearest names."""
    if (path := config_path(name)).is_file():
        return path
    raise ValueError(unknown("preset or config file", name, preset_names()))


def preset(name: str) -> dict[str, Any]:
    """Returns the config of a packaged preset, or of the file of that name.

    Raises:
        ValueError: for a file that is no config, which is named.
    """
    path = preset_path(name)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{printable(path)}: no YAML ({printable(' '.join(str(error).split()), MOST)})") from None
    config = {} if config is None else config
    wrong = (
        [group for group in GROUPS if not isinstance(config.get(group) or {}, dict)] if isinstance(config, dict) else []
    )
    if not isinstance(config, dict) or wrong:
        what = f"{wrong[0]} is" if wrong else "these are"
        raise ValueError(
            f"{printable(path)}: {what} no settings; names and values are accepted, as in {FOLDER.name}/music.yaml"
        )
    return config
