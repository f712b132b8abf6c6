"""What tests of sources share: a server on this machine, and no waits between tries."""

from collections.abc import Iterator

import pytest
from file_server import Server

from helicon.sources import download


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAITS_S", (0.0, 0.0, 0.0))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
