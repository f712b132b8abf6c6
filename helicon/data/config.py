"""Data configs: the files that are read, their options, and the batches made of them."""

from __future__ import annotations

import inspect
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, get_type_hints

from helicon.data.files import DataError
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.modalities import registry
from helicon.plugins.loading import PluginWarning
from helicon.plugins.plugin import PluginError
from helicon.tokenizers.augment import AugmentationRanges


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Files and batches, of whatever medium.

    Args:
        path: folder (or one file) to train on, searched recursively.
        manifest: CSV or JSONL with columns file, label, text, or COCO-style JSON, instead of searching the folder.
        batch_size: examples a step, over all processes; where sequences are shorter than the context, as many more as
            there is room for in the same tokens.
        seed: of batches, augmentation, dropout and noise.
        val_split: share of the data, by size, that is never trained on: whole files, or the end of a single text.
        augment: whether training examples are changed at random.
        changes: ranges of these changes: {transpose: [-5, 6], volume: [-1, 1], tempo: [0.9, 1.1]} of music; of pictures
            {crop: [0.9, 1], flip: 0.5}, the part of each side that is kept and how often they are mirrored; of sound
            {gain: [-6, 6], speed: [0.9, 1.1], shift: [-0.1, 0.1]}, in decibels, as a factor, in seconds.
        workers: loader processes; results do not depend on their number.
        cache: folder of the cache; $HELICON_CACHE or the user's cache folder unless given.
    """

    USUAL_CHANGES: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    path: str
    manifest: str | None = None
    batch_size: int = 32
    seed: int = 0
    val_split: float = 0.05
    augment: bool = True
    changes: dict[str, float | list[float]] | None = None
    workers: int = 0
    cache: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise DataError(f"--data.batch_size must be 1 or more, got {self.batch_size}")
        check_val_split(self.val_split)

    def ranges(self, modalities: Iterable[str]) -> dict[str, AugmentationRanges]:
        """Return modality name -> ranges of its augmentations; empty with `augment` off.

        Args:
            modalities: names of those of the data.

        Raises:
            DataError: changes that these modalities do not have.
        """
        try:
            ranges = registry.augmentation_ranges(modalities, {**self.USUAL_CHANGES, **(self.changes or {})})
        except ValueError as error:
            raise DataError(f"--data.changes: {error}") from None
        return ranges if self.augment else {}


def check_val_split(share: float) -> None:
    """Raise DataError for a share of validation files outside [0, 1), which would leave nothing to train on."""
    if not 0 <= share < 1:
        raise DataError(f"--data.val_split must be 0 or more and less than 1, got {share}")


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One of several sources of a training.

    Args:
        path: folder (or one file), searched recursively.
        weight: its share of the training batches, in proportion to those of the others.
        manifest: list of its files, instead of searching the folder.
        name: in the report and figures; that of the folder unless given.
    """

    path: str
    weight: float | None = None
    manifest: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class SequenceDataConfig(DataConfig):
    """Token sequences of one or more media: `--data.*` of the task `gpt`.

    Args:
        sources: folders that are mixed, e.g. [{path: books, weight: 0.7}, {path: code, weight: 0.3}]; the same as
            --data.path books --data.path code --data.weights .7,.3. Each is split by itself.
        temperature: of mixing sources without weights, by their tokens to the power 1/temperature: 1 as they are,
            larger ones show small sources more often.
        layouts: what a sequence is, e.g. `style[3] music`; several make one model of several tasks, trained in turn.
        tokenizers: slot -> tokenizer, e.g. {music: musenet} or {text: bytes}, or the run of a codec, e.g.
            {image: runs/image-codec-1}; the first of a slot unless named.
        tokenizer: the same for the one slot that has a tokenizer of that name, or that the codec is for; goes first.
        condition_dropout: how often each word of a style, or a caption or another condition as a whole, is left out.
        plan: how often the model is told where in the piece it is (needed by `generate --seconds` to end well).
        max_mb: MiB that a file may have, 128 of text unless given (docs/explanation/security.md has all bounds).
        val_batches: batches of a validation, spread evenly over the validation part.
        init_from: bundle whose tokenizers and weights are the start (fine-tuning); files are read as for that.
        stream: whether the tar shards of the folder are tokenised while training, ahead of it, rather than before: for
            a set that does not fit on the disk.
    """

    FAULTS: ClassVar[Mapping[str, str]] = MappingProxyType({})  # medium of a package whose options clash -> message

    batch_size: int = 16
    sources: list[SourceConfig] | None = None
    temperature: float | None = None
    layouts: list[str] = field(default_factory=list)
    tokenizers: dict[str, str] | None = None
    tokenizer: str | None = None
    condition_dropout: float = 0.1
    plan: float = 0.3
    max_mb: int | None = None
    val_batches: int = 16
    init_from: str | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layouts:
            raise DataError("--data.layouts: one or more, such as `style[3] music`; presets have some: --config music")
        if self.stream and self.manifest is not None:
            raise DataError("--data.stream true reads tar shards, without a --data.manifest")
        if self.stream and self.sources:
            raise DataError("--data.stream true reads the shards of one source; without it several are mixed")
        self._check_sources()

    def _check_sources(self) -> None:
        """Raise DataError for sources, weights or a temperature that make no mixture."""
        if self.sources:  # as a parser checks them, they are dictionaries still
            parsed = [SourceConfig(**source) if isinstance(source, dict) else source for source in self.sources]
            object.__setattr__(self, "sources", parsed)
        sources = self.sources or []
        if self.temperature is not None and not sources:
            raise DataError("--data.temperature: one source alone; several --data.path, or --data.sources, are mixed")
        if self.temperature is not None and not 0 < self.temperature < inf:
            raise DataError(f"--data.temperature must be above 0, got {self.temperature}")
        if self.sources is None:
            return
        if not sources or self.path != sources[0].path:
            first = f", {sources[0].path}, not {self.path}" if sources else ""
            raise DataError(f"--data.sources: one or more, of which --data.path is the first{first}")
        if self.manifest:
            raise DataError("--data.manifest: of several sources each has its own, `manifest` in --data.sources")
        weights = [source.weight for source in sources if source.weight is not None]
        if weights and len(weights) < len(sources):
            raise DataError(f"--data.sources: {len(weights)} weights of {len(sources)} sources; of all or of none")
        if wrong := [weight for weight in weights if not 0 < weight < inf]:
            raise DataError(f"--data.sources: weights must be above 0, got {wrong[0]:g}")
        if weights and self.temperature is not None:
            raise DataError("--data.temperature: the sources have weights; one of both is accepted")
        names = [name for name, _ in self.origins]
        if same := [name for name, n in Counter(names).items() if n > 1]:
            raise DataError(f"--data.sources: two are called {same[0]}; `name` gives another")
        if wrong := [name for name in names if not re.fullmatch(r"[^/\x00-\x1f]{1,60}", name)]:
            shown = printable(wrong[0], MAX_QUOTED)
            raise DataError(f"--data.sources: name {shown!r}; 1 to 60 characters without / are accepted, set by `name`")

    @property
    def origins(self) -> list[tuple[str, SourceConfig]]:
        """Name and config of each of several sources; empty for one."""
        names = [source.name or Path(source.path).name for source in self.sources or ()]
        return list(zip(names, self.sources or ()))

    def check_media(self, names: Iterable[str]) -> None:
        """Refuse media, by their names, whose options clash with others: they could not be read as asked.

        Raises:
            PluginError: the first of them.
        """
        if clashing := [name for name in names if name in self.FAULTS]:
            raise PluginError(self.FAULTS[clashing[0]])

    @property
    def of_media(self) -> dict[str, Any]:
        """Options declared by media that are set, name -> value: how files are read and tokenizers fitted."""
        declared = {option.name for option in fields(self)} - {option.name for option in fields(SequenceDataConfig)}
        return {name: value for name in sorted(declared) if (value := getattr(self, name)) is not None}


def sequence_data_config() -> type[SequenceDataConfig]:
    """Return a subclass of SequenceDataConfig with a field for each option that a medium declares.

    None stands for what the tokenizer asks for, such as the size that a codec was trained on, or else for the medium's
    default. An option of an installed package that there is already is a PluginWarning, as nobody may want its medium.

    Raises:
        PluginError: such an option of a plugin that was named.
    """
    return _with_options(registry.option_classes())


@cache
def _with_options(declared: tuple[tuple[str, type[Any]], ...]) -> type[SequenceDataConfig]:
    """Build the config class. declared: (medium, dataclass of its options)."""
    taken = {option.name for option in fields(SequenceDataConfig)}
    types_by_name: dict[str, Any] = {}
    described, faults = [], {}
    for medium, options in sorted(declared, key=lambda item: not registry.MODALITIES.is_own(item[0])):  # ours go first
        hints = get_type_hints(options)
        types = {option.name: hints[option.name] for option in fields(options)}
        if clash := [name for name, kind in types.items() if name in taken or types_by_name.get(name, kind) != kind]:
            what = f"--data.{clash[0]} is another option already; give its field another name"
            fault, plugin = registry.MODALITIES.fault(medium, what), registry.MODALITIES.plugin_of(medium)
            if plugin is None or plugin.file:
                raise fault
            warnings.warn(f"plugin {plugin.title}: {fault}; until then it trains nothing", PluginWarning, stacklevel=3)
            faults[medium] = str(fault)
            continue
        types_by_name |= types
        # jsonargparse takes its help from docstrings
        described.append((inspect.getdoc(options) or "").partition("Args:\n")[2].rstrip())
    described = list(dict.fromkeys(filter(None, described)))  # media may share a class, such as that of encodings
    text = "\n".join(["Token sequences, and how their files are read.", "", "Args:", *described])
    names = [(name, kind | None, field(default=None)) for name, kind in types_by_name.items()]
    return make_dataclass(
        "SequenceDataConfig", names, bases=(SequenceDataConfig,), frozen=True, kw_only=True,
        namespace={"__doc__": text, "__module__": __name__, "FAULTS": MappingProxyType(faults)},
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ImageDataConfig(DataConfig):
    """Pictures for a codec: `--data.*` of the task `codec`.

    Args:
        size: pixels each way that pictures are scaled and cropped to.
    """

    size: int = 64

    USUAL_CHANGES = MappingProxyType({"flip": 0.5})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise DataError(f"--data.size must be 1 or more, got {self.size}")


@dataclass(frozen=True, kw_only=True)
class AudioDataConfig(DataConfig):
    """Windows of sounds for a codec: `--data.*` of the task `audio-codec`.

    Args:
        rate: samples a second that sounds are resampled to; that of most files unless given.
        channels: 1 for mono, 2 for stereo; sounds that have others are mixed.
        window: samples of a training example; a shorter sound is filled up with silence that counts for nothing.
    """

    rate: int | None = None
    channels: int = 1
    window: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels not in (1, 2):
            raise DataError(f"--data.channels must be 1 or 2, got {self.channels}")
        if self.window < 1 or (self.rate is not None and self.rate < 1):
            raise DataError(f"--data.window and --data.rate must be 1 or more, got {self.window} and {self.rate}")
