"""A codec on disk, whole: one JSON and one file of weights. No code is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

import helicon
from helicon.formats.files import write_json
from helicon.formats.weights import hash_weights, read_weights, write_weights
from helicon.vqvae.audio_codec import AudioCodec, AudioShape
from helicon.vqvae.codec import Bottleneck, Codec, CodecShape

FORMAT = 2
CONFIG, WEIGHTS = "codec.json", "codec.safetensors"


class CodecError(ValueError):
    """A folder that is no codec, or one that is damaged; the message names the file and what is wrong."""


class Family(NamedTuple):
    """Codecs of one kind of network."""

    shape: type[CodecShape] | type[AudioShape]
    codec: type[Codec] | type[AudioCodec]


FAMILIES = {"image": Family(CodecShape, Codec), "audio": Family(AudioShape, AudioCodec)}


@dataclass
class CodecBundle:
    """A codec with what it was trained on.

    medium: a modality's name. reading: options with which its files are to be read, such as {"size": 64}.
    """

    codec: Codec | AudioCodec
    medium: str
    reading: dict[str, int]
    notes: dict[str, Any] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        """JSON-able: all but the weights, with their fingerprint."""
        family = next(name for name, family in FAMILIES.items() if isinstance(self.codec, family.codec))
        return {
            "medium": self.medium, "reading": self.reading, "family": family, "shape": asdict(self.codec.shape),
            "codes": [each.codebook_size for each in bottlenecks(self.codec).values()],
            "fingerprint": self.fingerprint(),
        }  # fmt: skip

    def fingerprint(self) -> str:
        """Hash of the weights that codes depend on: equal fingerprints mean the same codes and the same media."""
        return hash_weights(lasting(self.codec))

    @staticmethod
    def restore(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> CodecBundle:
        """Inverse of `config` and `lasting`; ValueError when weights and config do not belong together."""
        family = FAMILIES[config["family"]]
        said = {name: tuple(value) if isinstance(value, list) else value for name, value in config["shape"].items()}
        shape: Any = cast(Any, family.shape)(**said)
        with torch.device("meta"):  # nothing is allocated for a shape that the weights do not have
            hollow = family.codec(shape)
        expected = {name: tensor.shape for name, tensor in lasting(hollow).items()}
        expected |= {f"{name}kept": torch.Size([count]) for name, count in zip(bottlenecks(hollow), config["codes"])}
        if expected != {name: tensor.shape for name, tensor in weights.items()}:
            raise ValueError("the weights of the codec are not those of its shape")
        codec = family.codec(shape)
        for name, each in bottlenecks(codec).items():
            each.kept = weights[f"{name}kept"]
        codec.load_state_dict(dict(weights), assign=True, strict=False)
        reading = {str(name): int(value) for name, value in config["reading"].items()}
        bundle = CodecBundle(codec.eval(), str(config["medium"]), reading)
        if bundle.fingerprint() != config["fingerprint"]:
            raise ValueError(
                f"the codec has the fingerprint {bundle.fingerprint()}, {config['fingerprint']} was trained with: "
                f"its codes mean something else"
            )
        return bundle


def bottlenecks(codec: nn.Module) -> dict[str, Bottleneck]:
    """Prefix of their weights' names -> those of a codec: itself, or its levels."""
    found = {name: module for name, module in codec.named_modules() if isinstance(module, Bottleneck)}
    return {f"{name}." if name else "": module for name, module in found.items()}


def lasting(codec: nn.Module) -> dict[str, Tensor]:
    """The weights without what only training needs (running sums, latents seen lately)."""
    passing = ("quantizer.sums", "quantizer.recent", "quantizer.seen")
    return {name: tensor for name, tensor in codec.state_dict().items() if not name.endswith(passing)}


def save_codec(bundle: CodecBundle, folder: Path) -> None:
    """Writes `folder`, each file whole or not at all."""
    whole = {"format": FORMAT, "helicon": helicon.__version__, **bundle.config(), "notes": bundle.notes}
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
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["medium"]
    except (OSError, LookupError, TypeError, ValueError, RecursionError):
        return folder
    return folder if found == medium else None


def load_codec(path: Path, device: torch.device | str = "cpu") -> CodecBundle:
    """The codec of a run or bundle. CodecError names the file and what is wrong with it."""
    folder = find_codec(path)
    if folder is None:
        made = "`helicon train image-codec DIR` or `audio-codec` makes one"
        raise CodecError(f"{path}: no codec ({CONFIG}, {WEIGHTS}) there or in model/; {made}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']!r}; this version of helicon reads {FORMAT}")
        bundle = CodecBundle.restore(config, read_weights(folder / WEIGHTS, device=device))
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise CodecError(f"{folder / CONFIG}: not a codec this version can read ({reason})") from None
    bundle.notes = config.get("notes", {})
    return bundle
