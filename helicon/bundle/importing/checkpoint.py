"""A model folder in Hugging Face's layout: config.json, and safetensors weights in one file or several."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helicon.formats import json_files
from helicon.formats.checked import shown
from helicon.formats.printable import printable
from helicon.formats.weights import read_weights

CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
LONGEST_NAME = 200  # characters of a shard's
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
BUFFERS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # causal masks, which old files carry


class ImportingError(ValueError):
    """A folder that cannot be imported; the message names the file and says what is accepted."""


@dataclass
class Checkpoint:
    """Settings of a model and its tensors, float32, by their names without `transformer.`; each is taken once."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @staticmethod
    def read(folder: Path) -> Checkpoint:
        """Opens a folder. ImportingError or WeightsError, in one line, for what cannot be read."""
        return Checkpoint(folder, read_json(folder / CONFIG), read_tensors(folder))

    def fault(self, message: str) -> ImportingError:
        """An error that names the settings' file."""
        return ImportingError(f"{self.folder / CONFIG}: {message}")

    def positive_int(self, key: str, default: Any = None) -> int:
        """A setting that is a whole number above 0; ImportingError for anything else."""
        value = self.config.get(key, default)
        if type(value) is not int or value < 1:
            raise self.fault(f"{key} {shown(value)}: a whole number above 0 is accepted")
        return value

    def option(self, key: str, default: Any, accepted: Collection[Any]) -> Any:
        """A setting that changes what is computed; ImportingError unless it is one that a GPT here can have."""
        value = self.config.get(key, default)
        if not any(type(value) is type(each) and value == each for each in accepted):
            raise self.fault(f"{key} {shown(value)}: accepted is {' or '.join(map(str, accepted))}")
        return value

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor of that name and shape, which is then no longer here; ImportingError when there is none."""
        if name not in self.tensors:
            raise ImportingError(f"{self.folder}: no weights named {name}")
        tensor = self.tensors.pop(name)
        if tuple(tensor.shape) != shape:
            raise ImportingError(f"{self.folder}: {name} is {list(tensor.shape)}, {CONFIG} says {list(shape)}")
        return tensor


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ImportingError when there is none in it, or more than is accepted.

    The file may be a link, as those in the cache of the Hugging Face Hub are.
    """
    try:
        found = json_files.read_json(path)
    except json_files.JsonError as error:
        raise ImportingError(str(error)) from None
    if not isinstance(found, dict):
        raise ImportingError(f"{printable(path)}: an object is expected, it holds {type(found).__name__}")
    return found


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Name without `transformer.` -> float32 tensor, of all files; causal masks, which are no weights, are not."""
    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        for full, tensor in read_weights(path, links=True).items():
            name = full.removeprefix("transformer.")
            if BUFFERS.fullmatch(name):
                continue
            if name in found or not tensor.is_floating_point():
                raise ImportingError(
                    f"{path}: {printable(full, 60)} {'is there twice' if name in found else f'holds {tensor.dtype}'}"
                )
            found[name] = tensor.to(torch.float32)
    return found


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or the shards that its index names; ImportingError where there are only pickles, or none."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        shards = read_json(folder / INDEX).get("weight_map")
        names = list(shards.values()) if isinstance(shards, dict) else []
        if not names or not all(map(_is_name, names)):
            raise ImportingError(f"{folder / INDEX}: weight_map must name files of weights beside it")
        return [folder / name for name in sorted(set(names))]
    pickles = sorted(path for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise ImportingError(
            f"{pickles[0]}: a pickle, which can run any code, is never opened; {WEIGHTS} is accepted. If you trust it, "
            "transformers' from_pretrained(FOLDER) and then save_pretrained(NEW_FOLDER) write one"
        )
    raise ImportingError(f"{folder}: no {WEIGHTS} or {INDEX}")


def _is_name(name: object) -> bool:
    """Whether it can be that of a file beside its index."""
    return isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_NAME and Path(name).name == name
