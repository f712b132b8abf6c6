"""What `helicon train` decides before it trains a codec, alone or as the first stage of something that needs one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from helicon.data.files import scan
from helicon.data.prepare import modalities_of
from helicon.presets import preset_path
from helicon.training.codec_base import CodecRun
from helicon.training.data import SequenceData
from helicon.training.errors import TrainingError
from helicon.training.fsdp2 import FSDP2
from helicon.training.plan import Say, Wanted, check_wanted, choose_run, clock, place_arguments, time_arguments
from helicon.training.raw_data import RawData
from helicon.training.run import TASKS, read_arguments
from helicon.training.sizes import Machine, check_size, preset, validation_seconds
from helicon.training.words import options, without

SHARE = 1 / 3  # of the minutes of a training that needs a codec first
CODES = "codes"  # the kind of tokenizer that a codec makes
# Of all stages
MACHINES = ("--trainer.accelerator", "--trainer.devices", "--trainer.strategy", "--trainer.num_nodes")
SHARED_OPTIONS = ("--data.held_out", "--data.cache", "--data.workers", *MACHINES)
STRATEGIES = ("ddp", "fsdp")  # presets
READING = {"image": ("--data.size",), "audio": ("--data.rate", "--data.channels")}  # of the codec's, which say it later


@dataclass(frozen=True)
class CodecPlan:
    """Arguments of `fit`, the run folder they lead to, and what is known before it starts."""

    arguments: list[str]
    run: Path
    data: RawData
    parameters: int


def codec_first(wanted: Wanted) -> Wanted | None:
    """The codec that has to be trained before what is wanted; None when it needs none, or another tokenizer is named.

    What would stop the second stage raises now, before the first takes its time.
    """
    chosen = options(wanted.rest, ("--codec",))
    task = chosen[-1] if chosen else preset(wanted.task).get("codec")
    if task is None or wanted.adopt or _tokenizer_named(planned_data(wanted), medium_of(task)):
        return None
    run = choose_run(wanted.runs, wanted.name, Path(wanted.task).stem)
    return replace(
        wanted, task=task, name=f"{run.name}-codec", minutes=wanted.minutes * SHARE, size="auto",
        rest=_for_codec(shared(wanted.rest, READING[medium_of(task)])),
    )  # fmt: skip


def shared(words: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    """Those of the options that all stages have, and more of them."""
    pairs = options(words, ("--config",))
    strategies = [word for name in pairs[1::2] if name in STRATEGIES for word in ("--config", name)]
    return [*strategies, *options(words, (*SHARED_OPTIONS, *more))]


def _for_codec(words: list[str]) -> list[str]:
    """With `ddp` for what shares out the layers of a GPT."""
    return ["ddp" if word in ("fsdp", FSDP2) else word for word in words]


def _tokenizer_named(data: SequenceData, slot: str) -> bool:
    """Whether a slot's tokenizer is chosen: more than that it is to be of a codec, which published shapes say."""
    return data.source.tokenizers.get(slot, CODES) != CODES or slot in data.adopted_tokenizers


def medium_of(task: str) -> str:
    """The medium that a codec's preset is for. ValueError for another preset."""
    kind = TASKS.get(preset(task).get("task", "gpt"), TASKS["gpt"])[1]
    if not issubclass(kind, RawData):
        raise ValueError(f"--codec {task}: a preset that trains a codec is needed")
    return kind.medium


def planned_data(wanted: Wanted) -> SequenceData:
    """The data module asked for, not prepared. ValueError for a wrong size or option, DataError without any files."""
    check_size(wanted.size)
    where = ["--config", wanted.task, "--data.path", str(wanted.path), "--runs", str(wanted.runs)]
    where += ["--data.adopt", str(wanted.adopt)] if wanted.adopt else []
    data: SequenceData = read_arguments("fit", [*where, *without(wanted.rest, ("--codec",))]).datamodule
    for layout in data.layouts:
        scan(wanted.path, modalities_of(layout), wanted.manifest)
    return data


def with_codec(wanted: Wanted, first: Wanted, codec: Path) -> Wanted:
    """What is wanted, with the trained codec named and in the minutes that are left."""
    medium = medium_of(first.task)
    rest = [*without(wanted.rest, ("--codec", *READING[medium])), f"--data.tokenizers.{medium}", str(codec)]
    name = (first.name or "").removesuffix("-codec")
    return replace(wanted, name=name, minutes=wanted.minutes - first.minutes, rest=rest)


def make_codec_plan(wanted: Wanted, say: Say) -> CodecPlan:
    """Checks what was asked for, reads the files and chooses the rest. Nothing is written but the cache."""
    if wanted.size != "auto" or wanted.adopt:
        raise TrainingError("a codec has neither --size nor --from; --model.width says how large it is")
    check_wanted(wanted)
    preset_path(wanted.task)
    run = choose_run(wanted.runs, wanted.name, Path(wanted.task).stem)
    limits = [*time_arguments(wanted), "--trainer.val_check_interval", clock(validation_seconds(wanted.minutes, 1000))]
    arguments = ["--config", wanted.task, *place_arguments(wanted, run), *limits, *wanted.rest]
    config = read_arguments("fit", arguments)
    module: CodecRun = config.model
    data: RawData = config.datamodule
    module.check(data)
    if module.bf16 and Machine.of(config.trainer.strategy.root_device.type).bf16:
        arguments = [*arguments[:2], "--trainer.precision", "bf16-mixed", *arguments[2:]]
    say(f"run        {run}\nreading    {wanted.path}")
    data.prepare_data()
    data.setup("fit")
    with torch.device("meta"):
        codec, does = module.plan(data)
    count = sum(parameter.numel() for parameter in codec.parameters())
    say(f"codec      {count / 1e6:.2f} M parameters, {does}")
    return CodecPlan(arguments, run, data, count)
