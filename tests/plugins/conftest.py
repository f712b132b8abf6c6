"""Plugins of one test are those of no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helicon.plugins import loading


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    """Forgets what a test has loaded."""
    yield
    for plugin in [*loading._named.values()]:
        loading._forget(plugin)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
