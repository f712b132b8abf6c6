"""Process-wide state that a training changes, and that is restored when it ends."""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch

from helicon.formats.progress import is_redirected, stream
from helicon.vqvae.precision import float32_settings_kept

LIGHTNING = ("pytorch_lightning", "lightning_fabric")  # Python loggers with handlers of their own


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Restore random states, environment, threads, warning filters, log levels and matmul precision after the block."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_matmul_precision_kept())
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_initialized():  # else a seed is drawn at its first use, and there is no state yet
            stack.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        deterministic = torch.are_deterministic_algorithms_enabled()
        stack.callback(torch.use_deterministic_algorithms, deterministic, warn_only=warn_only)
        for name in ("benchmark", "deterministic"):
            stack.callback(setattr, torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
        stack.callback(_set_environment, dict(os.environ))
        stack.callback(_set_levels, _levels())
        stack.enter_context(_logging_redirected())
        yield


@contextmanager
def _logging_redirected() -> Iterator[None]:
    """Redirect warnings and Lightning's log to the stream of progress messages, where that is redirected."""
    if not is_redirected():
        yield
        return
    handlers = [handler for name in LIGHTNING for handler in logging.getLogger(name).handlers]
    before = [(handler, handler.stream) for handler in handlers if type(handler) is logging.StreamHandler]
    warnings.showwarning = _write_warning  # restored by catch_warnings
    for handler, _ in before:
        handler.setStream(stream())
    try:
        yield
    finally:
        for handler, original in before:
            handler.setStream(original)


def _write_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    (file or stream()).write(warnings.formatwarning(message, category, filename, lineno, line))


@contextmanager
def _matmul_precision_kept() -> Iterator[None]:
    with float32_settings_kept(), ExitStack() as stack:
        # PyTorch raises where the user has set precisions per backend: there is no global one then
        with suppress(RuntimeError):
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        yield


def _set_environment(before: dict[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


def _levels() -> dict[str, int]:
    loggers = logging.root.manager.loggerDict
    return {name: logger.level for name, logger in loggers.items() if isinstance(logger, logging.Logger)}


def _set_levels(before: dict[str, int]) -> None:
    for name in _levels():
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))
