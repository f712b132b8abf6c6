"""Lightning's own refusals, whose words are long and repeat what they were given, in one line of ours."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl

from helicon.formats.printable import MOST, printable
from helicon.training.options import UsageError

LIGHTNING = ("pytorch_lightning", "lightning_fabric")  # packages


@contextmanager
def explaining_lightning() -> Iterator[None]:
    """While it lasts, an exception that Lightning's own code raises becomes a UsageError, of the option that it names.

    What ours, PyTorch and the user's classes raise stays, and so do errors of files.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if not _is_lightnings(error):
            raise
        options = "|".join(inspect.signature(pl.Trainer).parameters)
        found = re.search(rf"\b({options})\b", text := " ".join(str(error).split()))
        option = f"trainer.{found[0]}" if found else "trainer"
        raise UsageError(f"--{option} is refused by Lightning: {printable(text, MOST)}", option) from error


def _is_lightnings(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return module.partition(".")[0] in LIGHTNING
