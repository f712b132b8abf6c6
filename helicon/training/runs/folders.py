"""Run folders: choice of a name, lock while a training writes, config.yaml, and checks before a run is resumed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from helicon.formats.files import read_regular, write_text
from helicon.formats.folder_lock import FolderInUse, FolderLock
from helicon.formats.printable import printable
from helicon.formats.temporary import clear_abandoned
from helicon.training.errors import TrainingError
from helicon.training.settings.places import found_from_here

CONFIG = "config.yaml"
FORMAT = 3  # of run folders; raised where an older version could not read a run right
HEADER_PREFIX = "# A run of helicon, format "
HEADER = f"{HEADER_PREFIX}{FORMAT}\n"  # first line of config.yaml
# Limits of a config, which may come from a stranger; ours have some hundred values in a few KB
MAX_CONFIG_BYTES = 1 << 17
MAX_VALUES = 2_000  # with YAML aliases expanded ("billion laughs")
MAX_BRACKETS = 500  # nested, they take PyYAML quadratic time
# Exceptions that PyYAML raises for damaged text, and for tags such as !!bool before a value of another type
YAML_ERRORS = (
    yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError,
)  # fmt: skip
RUN_FOLDERS = (".", "checkpoints", "model", "model/upsamplers", "samples")  # written to, relative to the run
DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quotas


def choose_run(runs: Path, name: str | None, default: str) -> Path:
    """Choose the folder of a new run.

    Args:
        runs: folder of all runs.
        name: of the run, whose folder has to be empty or new; None for the default.
        default: prefix of the first free DEFAULT-1, DEFAULT-2, ..., where there is no name.

    Returns:
        Path of the run's folder, `runs / name`, not made yet.

    Raises:
        TrainingError: the folder `name` has files.
    """
    if name:
        run = runs / name
        if run.exists() and (not run.is_dir() or any(run.iterdir())):
            raise TrainingError(f"{run} has something in it; choose another --name, or helicon train --resume {run}")
        return run
    number = 1
    # A training of two stages that was stopped in the first has a folder NAME-codec, but none NAME yet
    while any((runs / f"{default}-{number}{stage}").exists() for stage in ("", "-codec")):
        number += 1
    return runs / f"{default}-{number}"


def owns_checkpoint(run: Path, checkpoint: Path) -> bool:
    """Return True if a checkpoint lies in the run's folder `checkpoints`.

    Args:
        run: folder of the run.
        checkpoint: path of the file, which need not exist.

    Returns:
        True if it does; False also where one of the folders is missing.
    """
    try:
        return os.path.samefile(run / "checkpoints", checkpoint.parent)
    except OSError:
        return False


def check_regular_files(run: Path) -> None:
    """Validate that a run's folder has regular files and folders alone: links of a stranger's run could lead out of it.

    Raises:
        TrainingError: a link, pipe, socket or device, or an unreadable folder.
    """
    for folder, folders, files in os.walk(run, onerror=_raise):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "a device, pipe or socket"
                raise TrainingError(f"{printable(path)}: {kind}; a run to go on with has files and folders of its own")


def _raise(error: OSError) -> None:
    raise error


def run_text(config: Mapping[str, Any]) -> str:
    """Return the text of a run's config.yaml: the nested dict without `name` and `runs`, to start other runs by."""
    kept = {name: value for name, value in config.items() if name not in ("name", "runs")}
    return HEADER + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def check_format(config: Path) -> None:
    """Validate the format of a config file (path): that of this version, or none, as hand-written configs have.

    Raises:
        TrainingError: the config is of a run of another format.
    """
    with config.open(encoding="utf-8", errors="replace") as file:
        first = file.readline(len(HEADER) + 1)
    if first.startswith(HEADER_PREFIX) and first != HEADER:
        raise TrainingError(f"{printable(config)}: of another format of runs; this version of helicon reads {FORMAT}")


def read_config(run: Path) -> dict[str, Any]:
    """Return the config of the run in a folder, as a nested dict; its paths are as seen from the current folder.

    Raises:
        TrainingError: config.yaml is missing, damaged, of another format, too large, or repeats itself by aliases.
    """
    path = run / CONFIG
    if not path.exists():
        reason = "no such run" if not run.exists() else f"no run: {CONFIG} is missing"
        raise TrainingError(f"{printable(run)}: {reason}")
    try:
        text = read_regular(path, MAX_CONFIG_BYTES, links=False).decode("utf-8")
        if not text.startswith(HEADER):
            raise TrainingError(f"{printable(path)}: config of another format than {FORMAT}, the one of this version")
        if text.count("[") + text.count("{") > MAX_BRACKETS:  # nested, they take PyYAML quadratic time
            raise TrainingError(f"{printable(path)}: more than {MAX_BRACKETS:,} brackets; no config of a run")
        if (node := yaml.compose(text, yaml.SafeLoader)) is not None and _count_values(node, {}) > MAX_VALUES:
            raise TrainingError(f"{printable(path)}: more than {MAX_VALUES:,} values; no config of a run")
        config = yaml.safe_load(text)
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None
    except YAML_ERRORS as error:
        reason = printable(" ".join(str(error).split()), 150)
        raise TrainingError(f"{printable(path)}: no config that can be read ({reason})") from None
    if not isinstance(config, dict):
        raise TrainingError(f"{printable(path)}: no config of a run")
    if not _fits_64_bits(config):  # Python refuses to print huge integers, which YAML can have in hexadecimal
        raise TrainingError(f"{printable(path)}: a whole number beyond 64 bits; no config of a run")
    try:
        return found_from_here(config, run)
    except ValueError as error:
        raise TrainingError(f"{printable(path)}: {error}") from None


def _fits_64_bits(value: Any) -> bool:
    """Return whether all integers in a nested value fit a signed 64-bit integer."""
    if isinstance(value, dict):
        return all(_fits_64_bits(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return all(map(_fits_64_bits, value))
    return not isinstance(value, int) or value.bit_length() < 64


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """Return the number of values below a node, aliases expanded; `counts` caches them by the id of a node."""
    if id(node) not in counts:
        counts[id(node)] = MAX_VALUES + 1  # counted should the node contain itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
        counts[id(node)] = 1 + sum(_count_values(part, counts) for part in inner)
    return counts[id(node)]


def folder_options(run: Path) -> dict[str, str]:
    """Return {"runs": parent folder, "name": name}, the options that choose a run's folder."""
    run = run if run.name not in ("", "..") else Path(os.path.abspath(run))
    return {"runs": str(run.parent), "name": run.name}


def check_writable(run: Path) -> None:
    """Make a run's folder and probe that files can be written in it, before any work is done for nothing.

    Raises:
        TrainingError: a folder, or metrics.csv, cannot be written.
    """
    place = run
    try:
        run.mkdir(parents=True, exist_ok=True)
        for place in (run / name for name in RUN_FOLDERS):
            if place.exists():
                probe = place / f".probe-{os.getpid()}"
                probe.touch()
                probe.unlink()
        if (place := run / "metrics.csv").exists():
            place.open("ab").close()
    except OSError as error:
        raise TrainingError(f"{place}: cannot write there ({error.strerror})") from None


def write_failure(error: OSError, run: Path) -> TrainingError:
    """Return the error of a failed write: which file, what is safe, and how to resume.

    Args:
        error: `OSError` of the write.
        run: folder of the run.

    Returns:
        The `TrainingError` to raise.
    """
    last = run / "checkpoints" / "last.ckpt"
    remedy = "free some space" if error.errno in DISK_FULL else "see that it can be written"
    if last.is_file():
        safe = f"{last} is intact: {remedy}, then helicon train --resume {run}"
    else:
        kept = f"{run / 'model'} holds what was learned, " if (run / "model").is_dir() else ""
        safe = f"{kept}no checkpoint was saved before: {remedy} and start again"
    return TrainingError(f"{error.filename or run}: could not be written ({error.strerror}); {safe}")


class RunFolder(pl.Callback):
    """Callback that locks the run folder while it trains, and writes config.yaml of a new run.

    Args:
        run: folder of the run.
        config: returns the text of config.yaml; called once the data are there.
        resuming: whether the run is resumed, whose config stays.
    """

    def __init__(self, run: Path, config: Callable[[], str], resuming: bool) -> None:
        self.run, self.config, self.resuming = run, config, resuming
        self.lock = FolderLock(run)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit" or not trainer.is_global_zero:
            return
        check_writable(self.run)
        try:
            self.lock.acquire()
        except FolderInUse:
            raise TrainingError(f"{self.run}: another training is writing to this folder") from None
        for folder in RUN_FOLDERS:
            clear_abandoned(self.run / folder)
        if self.resuming:
            return
        if (self.run / CONFIG).exists():
            self.lock.release()
            raise TrainingError(f"{self.run}: another training has taken this folder; choose a --name")
        write_text(self.run / CONFIG, self.config())

    def _check(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        trains = trainer.state.fn == "fit" and not trainer.sanity_checking
        if trains and trainer.is_global_zero and not self.lock.is_held():
            raise TrainingError(
                f"{self.run}: this folder was moved or removed as it was trained in; stopped at step "
                f"{trainer.global_step}, of which nothing is saved"
            )

    # Before the other callbacks of a run, which would make the folder once more
    on_train_batch_end = on_validation_end = on_train_end = on_fit_end = _check

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.lock.release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.lock.release()
