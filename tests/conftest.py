"""What tests of several folders share, and how they share the machine: a worker a core, one thread each."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read as PyTorch is imported, here and in subprocesses
import torch
from plugins.loaded import fresh
from pretend_card import Card, pretend_card

MAX_WORKERS = 8  # each imports PyTorch, which takes seconds and 300 MB
OWN_CACHE = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Folders run on all cores, files that are named in this process; `-n` says otherwise.

    Here and not in `addopts`, which would be refused with `-p no:xdist`.
    """
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    option = config.option
    if option.numprocesses is None and option.dist == "no" and all(Path(each).is_dir() for each in config.args):
        option.numprocesses = "auto"
    if option.numprocesses and option.dist == "no":
        option.dist = "worksteal"  # halves of the list: what a module makes once is rarely made twice


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Cores that this process may use."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return min(len(allowed), MAX_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """All workers share a cache of this run alone: the user's is neither read nor filled.

    Ctrl-C works even where the suite is started in the background, whose processes ignore it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.stash[OWN_CACHE] = os.environ["HELICON_CACHE"] = tempfile.mkdtemp(prefix="helicon-tests-")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What lives as long as the process, modules and tests, is not looked through whenever garbage is collected.

    There are millions of objects: without this a quarter of the time goes there.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes it."""
    if OWN_CACHE in config.stash:
        shutil.rmtree(config.stash[OWN_CACHE], ignore_errors=True)


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


@pytest.fixture
def nothing_loaded() -> Iterator[None]:
    """Forgets the plugins that a test has loaded."""
    yield
    fresh()
