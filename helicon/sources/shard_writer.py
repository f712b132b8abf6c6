"""Write tar shards of samples: members of one key are one example, and the key's first folder is its label."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from helicon.formats.files import atomic_write

SHARD_BYTES, SHARD_SAMPLES = 256 << 20, 10_000  # after which a shard is closed: what has to be made again after a stop
MAX_LABEL = 100  # characters
_NO_PART = re.compile(r"[\x00-\x1f\x7f/\\]+")  # what would make a label more than one folder


class Sample(NamedTuple):
    """Example of a shard: suffix, such as `.png`, -> content of the file; and its label, empty for none."""

    files: Mapping[str, bytes]
    label: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def write_shard(path: Path, samples: Iterable[Sample], first: int) -> tuple[int, int]:
    """Write samples to a shard until it is full, atomically; equal samples give equal bytes and modification times.

    Args:
        path: path of the shard.
        samples: `Sample`s, of which no more are taken than are written.
        first: number of the first sample, by which it is named.

    Returns:
        (number of samples written, size of the shard in bytes); (0, 0), and no file, where there are none.
    """
    number = first
    with atomic_write(path) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as shard:
            size = 0
            for sample in samples:
                label = f"{folder_name(sample.label)}/" if folder_name(sample.label) else ""
                for suffix, data in sample.files.items():
                    member = tarfile.TarInfo(f"{label}{number:09d}{suffix}")
                    member.size = len(data)
                    shard.addfile(member, BytesIO(data))
                number, size = number + 1, size + sample.size
                if size >= SHARD_BYTES or number - first >= SHARD_SAMPLES:
                    break
        modified = _modified(temporary)
        os.utime(temporary, (modified, modified))
    if number == first:
        path.unlink()
        return 0, 0
    return number - first, path.stat().st_size


def folder_name(label: str) -> str:
    """Return a label as the name of one folder that is not hidden; empty for none."""
    return _NO_PART.sub("-", label).strip(" .")[:MAX_LABEL]


def _modified(path: Path) -> int:
    """Return a time of modification, seconds since 1970, that is a function of a file's content."""
    with path.open("rb") as file:
        return int.from_bytes(hashlib.file_digest(file, "sha256").digest()[:4], "big") >> 1  # 31 bits
