"""A model on disk, whole: safetensors weights and one JSON of layouts, vocabulary and tokenizers. No code is loaded.

A bundle may be a stranger's: its JSON is bounded before it is read, its numbers by stated limits and by the header of
the weights, and nothing that lies outside its folder is opened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import helicon
from helicon.formats.checked import fields, sequence, shown, text, whole
from helicon.formats.files import check_folder, open_regular, write_json
from helicon.formats.json_files import read_json
from helicon.formats.printable import MOST, printable
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path
from helicon.formats.weights import WeightsError, hash_weights, read_header, read_weights, write_weights
from helicon.gpt.model import GPT, Shape
from helicon.modalities import registry
from helicon.sequence.layout import MOST_CONTEXT, MOST_LAYOUTS, Layout, Schema
from helicon.tokenizers.base import Tokenizer, reading, tokenizer_weights
from helicon.tokenizers.sequencer import Sequencer

FORMAT = 2  # since which the options of reading are part of it
WEIGHTS, CONFIG = "model.safetensors", "bundle.json"
UPSAMPLERS = "upsamplers"  # folder of a bundle: a bundle for each finer level, named by its number
TOKENIZER_WEIGHTS = "{slot}-codec.safetensors"  # of tokenizers that have some
MOST_SLOTS, MOST_LEVELS = 32, 32  # of a bundle; of upsamplers


class BundleError(ValueError):
    """A folder that is no bundle, or one that is damaged; the message names the file and what is wrong."""


@dataclass
class Bundle:
    """A GPT with everything that turns its tokens into media. `notes` tell how it was made and what it reached.

    reading: options with which the files it learned from were read, such as {"pedal": "drop"}: every file that is to
    be given to it is read with the same. Those that are not given are the tokenizers', else the media's defaults.
    """

    gpt: GPT
    sequencer: Sequencer
    choices: dict[str, str]  # slot -> name of its tokenizer
    notes: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        theirs = reading(self.sequencer.tokenizers.values())
        for name, value in theirs.items():
            if self.reading.get(name, value) != value:
                raise ValueError(f"reading: {name} {shown(self.reading[name])}, its tokenizer was made for {value}")
        self.reading = registry.reading((y.sources for y in self.schema.layouts), self.reading | theirs)

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
            "reading": bundle.reading,
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
        raise BundleError(f"{printable(path)}: no such run or bundle")
    raise BundleError(f"{printable(path)}: neither a bundle ({CONFIG}, {WEIGHTS}) nor a run with one in model/")


def upsamplers_of(folder: Path) -> list[Path]:
    """Bundles that go on where one of a coarse level ends, the coarsest of them first. BundleError for too many."""
    there = folder / UPSAMPLERS
    if not os.path.lexists(there):
        return []
    _check_folder(there, named=False, most=MOST_LEVELS)
    levels = {str(level): level for level in range(MOST_LEVELS)}
    found = [path for path in there.iterdir() if path.name in levels and (path / CONFIG).is_file()]
    return sorted(found, key=lambda path: -levels[path.name])


def attach_bundle(source: Path, folder: Path, level: int) -> Path:
    """Copies a bundle's own files into another as its upsampler to a level, whole or not at all; gives its place.

    Nothing else that lies beside them is copied. One that is there already is replaced by a later state of the same run
    alone. BundleError for another's, and for a bundle that cannot be read, or holds links.
    """
    _check_folder(source)
    slots = _read_config(source / CONFIG).get("tokenizers", {})
    names = [TOKENIZER_WEIGHTS.format(slot=slot) for slot in slots if registry.is_slot(slot)]
    names = [CONFIG, WEIGHTS, *(name for name in names if (source / name).exists())]
    target = folder / UPSAMPLERS / str(whole("level", level, 0, MOST_LEVELS - 1))
    runs = [_notes(_read_config(place / CONFIG)).get("run") for place in (source, target) if place.exists()]
    if len(runs) > 1 and runs[0] != runs[1]:
        raise BundleError(f"{target}: holds the upsampler of {printable(runs[1], 80)}, not of {printable(runs[0], 80)}")
    clear_abandoned(target.parent)
    temporary, before = temporary_path(target), temporary_path(target)
    try:
        temporary.mkdir(parents=True)
        for name in names:
            with open_regular(source / name, links=False) as theirs, open(temporary / name, "xb") as ours:
                shutil.copyfileobj(theirs, ours, 1 << 20)
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
    _check_folder(folder, named=folder == path)
    config = _read_config(folder / CONFIG)
    try:
        header = read_header(folder / WEIGHTS)
    except WeightsError as error:
        raise BundleError(str(error)) from None
    try:
        shape = _shape(config["shape"])
        _check_layers(folder / WEIGHTS, header, shape)
        choices, tokenizers = _tokenizers(config["tokenizers"], folder, device)
        layouts = [Layout.parse(spec) for spec in sequence("layouts", config["layouts"], MOST_LAYOUTS)]
        context = whole("context", config["context"], 1, MOST_CONTEXT)
        sequencer = Sequencer(layouts, tokenizers, context, text("positions", config["positions"]))
        vocabulary = sequencer.schema.vocabulary
        saved = fields("vocabulary", config["vocabulary"], ("size", "fingerprint"))
        with torch.device("meta"):
            gpt = make_gpt(shape, sequencer.schema)
        options = fields("reading", config["reading"], registry.reading((y.sources for y in layouts), {}))
        bundle = Bundle(gpt, sequencer, choices, _notes(config), dict(options))
    except BundleError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        reason = printable(error if isinstance(error, ValueError) else repr(error), MOST)
        raise BundleError(f"{printable(folder / CONFIG)}: not a bundle this version can read ({reason})") from None
    if (len(vocabulary), vocabulary.fingerprint) != (saved["size"], saved["fingerprint"]):
        theirs = f"{shown(saved['size'])} ({printable(saved['fingerprint'], 40)})"
        raise BundleError(
            f"{printable(folder / CONFIG)}: its tokenizers give a vocabulary of {len(vocabulary)} tokens "
            f"({vocabulary.fingerprint}), it was saved with {theirs}"
        )
    try:
        gpt.load_state_dict(read_weights(folder / WEIGHTS, gpt.state_dict(), device), assign=True)
    except WeightsError as error:
        raise BundleError(str(error)) from None
    gpt.eval()
    return bundle


def _shape(config: Any) -> Shape:
    """ValueError for fields that a shape does not have, or values that it cannot have."""
    return Shape(**fields("shape", config, [field.name for field in fields_of(Shape)]))


def _check_layers(path: Path, header: Mapping[str, Any], shape: Shape) -> None:
    """BundleError unless the weights have as many layers, each of which takes time to make, and rows of that width."""
    layers = {name.split(".")[1] for name in header if name.startswith("layers.")}
    if len(layers) != shape.layers:
        reason = f"weights of {len(layers)} layers, the config says {shape.layers}"
        raise BundleError(f"{printable(path)}: weights do not fit the config: {reason}")


def _tokenizers(
    config: Any, folder: Path, device: torch.device | str
) -> tuple[dict[str, str], dict[str, Tokenizer]]:  # fmt: skip
    """Slot -> name, and slot -> tokenizer; BundleError or ValueError for what is none."""
    if not isinstance(config, dict) or len(config) > MOST_SLOTS:
        raise ValueError(f"tokenizers {shown(config)}: an object of at most {MOST_SLOTS} is accepted")
    choices, tokenizers = {}, {}
    for slot, item in config.items():
        item = fields(f"tokenizer of {printable(slot, 60)}", item, ("name", "state"))
        choices[slot] = text("name of a tokenizer", item["name"])
        registry.factory(slot, choices[slot])  # ValueError for a slot or name that is none, which goes into no path
        tokenizers[slot] = registry.restored(slot, choices[slot], item["state"], _codec_weights(folder, slot, device))
    return choices, tokenizers


def _codec_weights(folder: Path, slot: str, device: torch.device | str) -> dict[str, Tensor] | None:
    """Tensors of a slot's tokenizer, where it has any."""
    path = folder / TOKENIZER_WEIGHTS.format(slot=slot)
    try:
        return read_weights(path, device=device) if path.exists() else None
    except WeightsError as error:
        raise BundleError(str(error)) from None


def _notes(config: dict[str, Any]) -> dict[str, Any]:
    notes = config.get("notes", {})
    if not isinstance(notes, dict):
        raise ValueError(f"notes {shown(notes)}: an object is accepted")
    return notes


def _check_folder(folder: Path, named: bool = True, most: int = 1000) -> None:
    try:
        check_folder(folder, named, most)
    except OSError as error:
        raise BundleError(f"{printable(error.filename)}: {error.strerror}") from None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = read_json(path, links=False)
    except ValueError as error:
        raise BundleError(str(error)) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        stored = shown(config.get("format")) if isinstance(config, dict) else repr(type(config).__name__)
        raise BundleError(f"{printable(path)}: bundle format {stored}; this version of helicon reads format {FORMAT}")
    return config
