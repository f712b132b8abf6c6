"""matplotlib with its own settings: it obeys a `matplotlibrc` of the current folder, which may be a stranger's."""

from __future__ import annotations

import os
import sys
from unittest.mock import patch

FROM_HERE = "matplotlibrc"  # as it looks for the one of the current folder


def import_matplotlib() -> None:
    """Imports it, unless that was done. While it is imported, the current folder's settings are not there for it."""
    exists = os.path.exists
    if "matplotlib" not in sys.modules:
        with patch.object(os.path, "exists", lambda path: path != FROM_HERE and exists(path)):
            import matplotlib  # noqa: F401
