"""Model folder in Hugging Face's layout: config.json, and safetensors weights in one file or several."""

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
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"  # one file, or the list of several
MAX_NAME = 200  # characters of a shard's file name
PICKLES = (".bin", ".pt", ".pth", ".ckpt")  # suffixes of weights that are refused
BUFFERS = re.compile(r"h\.\d+\.attn\.(masked_)?bias")  # causal masks, which old versions of transformers saved


class ImportingError(ValueError):
    """A folder that cannot be imported; the message names the file and says what is accepted."""


@dataclass
class Checkpoint:
    """Config and float32 tensors of a model, by name without `transformer.`; each tensor is taken once.

    Attributes:
        folder: of the model.
        config: content of config.json, or the same settings of another file.
        tensors: name -> tensor not taken yet.
        source: name of the file with the settings, for messages.
    """

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    source: str = CONFIG

    @staticmethod
    def read(folder: Path) -> Checkpoint:
        """Read the config and all tensors of a folder, a `Path`, to a `Checkpoint`.

        Raises:
            ImportingError: the config or the list of weights is refused.
            WeightsError: the weights are damaged.
        """
        return Checkpoint(folder, read_json(folder / CONFIG), read_tensors(folder))

    def fault(self, message: str) -> ImportingError:
        """Return an error, to be raised, whose text is the path of the settings and the message."""
        return ImportingError(f"{self.folder / self.source}: {message}")

    def positive_int(self, key: str, default: Any = None) -> int:
        """Return a setting that is a positive integer.

        Args:
            key: name of the setting in config.json.
            default: value where the key is missing.

        Returns:
            The number.

        Raises:
            ImportingError: any other value.
        """
        value = self.config.get(key, default)
        if type(value) is not int or value < 1:
            raise self.fault(f"{key} {shown(value)}: a whole number above 0 is accepted")
        return value

    def option(self, key: str, default: Any, accepted: Collection[Any]) -> Any:
        """Return a setting that changes the computation.

        Args:
            key: name of the setting in config.json.
            default: value of transformers, where the key is missing.
            accepted: values that a GPT here supports.

        Returns:
            The value, one of `accepted`.

        Raises:
            ImportingError: any other value.
        """
        value = self.config.get(key, default)
        if not any(type(value) is type(choice) and value == choice for choice in accepted):
            raise self.fault(f"{key} {shown(value)}: accepted is {' or '.join(map(str, accepted))}")
        return value

    def take(self, name: str, *shape: int) -> Tensor:
        """Remove and return a tensor.

        Args:
            name: of the tensor, without `transformer.`.
            *shape: that it must have.

        Returns:
            The tensor, float32.

        Raises:
            ImportingError: the tensor is missing, or has another shape.
        """
        if name not in self.tensors:
            raise ImportingError(f"{self.folder}: no weights named {name}")
        tensor = self.tensors.pop(name)
        if tuple(tensor.shape) != shape:
            raise ImportingError(f"{self.folder}: {name} is {list(tensor.shape)}, {self.source} says {list(shape)}")
        return tensor


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file, which may be a link as in the cache of the Hugging Face Hub, to a dict.

    Raises:
        ImportingError: the file is no JSON, too large, or holds no JSON object.
    """
    try:
        content = json_files.read_json(path)
    except json_files.JsonError as error:
        raise ImportingError(str(error)) from None
    if not isinstance(content, dict):
        raise ImportingError(f"{printable(path)}: an object is expected, it holds {type(content).__name__}")
    return content


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read all weight files of a folder to name -> tensor, float32 on the CPU.

    Names are those of `tensor_name`; causal masks are left out.

    Raises:
        ImportingError: a name occurs twice, or a tensor is not floating point.
    """
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        for full, tensor in read_weights(path, links=True).items():
            name = tensor_name(full)
            if BUFFERS.fullmatch(name):
                continue
            if name in tensors or not tensor.is_floating_point():
                raise ImportingError(
                    f"{path}: {printable(full, 60)} {'is there twice' if name in tensors else f'holds {tensor.dtype}'}"
                )
            tensors[name] = tensor.to(torch.float32)
    return tensors


def tensor_name(full: str) -> str:
    """Return the name of a tensor without what wraps a model: torch.compile, DistributedDataParallel, its own class."""
    name = ".".join(part for part in full.split(".") if part != "_orig_mod")
    return name.removeprefix("module.").removeprefix("transformer.")


def weight_files(folder: Path) -> list[Path]:
    """Return the paths of the weight files of a folder: model.safetensors, or the sorted shards that its index names.

    Raises:
        ImportingError: there are only pickles or none, or the index names files elsewhere.
    """
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
    """Return True if the name can be that of a file beside the index."""
    return isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME and Path(name).name == name
