"""Planning of a codec's training, alone or as the first stage of a model whose tokenizer it becomes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from helicon.data.files import scan
from helicon.data.source import modalities_of
from helicon.modalities import registry
from helicon.presets import chosen, dotted, merge, preset, without
from helicon.sources.local import local_path
from helicon.training.codecs.raw_data import RawData
from helicon.training.errors import TrainingError
from helicon.training.learning.data import SequenceData
from helicon.training.options import check_task_name, resolve
from helicon.training.plan import Log, TrainingPlan, check_labels, check_request
from helicon.training.plan_config import MACHINE_OPTIONS, limit_config, machine_of, place_config, validation_interval
from helicon.training.runs.folders import choose_run
from helicon.training.settings.lightning_options import FSDP2
from helicon.training.settings.request import TrainRequest
from helicon.training.tasks import tasks

CODEC_SHARE = 1 / 3  # of the minutes of a request that trains a codec first
CODES = "codes"  # name of the tokenizer that wraps a codec
# Options that all stages share
SHARED_OPTIONS = (
    "plugins",
    "data.val_split",
    "data.manifest",
    "data.cache",
    "data.workers",
    "trainer.logger",
    *(f"trainer.{name}" for name in MACHINE_OPTIONS),
)


def codec_stage(request: TrainRequest) -> TrainRequest | None:
    """Return the `TrainRequest` of the codec to train before that of a GPT; None where none is needed or one is named.

    Errors that would stop the second stage are raised now, before the first one takes its time.

    Raises:
        ValueError: the task has no slot for the codec, or the codec's preset is none.
        DataError: there are no files.
    """
    task = request.overrides.get("codec") or request.config.get("codec")
    if task is None or request.init_from:
        return None
    data = planned_data(request)
    if not any(medium_of(task) in layout.all_slots for layout in data.layouts):
        raise ValueError(f"--codec {task}: {request.task} has no {medium_of(task)}")
    if _tokenizer_named(data, medium_of(task)):
        return None
    if data.stream:
        trained = f"--data.tokenizers.{medium_of(task)} RUN names one that was trained on a part of the set"
        raise ValueError(f"--data.stream true: a codec is not trained on a stream; {trained}")
    run = choose_run(request.runs, request.name, request.title)
    # The codec may not learn the files that the task holds out for validation
    inherited = chosen(request.config, ("plugins", "data.val_split", "data.manifest"))
    options = merge(inherited, shared_options(request.overrides, _reading_options(medium_of(task))))
    if options.get("trainer", {}).get("strategy") == FSDP2:  # which shards the layers of a GPT alone
        options["trainer"]["strategy"] = "ddp"
    return replace(
        request, task=task, name=f"{run.name}-codec", minutes=request.share(CODEC_SHARE), size="auto", overrides=options
    )


def shared_options(overrides: Any, more: Collection[str] = ()) -> dict[str, Any]:
    """Return the part of a config that all stages share.

    Args:
        overrides: config (nested dict) of the typed options.
        more: dotted names of further options to keep.

    Returns:
        A new config (nested dict) with these options alone.
    """
    return chosen(overrides, (*SHARED_OPTIONS, *more))


def _reading_options(medium: str) -> tuple[str, ...]:
    """Return the options by which files of a medium are read; a codec stores them for the GPT of its codes."""
    return tuple(f"data.{name}" for name in registry.get(medium).option_names)


def _tokenizer_named(data: SequenceData, slot: str) -> bool:
    """Return whether a slot's tokenizer is named, rather than just of the kind `codes`, as published shapes have it."""
    return data.source.tokenizers.get(slot, CODES) != CODES or slot in data.pretrained_tokenizers


def medium_of(task: str) -> str:
    """Return the medium of a codec's preset (name or file): `image` or `audio`.

    Raises:
        ValueError: a preset that trains no codec.
    """
    kind = tasks()[check_task_name(preset(task).get("task"))].data_class
    if not issubclass(kind, RawData):
        raise ValueError(f"--codec {task}: a preset that trains a codec is needed")
    return kind.medium


def planned_data(request: TrainRequest) -> SequenceData:
    """Return the data module, `SequenceData`, of a GPT's `TrainRequest`, not prepared.

    Raises:
        ValueError: an option is not accepted.
        DataError: there are no files, or no labels for a user's layout with labels. Of a stream both are seen later.
    """
    where: dict[str, Any] = {"data": {"path": str(request.path)}, "runs": str(request.runs)}
    where["data"] |= {"init_from": str(request.init_from)} if request.init_from else {}
    data: SequenceData = resolve(merge(request.config, where, request.overrides)).make_data()
    if data.stream:
        return data
    root, manifest = local_path(request.path, data.source.cache), data.source.manifest
    scans = [scan(root, modalities_of(layout, data.examples), manifest) for layout in data.layouts]
    check_labels(request, data.layouts, [[entry.label for entry in files.entries] for files in scans])
    return data


def with_codec(request: TrainRequest, first: TrainRequest, codec: Path) -> TrainRequest:
    """Return the `TrainRequest` of the second stage, whose tokenizer is the codec of the first.

    Args:
        request: of both stages.
        first: request of the codec, from `codec_stage`.
        codec: folder of the codec's run.

    Returns:
        A new request with the codec named, in the minutes that the first stage leaves.
    """
    medium = medium_of(first.task)
    overrides = without(request.overrides, ("codec", *_reading_options(medium)))
    named = {source: value for config in (request.config, overrides)
             for source, value in ((config.get("data") or {}).get("tokenizers") or {}).items()}  # fmt: skip
    overrides = merge(overrides, {"data": {"tokenizers": {**named, medium: str(codec)}}})
    name = (first.name or "").removesuffix("-codec")
    minutes = request.minutes - first.minutes if request.timed else request.minutes
    return replace(request, name=name, minutes=minutes, overrides=overrides)


def plan_codec(request: TrainRequest, log: Log) -> TrainingPlan:
    """Plan the training of a codec: check the request, read the files and choose the other settings.

    Nothing is written but the cache.

    Args:
        request: `TrainRequest` of a codec's task.
        log: called with each progress message.

    Returns:
        A `TrainingPlan`, its data prepared.

    Raises:
        TrainingError: a size or a run to fine-tune is named, which codecs do not have.
        ValueError: an option is not accepted.
        DataError: there are no files.
    """
    if request.size != "auto" or request.init_from:
        raise TrainingError("a codec has neither --size nor --from; --model.width says how large it is")
    check_request(request)
    run = choose_run(request.runs, request.name, request.title)
    # As if 1000 steps were expected, whatever the codec: 20 validations in the minutes
    every = {"trainer": {"val_check_interval": validation_interval(request, 1000)}}
    settings = merge(every, request.config, place_config(request, run), limit_config(request), request.overrides)
    config = resolve(settings)
    module, data = config.make_module(), config.make_data()
    module.check(data)
    if module.bf16 and machine_of(config).bf16:
        config = config.changed(without({"trainer": {"precision": "bf16-mixed"}}, dotted(settings)))
    log(f"run        {run}\nreading    {request.path}")
    data.prepare_data()
    data.setup("fit")
    with torch.device("meta"):
        codec, description = module.plan(data)
    count = sum(parameter.numel() for parameter in codec.parameters())
    log(f"codec      {count / 1e6:.2f} M parameters, {description}")
    return TrainingPlan(config=config, run=run, data=data, parameters=count)
