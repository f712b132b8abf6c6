"""A model on disk, whole: safetensors weights and one JSON of layouts, vocabulary and tokenizers. No code is loaded."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import helicon
from helicon.formats.files import atomic_write, write_json
from helicon.gpt.model import GPT, Shape
from helicon.modalities import registry
from helicon.sequence.layout import Layout, Schema
from helicon.tokenizers.sequencer import Sequencer

FORMAT = 1
FLOATS = {"F64", "F32", "F16", "BF16"}
WEIGHTS, CONFIG = "model.safetensors", "bundle.json"


class BundleError(ValueError):
    """A folder that is no bundle, or one that is damaged; the message names the file and what is wrong."""


@dataclass
class Bundle:
    """A GPT with everything that turns its tokens into media. `notes` tell how it was made and what it reached."""

    gpt: GPT
    sequencer: Sequencer
    choices: dict[str, str]  # slot -> name of its tokenizer
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """Layouts, vocabulary and coordinate axes."""
        return self.sequencer.schema

    def hash(self) -> str:
        """Hash of all weights: 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.gpt.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def make_gpt(shape: Shape, schema: Schema) -> GPT:
    """A GPT for that schema, freshly initialised."""
    return GPT(shape, len(schema.vocabulary), schema.places, rope=schema.positions == "rope")


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Writes `folder`, each file whole or not at all: the weights first, so that a new JSON never has old weights."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in bundle.gpt.state_dict().items()}
    with atomic_write(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(weights))
    schema = bundle.schema
    write_json(
        folder / CONFIG,
        {
            "format": FORMAT,
            "helicon": helicon.__version__,
            "shape": asdict(bundle.gpt.shape),
            "context": schema.context,
            "positions": schema.positions,
            "layouts": [str(layout) for layout in schema.layouts],
            "vocabulary": {"size": len(schema.vocabulary), "fingerprint": schema.vocabulary.fingerprint},
            "tokenizers": {
                slot: {"name": name, "state": bundle.sequencer.tokenizers[slot].state()}
                for slot, name in bundle.choices.items()
            },
            "notes": bundle.notes,
        },
    )


def find_bundle(path: Path) -> Path:
    """The bundle folder of a run or of a bundle; BundleError says what was looked for."""
    for folder in (path, path / "model"):
        if (folder / CONFIG).is_file():
            return folder
    if not path.exists():
        raise BundleError(f"{path}: no such run or bundle")
    raise BundleError(f"{path}: neither a bundle ({CONFIG}, {WEIGHTS}) nor a run with one in model/")


def load_bundle(path: Path, device: torch.device | str = "cpu") -> Bundle:
    """Reads the bundle of a run or of a bundle folder. BundleError names the file and what is wrong with it."""
    folder = find_bundle(path)
    config = _read_config(folder / CONFIG)
    try:
        choices = {slot: str(item["name"]) for slot, item in config["tokenizers"].items()}
        states = {slot: item["state"] for slot, item in config["tokenizers"].items()}
        tokenizers = {slot: registry.factory(slot, choices[slot]).from_state(states[slot]) for slot in choices}
        layouts = [Layout.parse(spec) for spec in config["layouts"]]
        sequencer = Sequencer(layouts, tokenizers, int(config["context"]), str(config["positions"]))
        vocabulary, expected = sequencer.schema.vocabulary, config["vocabulary"]
        saved = expected["size"], expected["fingerprint"]
        with torch.device("meta"):
            gpt = make_gpt(Shape(**config["shape"]), sequencer.schema)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = str(error) if type(error) is ValueError else repr(error)
        raise BundleError(f"{folder / CONFIG}: not a bundle this version can read ({reason})") from None
    if (len(vocabulary), vocabulary.fingerprint) != saved:
        raise BundleError(
            f"{folder / CONFIG}: its tokenizers give a vocabulary of {len(vocabulary)} tokens "
            f"({vocabulary.fingerprint}), it was saved with {saved[0]} ({saved[1]})"
        )
    gpt.load_state_dict(_checked_weights(folder / WEIGHTS, gpt, device), assign=True)
    return Bundle(gpt.eval(), sequencer, choices, config.get("notes", {}))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise BundleError(f"{path}: bundle format {found!r}; this version of helicon reads format {FORMAT}")
    return config


def _checked_weights(path: Path, gpt: GPT, device: torch.device | str) -> dict[str, Tensor]:
    """Tensors of the file once their names and shapes are those of the model."""
    _check_safetensors(path)
    expected = {name: tuple(tensor.shape) for name, tensor in gpt.state_dict().items()}
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: tuple(item.get_shape()) for name, item in slices.items()}
            kinds = {name: item.get_dtype() for name, item in slices.items()}
            problems = [f"missing {name}" for name in expected.keys() - found.keys()]
            problems += [f"unexpected {name}" for name in found.keys() - expected.keys()]
            problems += [
                f"{name} is {list(found[name])}, the config says {list(shape)}"
                for name, shape in expected.items()
                if name in found and found[name] != shape
            ]
            problems += [f"{name} holds {kinds[name]}" for name in expected if kinds.get(name, "F32") not in FLOATS]
            if problems:
                more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
                raise BundleError(f"{path}: weights do not fit the config: {'; '.join(sorted(problems)[:4])}{more}")
            return {name: file.get_tensor(name) for name in expected}
    except SafetensorError as error:
        raise BundleError(f"{path}: not a readable safetensors file ({error})") from None


def _check_safetensors(path: Path) -> None:
    """Header and length agree before anything is allocated; the library itself accepts some trailing bytes."""
    if not path.is_file():
        raise BundleError(f"{path}: missing; a bundle needs {WEIGHTS} beside {CONFIG}")
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if len(head) < 8 or length > min(size - 8, 100_000_000):
            raise BundleError(f"{path}: truncated, or its header claims {length} bytes of a file of {size}")
        try:
            header = json.loads(file.read(length))
            ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise BundleError(f"{path}: its safetensors header is damaged") from None
    if 8 + length + max(ends, default=0) != size:
        claimed = 8 + length + max(ends, default=0)
        raise BundleError(f"{path}: {size} bytes, its header says {claimed}: truncated or changed")
