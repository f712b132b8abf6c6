"""Record of the pieces that a training left out for validation, so that later trainings leave them out, too.

Names are stored as hashes: a bundle is given away, and does not tell what its maker's files are called.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from helicon.formats.checked import fields, integer, sequence, text

# Hash of a piece's name -> first byte that is left out of training, 0 for the whole piece
ValidationRecord = Mapping[int, int]

HASH = np.dtype(">u8")  # 64 bits: two of ten million names have the same hash in one of 370,000 folders
MAX_PARTS = 1 << 16  # pieces of which a part is left out: one for each layout and each growth of a folder
MAX_PIECE_BYTES = 1 << 50  # more than a file system holds
MAX_HASHES = 24_000_000  # characters of the hashes: as many as a JSON file may have, two million pieces


def name_hash(name: str) -> int:
    """Return the hash of the name of a piece: the first 64 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[: HASH.itemsize], "big")


def join_records(*records: ValidationRecord) -> ValidationRecord:
    """Join records; of a piece in several, the largest part is left out."""
    joined: dict[int, int] = {}
    for record in records:
        for key, start in record.items():
            joined[key] = min(start, joined.get(key, start))
    return joined


def record_state(record: ValidationRecord) -> dict[str, Any]:
    """Return a record as JSON-able `whole`, the hashes in base64, and `parts`, a list of [hash, first byte]."""
    hashes = np.array(sorted(key for key, start in record.items() if not start), HASH)
    parts = [[f"{key:016x}", start] for key, start in sorted(record.items()) if start]
    return {"whole": base64.b64encode(hashes.tobytes()).decode(), "parts": parts}


def restore_record(state: Any) -> ValidationRecord:
    """Restore a record from the result of `record_state`, which may come from a stranger; None gives an empty one.

    Raises:
        ValueError: another form.
    """
    if state is None:  # written before there were records
        return {}
    state = fields("validation", state, ("whole", "parts"))
    hashes = base64.b64decode(text("whole", state["whole"], MAX_HASHES), validate=True)
    record = dict.fromkeys(np.frombuffer(hashes, HASH).tolist(), 0)
    for part in sequence("parts", state["parts"], MAX_PARTS):
        key, start = sequence("part", part, 2)
        record[int(text("hash", key, 16), 16)] = integer("start", start, 1, MAX_PIECE_BYTES)
    return record
