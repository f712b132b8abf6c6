"""Store of a request's ids on disk, so that the same request resumes where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from helicon.bundle.storage import CONFIG, WEIGHTS
from helicon.bundle.upsamplers import upsamplers_of
from helicon.formats.files import atomic_write, open_regular, write_json
from helicon.formats.json_files import JsonError, read_json
from helicon.generation.request import Request, RequestError
from helicon.generation.runtime import RuntimeConfig

MAX_RECORD_BYTES = 1 << 20  # of a JSON record, which may be somebody else's file


class ResumeStore:
    """Ids by level and item below a folder, of one request to one model; files of another request are removed.

    Args:
        folder: where they are kept.
        key: hash of the request, see `request_key`.

    Raises:
        RequestError: the folder has files that belong to no request.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, record = folder, folder / "request.json"
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        if there and record not in there:
            raise RequestError(f"{folder} has something else in it; levels are kept there, choose another -o")
        if self.record("request") != {"key": key}:
            for path in there:
                if path != record:  # removed last: without the record the folder would belong to no request
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(record, {"key": key})

    def record(self, name: str) -> Any:
        """Read the JSON record `name`.json of the folder; None if it is missing or damaged."""
        try:
            return read_json(self.folder / f"{name}.json", MAX_RECORD_BYTES, links=False)
        except JsonError:
            return None

    def get(self, level: str, place: int) -> np.ndarray | None:
        """Read the ids of an item.

        Args:
            level: name of the level.
            place: index of the item in the result.

        Returns:
            Local ids NumPy int64 [T]; None if they are missing or damaged.
        """
        try:
            open_regular(self._path(level, place), links=False).close()
            # Memory-mapped, so that a header that claims more than the file holds allocates nothing
            ids = np.load(self._path(level, place), mmap_mode="r", allow_pickle=False)
            return np.array(ids, np.int64) if isinstance(ids, np.ndarray) and ids.ndim == 1 else None
        except Exception:  # NumPy raises many types for bytes that are no .npy file
            return None

    def put(self, level: str, place: int, ids: np.ndarray) -> None:
        """Write the ids of an item atomically.

        Args:
            level: name of the level.
            place: index of the item in the result.
            ids: local ids, NumPy [T].
        """
        with atomic_write(self._path(level, place)) as temporary, open(temporary, "wb") as file:
            np.save(file, ids.astype(np.int32))

    def _path(self, level: str, place: int) -> Path:
        return self.folder / level / f"{place:03d}.npy"


def request_key(folder: Path, request: Request, runtime: RuntimeConfig) -> str:
    """Hash all that a result depends on: models, request, number format, and the files that the request names.

    Args:
        folder: bundle of the coarsest level, whose upsamplers count too.
        request: the `Request`.
        runtime: `RuntimeConfig`, device and number format.

    Returns:
        SHA-256 as 64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([request.record(), str(runtime)], default=str, sort_keys=True).encode())
    paths = [bundle / name for bundle in (folder, *upsamplers_of(folder)) for name in (CONFIG, WEIGHTS)]
    typed = [value for slot, value in request.conditions.items() if slot not in request.words]
    named = [*typed, *([str(request.prime)] if request.prime else [])]
    # os.path, because a long text, which names no file, is an error to Path.is_file
    for path in [*paths, *(name for name in named if os.path.isfile(name))]:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
