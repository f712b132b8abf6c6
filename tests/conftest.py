"""What tests of several folders share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pretend_card import Card, pretend_card


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real media beside the checkout; skips where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data beside the checkout")
    return folder


@pytest.fixture(scope="module")  # module: also for what a module makes once
def one_thread() -> Iterator[None]:
    """Small tensors: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(
    params=[
        "pretended",
        pytest.param(
            "real", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
        ),
    ]
)
def card(request: pytest.FixtureRequest) -> Iterator[Card]:
    """`cuda`, pretended and, where there is one, real: what does not know its place fails on either."""
    if request.param == "real":
        yield Card(real=True)
        return
    with pretend_card() as pretended:
        yield pretended
