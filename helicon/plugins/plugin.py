"""A plugin by name: a file of the user's own with its hash, or an installed package with its version."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helicon.formats.checked import texts
from helicon.formats.printable import MAX_QUOTED, printable

# A plugin's file as a run, bundle or user names it
_FILE = re.compile(r"(?P<file>.+\.py)(#sha256=(?P<stamp>[0-9a-f]{64}))?")
# An installed plugin as a run or bundle names it
_PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]{0,100})==(?P<stamp>[\w.+!-]{1,60})")
SHOWN = 12  # digits of a hash in messages
MAX_PLUGINS = 32  # that a config, run, bundle or codec lists; they may come from a stranger


class PluginError(ValueError):
    """Error of a plugin that is missing or cannot be loaded; the message names file and line, and a remedy."""


@dataclass(frozen=True)
class Plugin:
    """Code of the user's own.

    Args:
        name: of the file, without its suffix, or of the installed package.
        stamp: sha256 of the file in hexadecimal, or the version of the package; empty where it may be any.
        file: None of a package.
    """

    name: str
    stamp: str
    file: Path | None = None

    @staticmethod
    def of_file(file: Path) -> Plugin:
        """Make the `Plugin` of a Python file's path, stamped with its present hash; OSError if it cannot be read."""
        return Plugin(file.stem, hashlib.sha256(file.read_bytes()).hexdigest(), Path(os.path.abspath(file)))

    @staticmethod
    def parse(text: str) -> Plugin:
        """Parse `str(plugin)`, or a path that a user types, `my.py`, to a `Plugin`; PluginError for anything else."""
        if isinstance(text, str) and (match := _FILE.fullmatch(text)):
            return Plugin(Path(match["file"]).stem, match["stamp"] or "", Path(match["file"]))
        if isinstance(text, str) and (match := _PACKAGE.fullmatch(text)):
            return Plugin(match["name"], match["stamp"])
        advice = "a Python file, NAME.py, is accepted; installed packages need not be named"
        raise PluginError(f"--plugin {printable(text, MAX_QUOTED)}: {advice}")

    def __str__(self) -> str:
        """As a run records it: `/home/me/my.py#sha256=...` or `my-package==1.0`."""
        return f"{self.file}#sha256={self.stamp}" if self.file else f"{self.name}=={self.stamp}"

    @property
    def placeless(self) -> str:
        """Text as a bundle records it, which may go anywhere: `my.py#sha256=...`."""
        return f"{self.file.name}#sha256={self.stamp}" if self.file else str(self)

    @property
    def title(self) -> str:
        """Text of path or name with the version, for messages."""
        return f"{printable(self.file or self.name, MAX_QUOTED)} ({self.version})"

    @property
    def version(self) -> str:
        """Text of the abbreviated hash or the version, for messages."""
        return f"sha256 {self.stamp[:SHOWN]}" if self.file else f"version {self.stamp}"


def plugin_list(value: Any) -> list[str]:
    """Validate a list of plugins, as a config or bundle has it, and return it.

    ValueError unless it is a list of up to MAX_PLUGINS texts.
    """
    return texts("plugins", value, MAX_PLUGINS)
