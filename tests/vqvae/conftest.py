"""Small networks, for which threads would only wait for each other."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def always_one_thread(one_thread: None) -> None:
    """Every network here is tiny."""
