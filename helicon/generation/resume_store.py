"""Ids that a request has made so far, on disk, so that the same request goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from helicon.bundle.storage import CONFIG, WEIGHTS
from helicon.bundle.upsamplers import upsamplers_of
from helicon.formats.files import atomic_write, open_regular, write_json
from helicon.formats.json_files import JsonError, read_json
from helicon.generation.request import Request, RequestError
from helicon.generation.runtime import RuntimeConfig

LARGEST_RECORD = 1 << 20  # bytes of what is kept as JSON


class ResumeStore:
    """Ids of each level and item below a folder, of one request to one model; those of another are removed.

    RequestError for a folder with something in it that is of no request.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, record = folder, folder / "request.json"
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        if there and record not in there:
            raise RequestError(f"{folder} has something else in it; levels are kept there, choose another -o")
        if self.record("request") != {"key": key}:
            for path in there:
                if path != record:  # which goes last, or the rest would be of no request
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(record, {"key": key})

    def record(self, name: str) -> Any:
        """What was written as JSON, if it is whole."""
        try:
            return read_json(self.folder / f"{name}.json", LARGEST_RECORD, links=False)
        except JsonError:
            return None

    def get(self, level: str, place: int) -> np.ndarray | None:
        """Ids, if they were made and are whole."""
        try:
            open_regular(self._path(level, place), links=False).close()
            # Mapped, so that a header which claims more than the file holds allocates nothing
            ids = np.load(self._path(level, place), mmap_mode="r", allow_pickle=False)
            return np.array(ids, np.int64) if isinstance(ids, np.ndarray) and ids.ndim == 1 else None
        except Exception:  # whatever NumPy comes upon in bytes that are none of its files
            return None

    def put(self, level: str, place: int, ids: np.ndarray) -> None:
        """Keeps them, whole or not at all."""
        with atomic_write(self._path(level, place)) as temporary, open(temporary, "wb") as file:
            np.save(file, ids.astype(np.int32))

    def _path(self, level: str, place: int) -> Path:
        return self.folder / level / f"{place:03d}.npy"


def request_key(folder: Path, request: Request, runtime: RuntimeConfig) -> str:
    """Hash of all that the result depends on: the models, the request, the files that it names."""
    digest = hashlib.sha256(json.dumps([asdict(request), str(runtime)], default=str, sort_keys=True).encode())
    paths = [bundle / name for bundle in (folder, *upsamplers_of(folder)) for name in (CONFIG, WEIGHTS)]
    typed = [value for slot, value in request.given.items() if slot not in request.words]
    named = [*typed, *([str(request.prime)] if request.prime else [])]
    # os.path, because a long text, which names no file, is an error to Path.is_file
    for path in [*paths, *(name for name in named if os.path.isfile(name))]:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
