"""Configuration of a training: dataclasses, composed by inheritance so that each group of options stays flat.

At the top of a run's config are the options of the run, below it the groups `model`, `data` and `trainer`.
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_type_hints

from helicon.gpt.config import GPTConfig
from helicon.objectives.base import Objective
from helicon.objectives.guarded import fault
from helicon.objectives.registry import configured
from helicon.vqvae.config import AudioNetConfig, ImageCodecConfig

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options of a run: what is trained, and where it is kept.

    Args:
        task: gpt, codec, audio-codec or an objective's name; presets set it.
        name: folder in --runs; else TASK-N.
        runs: folder of all runs.
        codec: preset that `helicon train` trains first.
        next: request for the next run, which `helicon train` writes.
        upsampler_of: run whose upsampler this is.
        weights: weights in the bundle: of the lowest validation loss (best), or of the last step.
        samples: whether samples are made as it trains.
        repeat: run to repeat step by step, with its learning rates.
        plugins: files with code of one's own that it needs, which `--plugin FILE` adds to.
    """

    task: str = "gpt"
    name: str | None = None
    runs: str = "runs"
    codec: str | None = None
    next: dict[str, Any] | None = None
    upsampler_of: str | None = None
    weights: Literal["best", "last"] = "best"
    samples: bool = True
    repeat: str | None = None
    plugins: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimizer, and schedule of the learning rate.

    Args:
        optimizer: `muon` for the matrices of the layers with AdamW for the rest, or `adamw` for all.
        lr: highest learning rate, reached after the warm-up.
        final_lr: share of `lr` at the end.
        warmup: share of the training that the rate rises linearly.
        schedule: how the rate comes down to `final_lr`: `cosine` from the warm-up on, or `linear` over the second half.
        weight_decay: of weight matrices and kernels; embeddings, norms, biases and codebooks have none.
        beta2: AdamW's second decay rate (the first is .9).
    """

    optimizer: Literal["muon", "adamw"] = "muon"
    lr: float = 3e-3
    final_lr: float = 0.05
    warmup: float = 0.05
    schedule: Literal["cosine", "linear"] = "cosine"
    weight_decay: float = 0.1
    beta2: float = 0.98


@dataclass(frozen=True, kw_only=True)
class GPTModelConfig(GPTConfig, OptimizerConfig):
    """A GPT and how it learns: `--model.*` of every objective, each of which adds options of its own.

    Args:
        context: tokens fed at most; of layouts whose slots are all fixed, as many as they have.
        positions: `flat`, `grid:L`, `axes` or `rope`.
        ema: decay of a moving average of the weights, e.g. 0.999, which is validated and kept in their place.
        activation_checkpointing: whether activations are recomputed in backward, to save memory.
    """

    dropout: float = 0.1
    context: int = 512
    positions: str = "flat"
    ema: float = 0.0
    activation_checkpointing: bool = False

    @property
    def gpt(self) -> GPTConfig:
        """`GPTConfig` of the network alone."""
        return part(GPTConfig, self)


@cache
def model_config(objective: type[Objective]) -> type[GPTModelConfig]:
    """Return a subclass of GPTModelConfig with the options of an objective class.

    Raises:
        PluginError: a field of the objective has the name of another option.
    """
    types, options = get_type_hints(objective), fields(objective)
    for option in options:
        if option.name in {base.name for base in fields(GPTModelConfig)}:
            raise fault(objective, f"--model.{option.name} is another option already; give its field another name")
    # jsonargparse takes its help from docstrings
    described = (inspect.getdoc(objective) or "").partition("Args:\n")[2].rstrip()
    names = [(option.name, types[option.name], default_of(option)) for option in options]

    def check(self: GPTModelConfig) -> None:
        GPTModelConfig.__post_init__(self)
        configured(objective, part_of(objective, self))

    text = f"A GPT and what it learns.\n\nArgs:\n{described}"
    namespace = {"__doc__": text, "__module__": __name__, "__post_init__": check}
    return make_dataclass(
        "GPTModelConfig", names, bases=(GPTModelConfig,), frozen=True, kw_only=True, namespace=namespace
    )


def default_of(option: Field[Any]) -> Any:
    """Return a new dataclass field with the default of another, for use in a class body."""
    if option.default_factory is not MISSING:
        return field(default_factory=option.default_factory)
    return field(default=option.default)


@dataclass(frozen=True, kw_only=True)
class CodecLearningConfig(OptimizerConfig):
    """Training of a codec, whatever its medium.

    Args:
        commitment: weight of ema's pull on the encoder.
        kl: weight of gumbel's divergence from equally used codes.
        drop_unused: whether codes that nothing to train on has are dropped at the end.
    """

    final_lr: float = 0.02
    warmup: float = 0.03
    weight_decay: float = 1e-4
    beta2: float = 0.99
    commitment: float = 0.25
    kl: float = 1e-3
    drop_unused: bool = False


@dataclass(frozen=True, kw_only=True)
class ImageCodecModelConfig(ImageCodecConfig, CodecLearningConfig):
    """A codec of pictures and how it learns: `--model.*` of the task `codec`.

    Args:
        decay: of the moving averages of ema.
    """

    decay: float = 0.99

    @property
    def codec(self) -> ImageCodecConfig:
        """`ImageCodecConfig` of the network alone."""
        return part(ImageCodecConfig, self)


@dataclass(frozen=True, kw_only=True)
class AudioCodecModelConfig(AudioNetConfig, CodecLearningConfig):
    """A codec of sound and how it learns: `--model.*` of the task `audio-codec`.

    Args:
        hops: samples a code of each level, finest first, e.g. `8,32,128`, each a multiple of the one before; one level
            of 250 to 500 codes a second unless given, `auto:2` or `auto:3` for more.
        decay: of the moving averages of ema; .99 suits trainings of many thousands of steps.
        rare: share of the mean use of ema's codes below which one is moved to where it is needed.
        worst: weight of a window's worst samples, beside the waveform's 1.
        spectral: weight of the spectra of three resolutions.
        mel: weight of the log-mel spectrum.
    """

    width: int = 96
    hops: str | int | list[int] | None = None
    decay: float = 0.95
    rare: float = 0.4
    worst: float = 0.02
    spectral: float = 0.1
    mel: float = 3.0

    @property
    def nets(self) -> AudioNetConfig:
        """`AudioNetConfig` of the networks alone."""
        return part(AudioNetConfig, self)


def part(kind: type[Part], config: Any) -> Part:
    """Return an instance of a base dataclass with the fields that a derived config has inherited from it.

    Args:
        kind: base dataclass, such as GPTConfig.
        config: instance of a class that has all of its fields.

    Returns:
        Instance of `kind`.
    """
    return kind(**part_of(kind, config))


def part_of(kind: type[Any], config: Any) -> dict[str, Any]:
    """Return the values that a derived config has in the fields of a base dataclass.

    Args:
        kind: base dataclass.
        config: instance of a class that has all of its fields.

    Returns:
        Field name -> value.
    """
    return {option.name: getattr(config, option.name) for option in fields(kind)}
