"""Files that appear whole or not at all: write beside the target, then rename over it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def default_cache() -> Path:
    """$HELICON_CACHE, or `helicon` in the user's cache folder."""
    if "HELICON_CACHE" in os.environ:
        return Path(os.environ["HELICON_CACHE"])
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "helicon"


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new path beside `path`, of the same suffix, for the block to write; it takes the target's name on success.

    Parent folders are made. After an error the target is as it was and the temporary file is gone.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept because writers of sound and pictures choose the format by it.
    temporary = target.with_name(f".{target.stem[:40]}-{uuid.uuid4().hex[:12]}{target.suffix}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to `path`, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` as UTF-8 with its newlines as they are on every system, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], obj: object) -> None:
    """Writes `obj` to `path` as JSON, atomically: sorted keys, so equal objects give equal bytes.

    ValueError for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(obj, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    # A name of a file that is not UTF-8 holds half surrogates, which JSON can only escape
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _flush_to_disk(path: Path) -> None:
    # Opened for writing because Windows refuses to flush a file that is open for reading only.
    with path.open("r+b") as file:
        os.fsync(file.fileno())
