"""Reading and writing of bundles: `model.safetensors`, `bundle.json`, and the weights of tokenizers and the objective.

A bundle may come from a stranger: its JSON is bounded before it is read, its numbers by stated limits and by the header
of the weights, and nothing outside its folder is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import helicon
from helicon.bundle.bundle import Bundle, make_gpt
from helicon.formats.checked import fields, integer, notes_of, sequence, shown, text, texts
from helicon.formats.files import check_folder, write_json
from helicon.formats.json_files import read_json
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.validation import record_state, restore_record
from helicon.formats.weights import WeightsError, read_header, read_weights, write_weights
from helicon.gpt.config import GPTConfig
from helicon.gpt.quantized import Int8Linear
from helicon.modalities import registry
from helicon.objectives import registry as objectives
from helicon.objectives.base import MAX_LABELS
from helicon.objectives.guarded import build_network, kept_parts, parts_left_out
from helicon.plugins.loading import require
from helicon.plugins.plugin import PluginError, plugin_list
from helicon.sequence.layout import MAX_CONTEXT, MAX_LAYOUTS, Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import tokenizer_weights
from helicon.tokenizers.sequencer import Sequencer
from helicon.vqvae.storage import find_codec

FORMAT = 4  # of bundle.json; others are refused
WEIGHTS, CONFIG = "model.safetensors", "bundle.json"
OBJECTIVE_WEIGHTS = "objective.safetensors"  # of the modules that the objective adds to the GPT
TOKENIZER_WEIGHTS = "{slot}-codec.safetensors"  # of tokenizers that have weights
MAX_SLOTS = 32  # of a bundle, checked before any tokenizer is built


class BundleError(ValueError):
    """A folder that is no bundle, or a damaged one; the message names the file and the fault."""


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle. Each file is replaced atomically, the weights first: a new JSON never stands beside old weights.

    Args:
        bundle: `Bundle`, the model.
        folder: is created if needed.

    Raises:
        ValueError: a model in int8, whose original weights are lost.
    """
    if any(isinstance(module, Int8Linear) for module in bundle.gpt.modules()):
        raise ValueError("a model in int8 cannot be written: load it with dtype='fp32'")
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, bundle.gpt.state_dict())
    if len(bundle.objective_modules):
        write_weights(folder / OBJECTIVE_WEIGHTS, bundle.objective_modules.state_dict())
    for slot, tokenizer in bundle.sequencer.tokenizers.items():
        if tensors := tokenizer_weights(tokenizer):
            write_weights(folder / TOKENIZER_WEIGHTS.format(slot=slot), tensors)
    schema = bundle.schema
    write_json(
        folder / CONFIG,
        {
            "format": FORMAT,
            "helicon": helicon.__version__,
            "gpt": asdict(bundle.gpt.config),
            "context": schema.context,
            "positions": schema.positions,
            "layouts": [str(layout) for layout in schema.layouts],
            "reading": bundle.reading,
            "objective": {"name": objectives.name_of(bundle.objective), "options": asdict(bundle.objective)},
            "labels": list(bundle.labels),
            "validation": record_state(bundle.record),
            "vocabulary": {"size": len(schema.vocabulary), "fingerprint": schema.vocabulary.fingerprint},
            "tokenizers": {
                slot: {"name": name, "state": bundle.sequencer.tokenizers[slot].state()}
                for slot, name in bundle.tokenizer_names.items()
            },
            "plugins": [plugin.placeless for plugin in bundle.plugins()],
            "notes": bundle.notes,
        },
    )


def find_bundle(path: Path) -> Path:
    """Return the bundle folder of a path: the folder itself if it is a bundle, or `model` in a run's folder.

    Raises:
        BundleError: there is none, with what was looked for.
    """
    for folder in (path, path / "model"):
        if (folder / CONFIG).is_file():
            return folder
    if not path.exists():
        raise BundleError(f"{printable(path)}: no such run or bundle")
    if find_codec(path):
        use = "helicon reconstruct shows what it keeps, and --data.tokenizer trains a model of its codes"
        raise BundleError(f"{printable(path)}: a codec, not a model; {use}")
    raise BundleError(f"{printable(path)}: neither a bundle ({CONFIG}, {WEIGHTS}) nor a run with one in model/")


def load_bundle(path: Path, device: torch.device | str = "cpu") -> Bundle:
    """Load a bundle.

    Args:
        path: folder of a run or bundle.
        device: of the weights.

    Returns:
        The `Bundle`, in evaluation mode.

    Raises:
        BundleError: the folder is no bundle, or a damaged one.
        PluginError: a plugin fails.
    """
    folder = find_bundle(path)
    check_bundle(folder, named=folder == path)
    config = read_config(folder / CONFIG)
    _check_plugins(folder / CONFIG, config)
    try:
        header = read_header(folder / WEIGHTS)
    except WeightsError as error:
        raise BundleError(str(error)) from None
    try:
        gpt_config = _gpt_config(config["gpt"])
        _check_layers(folder / WEIGHTS, header, gpt_config)
        names, tokenizers = _tokenizers(config["tokenizers"], folder, device)
        layouts = [Layout.parse(spec) for spec in sequence("layouts", config["layouts"], MAX_LAYOUTS)]
        context = integer("context", config["context"], 1, MAX_CONTEXT)
        sequencer = Sequencer(layouts, tokenizers, context, text("positions", config["positions"]))
        vocabulary = sequencer.schema.vocabulary
        saved = fields("vocabulary", config["vocabulary"], ("size", "fingerprint"))
        with torch.device("meta"):
            gpt = make_gpt(gpt_config, sequencer.schema)
        options = fields("reading", config["reading"], registry.read_options((y.all_slots for y in layouts), {}))
        objective = fields("objective", config["objective"], ("name", "options"))
        bundle = Bundle(
            gpt=gpt,
            sequencer=sequencer,
            tokenizer_names=names,
            notes=notes_of(config),
            reading=dict(options),
            objective=objectives.restored(objective["name"], objective["options"]),
            labels=tuple(texts("labels", config["labels"], MAX_LABELS)),
            record=restore_record(config.get("validation")),
        )
        with torch.device("meta"):
            expected = kept_parts(bundle.objective, build_network(bundle.objective, bundle)).state_dict()
    except (BundleError, PluginError):
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        reason = printable(error if isinstance(error, ValueError) else repr(error), MAX_QUOTED)
        raise BundleError(f"{printable(folder / CONFIG)}: not a bundle this version can read ({reason})") from None
    if (len(vocabulary), vocabulary.fingerprint) != (saved["size"], saved["fingerprint"]):
        theirs = f"{shown(saved['size'])} ({printable(saved['fingerprint'], 40)})"
        raise BundleError(
            f"{printable(folder / CONFIG)}: its tokenizers give a vocabulary of {len(vocabulary)} tokens "
            f"({vocabulary.fingerprint}), it was saved with {theirs}"
        )
    try:
        gpt.load_state_dict(read_weights(folder / WEIGHTS, gpt.state_dict(), device), assign=True)
        kept = read_weights(folder / OBJECTIVE_WEIGHTS, expected, device) if expected else {}
    except WeightsError as error:
        raise BundleError(str(error)) from None
    _restore_network(bundle, kept, device)
    return bundle


def _restore_network(bundle: Bundle, weights: Mapping[str, Tensor], device: torch.device | str) -> None:
    """Build a bundle's network around its GPT, with the weights that the objective keeps.

    Modules that the objective does not keep are removed: their weights are not in the bundle.
    """
    with torch.random.fork_rng(devices=[]):
        # Of the CPU alone, where the network is built; the caller's generator is restored after the block
        torch.default_generator.manual_seed(0)
        network = bundle.network
    for name in parts_left_out(bundle.objective, network):
        delattr(network, name)
    bundle.objective_modules.load_state_dict(weights, assign=True)
    network.to(device).eval()


def _check_plugins(path: Path, config: dict[str, Any]) -> None:
    """Raise BundleError for a plugin that the bundle needs and that is not loaded."""
    try:
        require(plugin_list(config.get("plugins")))
    except ValueError as error:
        raise BundleError(f"{printable(path)}: {error}") from None


def _gpt_config(config: Any) -> GPTConfig:
    """Parse a GPTConfig; ValueError for unknown fields and values out of range."""
    return GPTConfig(**fields("gpt", config, [field.name for field in fields_of(GPTConfig)]))


def _check_layers(path: Path, header: Mapping[str, Any], config: GPTConfig) -> None:
    """Raise BundleError unless the weights have the number of layers of the config, before any layer is built."""
    layers = {name.split(".")[1] for name in header if name.startswith("layers.")}
    if len(layers) != config.layers:
        reason = f"weights of {len(layers)} layers, the config says {config.layers}"
        raise BundleError(f"{printable(path)}: weights do not fit the config: {reason}")


def _tokenizers(
    config: Any, folder: Path, device: torch.device | str
) -> tuple[dict[str, str], dict[str, Tokenizer]]:  # fmt: skip
    """Restore slot -> name and slot -> tokenizer; BundleError or ValueError for damaged ones."""
    if not isinstance(config, dict) or len(config) > MAX_SLOTS:
        raise ValueError(f"tokenizers {shown(config)}: an object of at most {MAX_SLOTS} is accepted")
    names, tokenizers = {}, {}
    for slot, item in config.items():
        item = fields(f"tokenizer of {printable(slot, 60)}", item, ("name", "state"))
        names[slot] = text("name of a tokenizer", item["name"])
        registry.spec(slot, names[slot])  # ValueError for an unknown slot, which must not become part of a path
        tokenizers[slot] = registry.restore_tokenizer(
            slot, names[slot], item["state"], _codec_weights(folder, slot, device)
        )
    return names, tokenizers


def _codec_weights(folder: Path, slot: str, device: torch.device | str) -> dict[str, Tensor] | None:
    """Read the tensors of a slot's tokenizer, if it has any."""
    path = folder / TOKENIZER_WEIGHTS.format(slot=slot)
    try:
        return read_weights(path, device=device) if path.exists() else None
    except WeightsError as error:
        raise BundleError(str(error)) from None


def check_bundle(folder: Path, named: bool = True, most: int = 1000) -> None:
    """Check that a bundle folder is one that may be opened.

    Args:
        folder: of the bundle.
        named: True where the user named the folder, which may itself be a symbolic link then.
        most: greatest accepted number of files in the folder.

    Raises:
        BundleError: `check_folder` refuses the folder.
    """
    try:
        check_folder(folder, named, most)
    except OSError as error:
        raise BundleError(f"{printable(error.filename)}: {error.strerror}") from None


def read_config(path: Path) -> dict[str, Any]:
    """Read `bundle.json`, whose path is given, to a dict.

    Raises:
        BundleError: another format, or too large a file.
    """
    try:
        config = read_json(path, links=False)
    except ValueError as error:
        raise BundleError(str(error)) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        stored = shown(config.get("format")) if isinstance(config, dict) else repr(type(config).__name__)
        raise BundleError(f"{printable(path)}: bundle format {stored}; this version of helicon reads format {FORMAT}")
    return config
