"""Plugins of one test are those of no other."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def by_itself(nothing_loaded):
    """Each test begins without plugins."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
