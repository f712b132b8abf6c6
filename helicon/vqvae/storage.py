"""A codec on disk, whole: one JSON and one file of weights. No code is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

import helicon
from helicon.formats.checked import fields, notes_of, one_of, sequence, shown, text, texts, whole
from helicon.formats.files import check_folder, write_json
from helicon.formats.json_files import read_json
from helicon.formats.printable import MOST, printable
from helicon.formats.weights import hash_weights, read_weights, write_weights
from helicon.plugins.loading import require
from helicon.plugins.plugin import Plugin, PluginError
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.audio_nets import AUDIO_NETS
from helicon.vqvae.codec import Bottleneck, ImageCodec
from helicon.vqvae.config import MOST_CODES, AudioCodecConfig, AudioNetConfig, ImageCodecConfig
from helicon.vqvae.image_nets import IMAGE_NETS
from helicon.vqvae.quantizers import QUANTIZERS

FORMAT = 4
CONFIG, WEIGHTS = "codec.json", "codec.safetensors"


class CodecError(ValueError):
    """A folder that is no codec, or one that is damaged; the message names the file and what is wrong."""


class CodecFamily(NamedTuple):
    """Codecs of one kind of network, and options with which files of their medium are read."""

    config: type[ImageCodecConfig] | type[AudioCodecConfig]
    codec: type[ImageCodec] | type[AudioCodec]
    reading: tuple[str, ...]


FIELDS = ("medium", "reading", "family", "config", "codes", "fingerprint")
MOST_READING, MOST_PLUGINS = 384_000, 32  # pixels, samples a second
FAMILIES = {
    "image": CodecFamily(ImageCodecConfig, ImageCodec, ("size",)),
    "audio": CodecFamily(AudioCodecConfig, AudioCodec, ("rate", "channels")),
}


@dataclass
class CodecBundle:
    """A codec with what it was trained on.

    medium: a modality's name. reading: options with which its files are to be read, such as {"size": 64}.
    """

    codec: ImageCodec | AudioCodec
    medium: str
    reading: dict[str, int]
    notes: dict[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """JSON-able: all but the weights, with their fingerprint."""
        family = next(name for name, family in FAMILIES.items() if isinstance(self.codec, family.codec))
        return {
            "medium": self.medium, "reading": self.reading, "family": family, "config": asdict(self.codec.config),
            "codes": [each.codebook_size for each in bottlenecks(self.codec).values()],
            "fingerprint": self.fingerprint(),
        }  # fmt: skip

    def fingerprint(self) -> str:
        """Hash of the weights that codes depend on: equal fingerprints mean the same codes and the same media."""
        return hash_weights(lasting(self.codec))

    @staticmethod
    def restore(config: Mapping[str, Any], weights: Mapping[str, Tensor] | None) -> CodecBundle:
        """Inverse of `config` and `lasting`; ValueError without weights, or when they do not belong to the config."""
        if weights is None:
            raise ValueError("the weights of the codec are missing")
        medium = one_of("medium", fields("codec", config, FIELDS)["medium"], FAMILIES)
        family = FAMILIES[one_of("family", config["family"], (medium,))]
        values = fields("config", config["config"], [field.name for field in fields_of(family.config)])
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        codec_config: Any = cast(Any, family.config)(**values)
        reading = fields("reading", config["reading"], family.reading)
        reading = {name: whole(name, value, 1, MOST_READING) for name, value in reading.items()}
        with torch.device("meta"):  # nothing is allocated for a config that the weights do not have
            codec = family.codec(codec_config)
        expected = {name: (tensor.shape, tensor.dtype) for name, tensor in lasting(codec).items()}
        counts = sequence("codes", config["codes"], len(bottlenecks(codec)))
        for name, count in zip(bottlenecks(codec), counts):
            expected[f"{name}kept"] = torch.Size([whole("codes", count, 1, MOST_CODES)]), torch.int64
        if expected != {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}:
            raise ValueError("the weights of the codec are not those of its config")
        for name, each in bottlenecks(codec).items():
            each.kept = weights[f"{name}kept"]
        codec.load_state_dict(dict(weights), assign=True, strict=False)
        _drop_passing(codec)
        bundle = CodecBundle(codec.eval(), medium, reading)
        if bundle.fingerprint() != text("fingerprint", config["fingerprint"]):
            trained = f"{printable(config['fingerprint'], 40)} was trained with"
            raise ValueError(
                f"the codec has the fingerprint {bundle.fingerprint()}, {trained}: its codes mean something else"
            )
        for each in bottlenecks(codec).values():
            _check_codes(each.kept, each.renumbered)
        return bundle


def bottlenecks(codec: nn.Module) -> dict[str, Bottleneck]:
    """Prefix of their weights' names -> those of a codec: itself, or its levels."""
    found = {name: module for name, module in codec.named_modules() if isinstance(module, Bottleneck)}
    return {f"{name}." if name else "": module for name, module in found.items()}


def _check_codes(kept: Tensor, renumbered: Tensor) -> None:
    """ValueError unless codes and the quantizer's codes number each other: both are places in tables."""
    for places, table in ((kept, renumbered), (renumbered, kept)):
        if bool(((places < 0) | (places >= len(table))).any()):
            raise ValueError("the weights of the codec number codes that there are not")


def _drop_passing(codec: nn.Module) -> None:
    """Leaves nothing of what only training needs, which is not kept: much more than the codebook."""
    for module in codec.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                module.register_buffer(name, torch.zeros((0, *buffer.shape[1:]), dtype=buffer.dtype))


def lasting(codec: nn.Module) -> dict[str, Tensor]:
    """The weights without what only training needs (running sums, latents seen lately)."""
    passing = {
        f"{part}quantizer.{name}" for part, each in bottlenecks(codec).items() for name in each.quantizer.TRANSIENT
    }
    return {name: tensor for name, tensor in codec.state_dict().items() if name not in passing}


def codec_plugins(config: AudioNetConfig | ImageCodecConfig) -> list[Plugin]:
    """Plugins that the networks and the quantizer of a codec come from."""
    nets = IMAGE_NETS if isinstance(config, ImageCodecConfig) else AUDIO_NETS
    found = [nets.plugin_of(config.net), QUANTIZERS.plugin_of(config.quantizer)]
    return [plugin for plugin in dict.fromkeys(found) if plugin]


def save_codec(bundle: CodecBundle, folder: Path) -> None:
    """Writes `folder`, each file whole or not at all."""
    whole = {"format": FORMAT, "helicon": helicon.__version__, **bundle.config(), "notes": bundle.notes}
    whole["plugins"] = [plugin.placeless for plugin in codec_plugins(bundle.codec.config)]
    write_weights(folder / WEIGHTS, lasting(bundle.codec))
    write_json(folder / CONFIG, whole)


def find_codec(path: Path, medium: str | None = None) -> Path | None:
    """The codec's folder in a run or bundle; None when it is no codec, or one of another medium than the one asked for.

    One whose medium cannot be read is found: `load_codec` says what is wrong with it.
    """
    folder = next((folder for folder in (path, path / "model") if (folder / CONFIG).is_file()), None)
    if folder is None or medium is None:
        return folder
    try:
        found = read_json(folder / CONFIG, links=False)["medium"]
    except (LookupError, TypeError, ValueError):
        return folder
    return folder if found == medium else None


def load_codec(path: Path, device: torch.device | str = "cpu") -> CodecBundle:
    """The codec of a run or bundle. CodecError names the file and what is wrong with it."""
    folder = find_codec(path)
    if folder is None:
        made = "`helicon train image-codec DIR` or `audio-codec` makes one"
        raise CodecError(f"{printable(path)}: no codec ({CONFIG}, {WEIGHTS}) there or in model/; {made}")
    try:
        check_folder(folder, named=folder == path)
        config = read_json(folder / CONFIG, links=False)
        if config["format"] != FORMAT:
            raise ValueError(f"format {shown(config['format'])}; this version of helicon reads {FORMAT}")
        require(texts("plugins", config["plugins"], MOST_PLUGINS))
        restored = {name: config[name] for name in FIELDS}
        bundle = CodecBundle.restore(restored, read_weights(folder / WEIGHTS, device=device))
        bundle.notes = notes_of(config)
    except OSError as error:
        raise CodecError(f"{printable(error.filename)}: {error.strerror}") from None
    except PluginError as error:
        raise CodecError(f"{printable(folder / CONFIG)}: {error}") from error
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        reason = printable(error if isinstance(error, ValueError) else repr(error), MOST)
        raise CodecError(f"{printable(folder / CONFIG)}: not a codec this version can read ({reason})") from None
    return bundle
