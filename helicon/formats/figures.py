"""Import of matplotlib without the `matplotlibrc` of the current folder, which may come from a stranger."""

from __future__ import annotations

import os
import sys
from unittest.mock import patch

FROM_HERE = "matplotlibrc"  # path by which matplotlib looks for the settings of the current folder


def import_matplotlib() -> None:
    """Import matplotlib once, with the current folder's settings hidden from it."""
    exists = os.path.exists
    if "matplotlib" not in sys.modules:
        with patch.object(os.path, "exists", lambda path: path != FROM_HERE and exists(path)):
            import matplotlib  # noqa: F401
