"""What `helicon train` decides before it trains a codec, alone or as the first stage of something that needs one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from helicon.data.files import scan
from helicon.data.prepare import modalities_of
from helicon.modalities import registry
from helicon.presets import chosen, dotted, merge, preset, without
from helicon.training.codecs.raw_data import RawData
from helicon.training.errors import TrainingError
from helicon.training.learning.data import SequenceData
from helicon.training.options import check_task_name, resolve
from helicon.training.plan import (
    MACHINE_OPTIONS,
    Log,
    TrainingPlan,
    check_labels,
    check_request,
    limit_config,
    machine_of,
    place_config,
    validation_interval,
)
from helicon.training.runs.folders import choose_run
from helicon.training.settings.lightning_options import FSDP2
from helicon.training.settings.request import TrainRequest
from helicon.training.tasks import tasks

CODEC_SHARE = 1 / 3  # of the minutes of a training that needs a codec first
CODES = "codes"  # the kind of tokenizer that a codec makes
# Of all stages
SHARED_OPTIONS = (
    "plugins",
    "data.held_out",
    "data.manifest",
    "data.cache",
    "data.workers",
    "trainer.logger",
    *(f"trainer.{name}" for name in MACHINE_OPTIONS),
)


def codec_stage(request: TrainRequest) -> TrainRequest | None:
    """The codec that has to be trained before what is wanted; None when it needs none, or another tokenizer is named.

    What would stop the second stage raises now, before the first takes its time.
    """
    task = request.overrides.get("codec") or request.config.get("codec")
    if task is None or request.init_from:
        return None
    data = planned_data(request)
    if not any(medium_of(task) in layout.all_slots for layout in data.layouts):
        raise ValueError(f"--codec {task}: {request.task} has no {medium_of(task)}")
    if _tokenizer_named(data, medium_of(task)):
        return None
    run = choose_run(request.runs, request.name, request.title)
    # What the task itself holds out is not to be learned by its codec
    held_out = chosen(request.config, ("plugins", "data.held_out", "data.manifest"))
    options = merge(held_out, shared_options(request.overrides, _reading_options(medium_of(task))))
    if options.get("trainer", {}).get("strategy") == FSDP2:  # which shares out the layers of a GPT
        options["trainer"]["strategy"] = "ddp"
    return replace(
        request, task=task, name=f"{run.name}-codec", minutes=request.share(CODEC_SHARE), size="auto", overrides=options
    )


def shared_options(overrides: Any, more: Collection[str] = ()) -> dict[str, Any]:
    """Those of the options that all stages have, and more of them."""
    return chosen(overrides, (*SHARED_OPTIONS, *more))


def _reading_options(medium: str) -> tuple[str, ...]:
    """Options of a codec's that say how files are read, which it says later to the model of its codes."""
    return tuple(f"data.{name}" for name in registry.get(medium).option_names)


def _tokenizer_named(data: SequenceData, slot: str) -> bool:
    """Whether a slot's tokenizer is chosen: more than that it is to be of a codec, which published shapes say."""
    return data.source.tokenizers.get(slot, CODES) != CODES or slot in data.pretrained_tokenizers


def medium_of(task: str) -> str:
    """The medium that a codec's preset is for. ValueError for another preset."""
    kind = tasks()[check_task_name(preset(task).get("task"))].data_class
    if not issubclass(kind, RawData):
        raise ValueError(f"--codec {task}: a preset that trains a codec is needed")
    return kind.medium


def planned_data(request: TrainRequest) -> SequenceData:
    """The data module asked for, not prepared. ValueError for a wrong option, DataError without any files."""
    where: dict[str, Any] = {"data": {"path": str(request.path)}, "runs": str(request.runs)}
    where["data"] |= {"adopt": str(request.init_from)} if request.init_from else {}
    data: SequenceData = resolve(merge(request.config, where, request.overrides)).make_data()
    found = [scan(request.path, modalities_of(each, data.examples), data.source.manifest) for each in data.layouts]
    check_labels(request, data.layouts, [[entry.label for entry in files.entries] for files in found])
    return data


def with_codec(request: TrainRequest, first: TrainRequest, codec: Path) -> TrainRequest:
    """What is wanted, with the trained codec named and in the minutes that are left."""
    medium = medium_of(first.task)
    overrides = without(request.overrides, ("codec", *_reading_options(medium)))
    named = {source: value for config in (request.config, overrides)
             for source, value in ((config.get("data") or {}).get("tokenizers") or {}).items()}  # fmt: skip
    overrides = merge(overrides, {"data": {"tokenizers": {**named, medium: str(codec)}}})
    name = (first.name or "").removesuffix("-codec")
    minutes = request.minutes - first.minutes if request.timed else request.minutes
    return replace(request, name=name, minutes=minutes, overrides=overrides)


def plan_codec(request: TrainRequest, log: Log) -> TrainingPlan:
    """Checks what was asked for, reads the files and chooses the rest. Nothing is written but the cache."""
    if request.size != "auto" or request.init_from:
        raise TrainingError("a codec has neither --size nor --from; --model.width says how large it is")
    check_request(request)
    run = choose_run(request.runs, request.name, request.title)
    every = {"trainer": {"val_check_interval": validation_interval(request, 1000)}}
    whole = merge(every, request.config, place_config(request, run), limit_config(request), request.overrides)
    config = resolve(whole)
    module, data = config.make_module(), config.make_data()
    module.check(data)
    if module.bf16 and machine_of(config).bf16:
        config = config.changed(without({"trainer": {"precision": "bf16-mixed"}}, dotted(whole)))
    log(f"run        {run}\nreading    {request.path}")
    data.prepare_data()
    data.setup("fit")
    with torch.device("meta"):
        codec, does = module.plan(data)
    count = sum(parameter.numel() for parameter in codec.parameters())
    log(f"codec      {count / 1e6:.2f} M parameters, {does}")
    return TrainingPlan(config=config, run=run, data=data, parameters=count)
