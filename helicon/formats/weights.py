"""Safetensors files: checked before anything is allocated, written atomically."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from helicon.formats.checked import fields, integer, sequence, shown, text
from helicon.formats.files import atomic_write, open_regular
from helicon.formats.json_files import parse_json
from helicon.formats.printable import MAX_QUOTED, printable

# Number formats in safetensors' names: those with fractions, and bytes of a number
FLOATS = {"F64", "F32", "F16", "BF16"}
SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
SIZES |= {"I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
LONGEST_HEADER = 8_000_000  # bytes
MAX_DIMENSIONS = 8  # of a tensor


class WeightsError(ValueError):
    """A weights file that is damaged or does not fit; the message names the file and the fault."""


class Claim(NamedTuple):
    """Shape and number format, in safetensors' names such as `F32`, of a tensor by the file's header."""

    shape: tuple[int, ...]
    dtype: str


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as a safetensors file, atomically.

    Args:
        path: path of the file.
        tensors: name -> tensor on any device.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def hash_weights(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 hash, 16 hexadecimal digits, of the names and values of tensors, name -> tensor."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(name.encode() + flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_weights(
    path: Path, expected: Mapping[str, Tensor] | None = None, device: torch.device | str = "cpu", links: bool = False
) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        path: path of the file.
        expected: name -> tensor, with the names, shapes and kinds (floating or not) that the file must have; None for
            any.
        device: of the result.
        links: True to accept a symbolic link to a regular file.

    Returns:
        Name -> tensor.

    Raises:
        WeightsError: the file is damaged, or its tensors are not the expected ones.
    """
    header = read_header(path, links)
    if expected is not None:
        _check_names(path, header, expected)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            return {name: file.get_tensor(name) for name in (header if expected is None else expected)}
    except SafetensorError as error:
        reason = printable(error, MAX_QUOTED)
        raise WeightsError(f"{printable(path)}: not a readable safetensors file ({reason})") from None


def _check_names(path: Path, header: Mapping[str, Claim], expected: Mapping[str, Tensor]) -> None:
    problems = [f"missing {name}" for name in expected.keys() - header.keys()]
    problems += [f"unexpected {printable(name, 60)}" for name in header.keys() - expected.keys()]
    for name, tensor in expected.items():
        default = Claim(tuple(tensor.shape), "F32" if tensor.is_floating_point() else "I64")
        shape, kind = header.get(name, default)
        if shape != tuple(tensor.shape):
            problems.append(f"{name} is {list(shape)}, the config says {list(tensor.shape)}")
        elif (kind in FLOATS) != tensor.is_floating_point():
            problems.append(f"{name} holds {kind}")
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        reason = printable("; ".join(sorted(problems)[:4]), MAX_QUOTED)
        raise WeightsError(f"{printable(path)}: weights do not fit the config: {reason}{more}")


def read_header(path: Path, links: bool = False) -> dict[str, Claim]:
    """Read the header of a safetensors file, before anything is allocated for its tensors.

    Tensors must follow one another and fill the file: the library itself accepts some trailing bytes.

    Args:
        path: path of the file, of which the header alone is read.
        links: True to accept a symbolic link to a regular file.

    Returns:
        Name -> `Claim` (shape, and number format such as `F32`).

    Raises:
        WeightsError: header and file do not agree, or the header is longer than 8 MB.
    """
    try:
        with open_regular(path, links) as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if len(head) < 8 or length > min(size - 8, LONGEST_HEADER):
                claims = f"its header claims {length:,} bytes of a file of {size:,}; {LONGEST_HEADER:,} are accepted"
                raise WeightsError(f"{printable(path)}: truncated, or {claims}")
            content = file.read(length)
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError | IsADirectoryError) else error.strerror
        raise WeightsError(f"{printable(path)}: {reason}") from None
    try:
        claims, end = _claims(parse_json(content))
    except ValueError as error:
        reason = printable(error, MAX_QUOTED)
        raise WeightsError(f"{printable(path)}: its safetensors header is damaged ({reason})") from None
    if 8 + length + end != size:
        claimed = f"{size:,} bytes, its header says {8 + length + end:,}"
        raise WeightsError(f"{printable(path)}: {claimed}: truncated or changed")
    return claims


def _claims(header: Any) -> tuple[dict[str, Claim], int]:
    """Validate a header and return claims by name and the end of the last tensor; raise ValueError for a bad one."""
    if not isinstance(header, dict):
        raise ValueError("no object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
        raise ValueError("__metadata__ holds no texts")
    byte_ranges, claims = [], {}
    for name, entry in header.items():
        where = printable(name, 60)
        entry = fields(where, entry, ("dtype", "shape", "data_offsets"))
        dtype, offsets = text(where, entry["dtype"]), sequence(where, entry["data_offsets"], 2)
        shape = [integer(where, axis, 0, 1 << 48) for axis in sequence(where, entry["shape"], MAX_DIMENSIONS)]
        begin, end = (integer(where, offset, 0, 1 << 62) for offset in (*offsets, -1)[:2])
        if dtype not in SIZES or end - begin != prod(shape) * SIZES[dtype]:
            raise ValueError(f"{where}: {shown(dtype)} {shape} does not fit bytes {begin} to {end}")
        byte_ranges.append((begin, end))
        claims[name] = Claim(tuple(shape), dtype)
    reached = 0
    for begin, end in sorted(byte_ranges):
        if begin != reached:
            raise ValueError(f"tensors overlap or leave a gap at byte {min(begin, reached)}")
        reached = end
    return claims, reached
