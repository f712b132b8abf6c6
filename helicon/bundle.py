"""A model on disk, whole: safetensors weights and one JSON of layouts, vocabulary and tokenizers. No code is loaded."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import helicon
from helicon.formats.files import write_json
from helicon.formats.printable import printable
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path
from helicon.formats.weights import WeightsError, hash_weights, read_weights, write_weights
from helicon.gpt.model import GPT, Shape
from helicon.modalities import registry
from helicon.sequence.layout import Layout, Schema
from helicon.tokenizers.base import tokenizer_weights
from helicon.tokenizers.sequencer import Sequencer

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "bundle.json"
UPSAMPLERS = "upsamplers"  # folder of a bundle: a bundle for each finer level, named by its number
TOKENIZER_WEIGHTS = "{slot}-codec.safetensors"  # of tokenizers that have some


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
        return hash_weights(self.gpt.state_dict())


def make_gpt(shape: Shape, schema: Schema) -> GPT:
    """A GPT for that schema, freshly initialised."""
    return GPT(shape, len(schema.vocabulary), schema.places, rope=schema.positions == "rope")


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Writes `folder`, each file whole or not at all: the weights first, so that a new JSON never has old weights."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, bundle.gpt.state_dict())
    for slot, tokenizer in bundle.sequencer.tokenizers.items():
        if tensors := tokenizer_weights(tokenizer):
            write_weights(folder / TOKENIZER_WEIGHTS.format(slot=slot), tensors)
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


def upsamplers_of(folder: Path) -> list[Path]:
    """Bundles that go on where one of a coarse level ends, the coarsest of them first."""
    found = [path for path in (folder / UPSAMPLERS).glob("*") if path.name.isdecimal() and (path / CONFIG).is_file()]
    return sorted(found, key=lambda path: -int(path.name))


def attach_bundle(source: Path, folder: Path, level: int) -> Path:
    """Copies a bundle into another as its upsampler to a level, whole or not at all; gives its place.

    One that is there already is replaced by a later state of the same run alone; BundleError for another's.
    """
    target = folder / UPSAMPLERS / str(level)
    runs = [_read_config(place / CONFIG).get("notes", {}).get("run") for place in (source, target) if place.exists()]
    if len(set(runs)) > 1:
        raise BundleError(f"{target}: holds the upsampler of {printable(runs[1], 80)}, not of {printable(runs[0], 80)}")
    clear_abandoned(target.parent)
    temporary, before = temporary_path(target), temporary_path(target)
    try:
        shutil.copytree(source, temporary)
        if target.exists():
            os.replace(target, before)
        os.replace(temporary, target)
    finally:
        if before.exists() and not target.exists():
            os.replace(before, target)
        remove_temporary(temporary)
        remove_temporary(before)
    return target


def load_bundle(path: Path, device: torch.device | str = "cpu") -> Bundle:
    """Reads the bundle of a run or of a bundle folder. BundleError names the file and what is wrong with it."""
    folder = find_bundle(path)
    config = _read_config(folder / CONFIG)
    try:
        choices = {slot: str(item["name"]) for slot, item in config["tokenizers"].items()}
        states = {slot: item["state"] for slot, item in config["tokenizers"].items()}
        tokenizers = {
            slot: registry.restored(slot, choices[slot], states[slot], _codec_weights(folder, slot, device))
            for slot in choices
        }
        layouts = [Layout.parse(spec) for spec in config["layouts"]]
        sequencer = Sequencer(layouts, tokenizers, int(config["context"]), str(config["positions"]))
        vocabulary, expected = sequencer.schema.vocabulary, config["vocabulary"]
        saved = expected["size"], expected["fingerprint"]
        with torch.device("meta"):
            gpt = make_gpt(Shape(**config["shape"]), sequencer.schema)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise BundleError(f"{folder / CONFIG}: not a bundle this version can read ({reason})") from None
    if (len(vocabulary), vocabulary.fingerprint) != saved:
        raise BundleError(
            f"{folder / CONFIG}: its tokenizers give a vocabulary of {len(vocabulary)} tokens "
            f"({vocabulary.fingerprint}), it was saved with {saved[0]} ({saved[1]})"
        )
    try:
        gpt.load_state_dict(read_weights(folder / WEIGHTS, gpt.state_dict(), device), assign=True)
    except WeightsError as error:
        raise BundleError(str(error)) from None
    return Bundle(gpt.eval(), sequencer, choices, config.get("notes", {}))


def _codec_weights(folder: Path, slot: str, device: torch.device | str) -> dict[str, Tensor] | None:
    """Tensors of a slot's tokenizer, where it has any."""
    path = folder / TOKENIZER_WEIGHTS.format(slot=slot)
    return read_weights(path, device=device) if path.exists() else None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise BundleError(f"{path}: bundle format {found!r}; this version of helicon reads format {FORMAT}")
    return config
