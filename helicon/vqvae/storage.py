"""Codecs on disk: a folder with one JSON and one file of weights. Loading runs no code from the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

import helicon
from helicon.formats.checked import fields, integer, notes_of, one_of, sequence, shown, text
from helicon.formats.files import check_folder, write_json
from helicon.formats.json_files import read_json
from helicon.formats.notebook import html_figures
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.validation import ValidationRecord, record_state, restore_record
from helicon.formats.weights import hash_weights, read_weights, write_weights
from helicon.plugins.loading import require
from helicon.plugins.plugin import Plugin, PluginError, plugin_list
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.audio_nets import AUDIO_NETS
from helicon.vqvae.codec import Bottleneck, ImageCodec
from helicon.vqvae.config import MAX_CODES, AudioCodecConfig, AudioNetConfig, ImageCodecConfig
from helicon.vqvae.image_nets import IMAGE_NETS
from helicon.vqvae.quantizers import QUANTIZERS

FORMAT = 4  # version of the files; others are refused
CONFIG, WEIGHTS = "codec.json", "codec.safetensors"  # files in the folder of a codec


class CodecError(ValueError):
    """Error of a folder that is no codec, or a damaged one; the message names the file and what is wrong."""


class CodecFamily(NamedTuple):
    """Config and class of the codecs of a medium, and the options with which its files are read."""

    config: type[ImageCodecConfig] | type[AudioCodecConfig]
    codec: type[ImageCodec] | type[AudioCodec]
    reading: tuple[str, ...]


# Keys of CONFIG that a codec is restored from, those of `CodecBundle.config`
FIELDS = ("medium", "reading", "family", "config", "codes", "fingerprint")
MAX_READING = 384_000  # of any reading option: pixels of a side, samples a second, channels
# Medium -> its config and codec classes, and the options that its files are read with
FAMILIES = {
    "image": CodecFamily(ImageCodecConfig, ImageCodec, ("size",)),
    "audio": CodecFamily(AudioCodecConfig, AudioCodec, ("rate", "channels")),
}


@dataclass(kw_only=True)
class CodecBundle:
    """Codec with the medium that it was trained on.

    Attributes:
        codec: in evaluation mode when it was loaded.
        medium: name of the modality.
        reading: options with which media files have to be read, such as {"size": 64}.
        notes: JSON-able remarks on the training.
        record: `ValidationRecord` of the files that the codec was not trained on, so that models leave them out too.
    """

    codec: ImageCodec | AudioCodec
    medium: str
    reading: dict[str, int]
    notes: dict[str, Any] = field(default_factory=dict)
    record: ValidationRecord = field(default_factory=dict)

    def _repr_html_(self) -> str:
        return html_figures({"medium": self.medium, **self.reading, "codes": self.config()["codes"], **self.notes})

    def config(self) -> dict[str, Any]:
        """Return the JSON-able state: everything but the weights, with their fingerprint.

        Returns:
            `medium`, `reading`, `family` (`image` or `audio`), `config` (fields of the codec's config), `codes` (number
            of kept codes of each level) and `fingerprint`.
        """
        family = next(name for name, family in FAMILIES.items() if isinstance(self.codec, family.codec))
        return {
            "medium": self.medium, "reading": self.reading, "family": family, "config": asdict(self.codec.config),
            "codes": [level.codebook_size for level in bottlenecks(self.codec).values()],
            "fingerprint": self.fingerprint(),
        }  # fmt: skip

    def fingerprint(self) -> str:
        """Hash the weights needed at inference, 16 hexadecimal digits: equal ones mean the same codes and media."""
        return hash_weights(inference_state_dict(self.codec))

    @staticmethod
    def restore(config: Mapping[str, Any], weights: Mapping[str, Tensor] | None) -> CodecBundle:
        """Restore a codec from the results of `config` and `inference_state_dict`.

        Args:
            config: JSON-able state with the keys that `config` returns; may come from elsewhere, and is checked.
            weights: tensor by name; None raises ValueError.

        Returns:
            A `CodecBundle` with the codec in evaluation mode, without the buffers that only training needs.

        Raises:
            ValueError: the config is invalid, or the weights are missing or not those of the config.
        """
        if weights is None:
            raise ValueError("the weights of the codec are missing")
        medium = one_of("medium", fields("codec", config, FIELDS)["medium"], FAMILIES)
        family = FAMILIES[one_of("family", config["family"], (medium,))]
        values = fields("config", config["config"], [field.name for field in fields_of(family.config)])
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        codec_config: Any = cast(Any, family.config)(**values)
        reading = fields("reading", config["reading"], family.reading)
        reading = {name: integer(name, value, 1, MAX_READING) for name, value in reading.items()}
        with torch.device("meta"):  # so that a config alone, without weights of its size, allocates nothing
            codec = family.codec(codec_config)
        expected = {name: (tensor.shape, tensor.dtype) for name, tensor in inference_state_dict(codec).items()}
        counts = sequence("codes", config["codes"], len(bottlenecks(codec)))
        for name, count in zip(bottlenecks(codec), counts):
            expected[f"{name}kept"] = torch.Size([integer("codes", count, 1, MAX_CODES)]), torch.int64
        if expected != {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}:
            raise ValueError("the weights of the codec are not those of its config")
        for name, level in bottlenecks(codec).items():
            level.kept = weights[f"{name}kept"]
        codec.load_state_dict(dict(weights), assign=True, strict=False)
        _drop_transient(codec)
        bundle = CodecBundle(codec=codec.eval(), medium=medium, reading=reading)
        if bundle.fingerprint() != text("fingerprint", config["fingerprint"]):
            trained = f"{printable(config['fingerprint'], 40)} was trained with"
            raise ValueError(
                f"the codec has the fingerprint {bundle.fingerprint()}, {trained}: its codes mean something else"
            )
        for level in bottlenecks(codec).values():
            _check_codes(level.kept, level.renumbered)
        return bundle


def bottlenecks(codec: nn.Module) -> dict[str, Bottleneck]:
    """Return each `Bottleneck` of a codec (itself, or its levels) by the prefix of its weights' names.

    The prefix is empty for an image codec; `levels.0.` and so on for the levels of an audio codec.
    """
    modules = {name: module for name, module in codec.named_modules() if isinstance(module, Bottleneck)}
    return {f"{name}." if name else "": module for name, module in modules.items()}


def _check_codes(kept: Tensor, renumbered: Tensor) -> None:
    """ValueError unless the two numberings of codes index each other."""
    for indices, table in ((kept, renumbered), (renumbered, kept)):
        if bool(((indices < 0) | (indices >= len(table))).any()):
            raise ValueError("the weights of the codec number codes that there are not")


def _drop_transient(codec: nn.Module) -> None:
    """Empty the buffers that only training needs and that were not stored; they are larger than the codebook."""
    for module in codec.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                module.register_buffer(name, torch.zeros((0, *buffer.shape[1:]), dtype=buffer.dtype))


def inference_state_dict(codec: nn.Module) -> dict[str, Tensor]:
    """Return a codec's weights by name, without the buffers that only training needs (moving sums, recent latents)."""
    transient = {
        f"{prefix}quantizer.{name}"
        for prefix, level in bottlenecks(codec).items()
        for name in level.quantizer.TRANSIENT
    }
    return {name: tensor for name, tensor in codec.state_dict().items() if name not in transient}


def codec_plugins(config: AudioNetConfig | ImageCodecConfig) -> list[Plugin]:
    """List the `Plugin`s that networks and quantizer of a codec's config come from; Helicon's own are none."""
    nets = IMAGE_NETS if isinstance(config, ImageCodecConfig) else AUDIO_NETS
    plugins = [nets.plugin_of(config.net), QUANTIZERS.plugin_of(config.quantizer)]
    return [plugin for plugin in dict.fromkeys(plugins) if plugin]


def save_codec(bundle: CodecBundle, folder: Path) -> None:
    """Write a codec to a folder, each file atomically.

    Args:
        bundle: `CodecBundle` to store.
        folder: where the files CONFIG and WEIGHTS go; such files there are replaced.
    """
    content = {"format": FORMAT, "helicon": helicon.__version__, **bundle.config(), "notes": bundle.notes}
    content["validation"] = record_state(bundle.record)
    content["plugins"] = [plugin.placeless for plugin in codec_plugins(bundle.codec.config)]
    write_weights(folder / WEIGHTS, inference_state_dict(bundle.codec))
    write_json(folder / CONFIG, content)


def find_codec(path: Path, medium: str | None = None) -> Path | None:
    """Find the folder of a codec.

    Args:
        path: folder of the codec itself, or of a run or bundle with the codec in `model/`.
        medium: `image` or `audio`, which the codec must have; None for any.

    Returns:
        The folder, also of a codec whose medium cannot be read (`load_codec` says what is wrong with it); None when
        there is no codec, or one of another medium.
    """
    folder = next((folder for folder in (path, path / "model") if (folder / CONFIG).is_file()), None)
    if folder is None or medium is None:
        return folder
    try:
        stored = read_json(folder / CONFIG, links=False)["medium"]
    except (LookupError, TypeError, ValueError):
        return folder
    return folder if stored == medium else None


def load_codec(path: Path, device: torch.device | str = "cpu") -> CodecBundle:
    """Load a codec.

    Args:
        path: folder of the codec itself, or of a run or bundle with the codec in `model/`.
        device: where the weights go.

    Returns:
        A `CodecBundle` with the codec in evaluation mode.

    Raises:
        CodecError: names the file and what is wrong with it.
    """
    folder = find_codec(path)
    if folder is None:
        remedy = "`helicon train image-codec DIR` or `audio-codec` makes one"
        raise CodecError(f"{printable(path)}: no codec ({CONFIG}, {WEIGHTS}) there or in model/; {remedy}")
    try:
        check_folder(folder, named=folder == path)
        config = read_json(folder / CONFIG, links=False)
        if config["format"] != FORMAT:
            raise ValueError(f"format {shown(config['format'])}; this version of helicon reads {FORMAT}")
        require(plugin_list(config["plugins"]))
        restored = {name: config[name] for name in FIELDS}
        bundle = CodecBundle.restore(restored, read_weights(folder / WEIGHTS, device=device))
        bundle.notes, bundle.record = notes_of(config), restore_record(config.get("validation"))
    except OSError as error:
        raise CodecError(f"{printable(error.filename)}: {error.strerror}") from None
    except PluginError as error:
        raise CodecError(f"{printable(folder / CONFIG)}: {error}") from error
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        reason = printable(error if isinstance(error, ValueError) else repr(error), MAX_QUOTED)
        raise CodecError(f"{printable(folder / CONFIG)}: not a codec this version can read ({reason})") from None
    return bundle
