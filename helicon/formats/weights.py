"""Named tensors as safetensors files: checked before anything is allocated, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from helicon.formats.files import atomic_write

FLOATS = {"F64", "F32", "F16", "BF16"}
LONGEST_HEADER = 100_000_000  # bytes


class WeightsError(ValueError):
    """A file of weights that is damaged, or not what was expected; the message names it and what is wrong."""


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes the tensors under their names."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def hash_weights(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names and values: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(name.encode() + flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_weights(
    path: Path, expected: Mapping[str, Tensor] | None = None, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Tensors of the file, once names, shapes and kinds (floating or not) are those of `expected`, if it is given."""
    check_safetensors(path)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            if expected is not None:
                found = {name: (tuple(item.get_shape()), item.get_dtype()) for name, item in slices.items()}
                _check_names(path, found, expected)
            return {name: file.get_tensor(name) for name in (slices if expected is None else expected)}
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None


def _check_names(
    path: Path, found: Mapping[str, tuple[tuple[int, ...], str]], expected: Mapping[str, Tensor]
) -> None:  # fmt: skip
    problems = [f"missing {name}" for name in expected.keys() - found.keys()]
    problems += [f"unexpected {name}" for name in found.keys() - expected.keys()]
    for name, tensor in expected.items():
        shape, kind = found.get(name, (tuple(tensor.shape), "F32" if tensor.is_floating_point() else "I64"))
        if shape != tuple(tensor.shape):
            problems.append(f"{name} is {list(shape)}, the config says {list(tensor.shape)}")
        elif (kind in FLOATS) != tensor.is_floating_point():
            problems.append(f"{name} holds {kind}")
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise WeightsError(f"{path}: weights do not fit the config: {'; '.join(sorted(problems)[:4])}{more}")


def check_safetensors(path: Path) -> None:
    """Header and length agree before anything is allocated; the library itself accepts some trailing bytes."""
    if not path.is_file():
        raise WeightsError(f"{path}: missing")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if len(head) < 8 or length > min(size - 8, LONGEST_HEADER):
            raise WeightsError(f"{path}: truncated, or its header claims {length} bytes of a file of {size}")
        try:
            header = json.loads(file.read(length))
            ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise WeightsError(f"{path}: its safetensors header is damaged") from None
    if 8 + length + max(ends, default=0) != size:
        claimed = 8 + length + max(ends, default=0)
        raise WeightsError(f"{path}: {size} bytes, its header says {claimed}: truncated or changed")
