"""Lightning's errors, which are long and repeat their arguments, turned into one line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl

from helicon.formats.printable import MAX_QUOTED, printable
from helicon.training.usage_errors import UsageError

LIGHTNING = ("pytorch_lightning", "lightning_fabric")  # top-level packages


@contextmanager
def explaining_lightning() -> Iterator[None]:
    """Turn exceptions of Lightning's code in the `with` block into a UsageError of the option that they name.

    Exceptions raised by Helicon, PyTorch and the user's classes pass unchanged, and so does any OSError.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if not _is_lightnings(error):
            raise
        options = "|".join(inspect.signature(pl.Trainer).parameters)
        match = re.search(rf"\b({options})\b", text := " ".join(str(error).split()))
        option = f"trainer.{match[0]}" if match else "trainer"
        raise UsageError(f"--{option} is refused by Lightning: {printable(text, MAX_QUOTED)}", option) from error


def _is_lightnings(error: BaseException) -> bool:
    """Return whether the innermost frame of an exception's traceback is Lightning's."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return module.partition(".")[0] in LIGHTNING
