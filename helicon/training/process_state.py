"""What a training changes in its process, and puts back when it ends."""

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

LIGHTNING = ("pytorch_lightning", "lightning_fabric")  # loggers that write by themselves


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Puts back random states, environment, threads, filters of warnings, levels of loggers, precision of products."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_matmul_precision_kept())
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(torch.set_rng_state, torch.get_rng_state())
        if torch.cuda.is_initialized():  # else its state is drawn as it is first used
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
    """Warnings, and what Lightning logs, go where progress goes, which is where they go by themselves by default."""
    if not is_redirected():
        yield
        return
    handlers = [each for name in LIGHTNING for each in logging.getLogger(name).handlers]
    before = [(each, each.stream) for each in handlers if type(each) is logging.StreamHandler]
    warnings.showwarning = _write_warning  # which catch_warnings puts back
    for handler, _ in before:
        handler.setStream(stream())
    try:
        yield
    finally:
        for handler, own in before:
            handler.setStream(own)


def _write_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    (file or stream()).write(warnings.formatwarning(message, category, filename, lineno, line))


@contextmanager
def _matmul_precision_kept() -> Iterator[None]:
    with float32_settings_kept(), ExitStack() as stack:
        with suppress(RuntimeError):  # where backends have been told one by one, there is no such setting to put back
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
