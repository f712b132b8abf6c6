"""Run folders: how one is chosen, claimed while it is written to, and checked before a run is gone on with."""

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

CONFIG = "config.yaml"
FORMAT = 3
KIND = "# A run of helicon, format "
HEADER = f"{KIND}{FORMAT}\n"
LARGEST_CONFIG = 1 << 17  # bytes
MOST_VALUES = 2_000  # of a config, once what it repeats by name is written out
MOST_BRACKETS = 500
# What PyYAML raises for what is none, also of a tag such as !!bool before it
NO_CONFIG = (
    yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError,
)  # fmt: skip
WRITTEN = (".", "checkpoints", "model", "model/upsamplers", "samples")  # folders of a run
NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def choose_run(runs: Path, name: str | None, default: str) -> Path:
    """`runs/NAME`, which must be empty or new, or the first free `runs/DEFAULT-N`."""
    if name:
        run = runs / name
        if run.exists() and (not run.is_dir() or any(run.iterdir())):
            raise TrainingError(f"{run} has something in it; choose another --name, or helicon train --resume {run}")
        return run
    number = 1
    while any((runs / f"{default}-{number}{stage}").exists() for stage in ("", "-codec")):  # that was stopped at it
        number += 1
    return runs / f"{default}-{number}"


def owns(run: Path, checkpoint: Path) -> bool:
    """Whether a checkpoint lies in the run's own folder of them."""
    try:
        return os.path.samefile(run / "checkpoints", checkpoint.parent)
    except OSError:
        return False


def check_own_files(run: Path) -> None:
    """TrainingError for links, pipes and devices in a run, which may be somebody else's: they lead out of it."""
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
    """The text of a run's config.yaml: a config without the run's place, so that it also makes another run."""
    kept = {name: value for name, value in config.items() if name not in ("name", "runs")}
    return HEADER + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def check_format(config: Path) -> None:
    """TrainingError for the config of a run of another format; a config of one's own has none."""
    with config.open(encoding="utf-8", errors="replace") as file:
        first = file.readline(len(HEADER) + 1)
    if first.startswith(KIND) and first != HEADER:
        raise TrainingError(f"{printable(config)}: of another format of runs; this version of helicon reads {FORMAT}")


def read_config(run: Path) -> dict[str, Any]:
    """What a run was configured by.

    Raises:
        TrainingError: for what is no config, of another format, too large, or names itself over and over.
    """
    path = run / CONFIG
    if not path.exists():
        reason = "no such run" if not run.exists() else f"no run: {CONFIG} is missing"
        raise TrainingError(f"{printable(run)}: {reason}")
    try:
        text = read_regular(path, LARGEST_CONFIG, links=False).decode("utf-8")
        if not text.startswith(HEADER):
            raise TrainingError(f"{printable(path)}: not of a run of format {FORMAT}, which this version goes on with")
        if text.count("[") + text.count("{") > MOST_BRACKETS:  # nested, they take PyYAML quadratic time
            raise TrainingError(f"{printable(path)}: more than {MOST_BRACKETS:,} brackets; no config of a run")
        if (node := yaml.compose(text, yaml.SafeLoader)) is not None and _values(node, {}) > MOST_VALUES:
            raise TrainingError(f"{printable(path)}: more than {MOST_VALUES:,} values; no config of a run")
        config = yaml.safe_load(text)
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None
    except NO_CONFIG as error:
        reason = printable(" ".join(str(error).split()), 150)
        raise TrainingError(f"{printable(path)}: no config that can be read ({reason})") from None
    if not isinstance(config, dict):
        raise TrainingError(f"{printable(path)}: no config of a run")
    if not _short_numbers(config):  # as hexadecimal ones may be, which Python refuses to write out
        raise TrainingError(f"{printable(path)}: a whole number beyond 64 bits; no config of a run")
    return config


def _short_numbers(value: Any) -> bool:
    """Whether no whole number in it takes more than 64 bits, the sign included."""
    if isinstance(value, dict):
        return all(_short_numbers(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return all(map(_short_numbers, value))
    return not isinstance(value, int) or value.bit_length() < 64


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Values below a node with all repetitions; counted once each."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # should it be a part of itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
        known[id(node)] = 1 + sum(_values(part, known) for part in inner)
    return known[id(node)]


def named(run: Path) -> dict[str, str]:
    """Options that choose a run's folder."""
    run = run if run.name not in ("", "..") else Path(os.path.abspath(run))
    return {"runs": str(run.parent), "name": run.name}


def check_writable(run: Path) -> None:
    """TrainingError unless files can be made in a run's folders, before any work is done for nothing."""
    place = run
    try:
        run.mkdir(parents=True, exist_ok=True)
        for place in (run / name for name in WRITTEN):
            if place.exists():
                probe = place / f".probe-{os.getpid()}"
                probe.touch()
                probe.unlink()
        if (place := run / "metrics.csv").exists():
            place.open("ab").close()
    except OSError as error:
        raise TrainingError(f"{place}: cannot write there ({error.strerror})") from None


def write_failure(error: OSError, run: Path) -> TrainingError:
    """What could not be written, what is safe, and how to go on."""
    last = run / "checkpoints" / "last.ckpt"
    remedy = "free some space" if error.errno in NO_ROOM else "see that it can be written"
    if last.is_file():
        safe = f"{last} is intact: {remedy}, then helicon train --resume {run}"
    else:
        kept = f"{run / 'model'} holds what was learned, " if (run / "model").is_dir() else ""
        safe = f"{kept}no checkpoint was saved before: {remedy} and start again"
    return TrainingError(f"{error.filename or run}: could not be written ({error.strerror}); {safe}")


class RunFolder(pl.Callback):
    """Claims RUN before the first step, and holds it as long as it trains: no other process, its config on record."""

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
        for folder in WRITTEN:
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
