"""Stages of a request: trainings of a codec, of the model of its codes, and of upsamplers to finer levels, in order.

Each stage is a run whose config holds the request of the next one, so that any of them can be resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Timer

from helicon.bundle.storage import find_bundle, load_bundle
from helicon.bundle.upsamplers import attach_bundle, upsamplers_of
from helicon.formats.progress import log
from helicon.modalities.audio import RATE
from helicon.presets import Config, chosen, dotted, merge, preset, preset_names, without
from helicon.sequence.layout import Layout
from helicon.sources.places import Place
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.training.codec_plan import codec_stage, medium_of, plan_codec, planned_data, shared_options, with_codec
from helicon.training.errors import TrainingError
from helicon.training.options import typed_config
from helicon.training.plan import TrainingPlan, check_request, plan_gpt
from helicon.training.refusals import explaining_lightning
from helicon.training.runs.folders import choose_run
from helicon.training.settings.config import OptimizerConfig
from helicon.training.settings.hops import parse_hops
from helicon.training.settings.request import MAX_MINUTES, TrainRequest
from helicon.training.settings.sizes import check_size, shape_of, task_config, trains_codec
from helicon.training.settings.user_classes import load_plugins_of
from helicon.training.settings.words import typed_options
from helicon.training.usage_errors import UsageError, locating_options

UPSAMPLED = "audio"  # the medium whose codecs have levels
UPSAMPLER = "audio-upsampler"  # preset of each upsampler of --levels
# Options that are fields of a request, or that resume or repeat a run; no request overrides them
REQUEST_OPTIONS = ("task", "name", "runs", "next", "upsampler_of", "repeat", "ckpt_path")
UNSUPPORTED = {"task", "ckpt_path"}  # of these: refused when typed, as `train` has other words for them
LIMIT_OPTIONS = ("trainer.max_time", "trainer.max_steps")  # that end a training
# Options of a size's preset that a config may override: how the model learns, not how large it is
LEARNING_OPTIONS = ("model.dropout", *(f"model.{option.name}" for option in fields(OptimizerConfig)))
# Field of a request -> options of a config that it replaces, beside those of the preset of its size
FIELD_OPTIONS = {
    "minutes": LIMIT_OPTIONS, "steps": LIMIT_OPTIONS, "seed": ("data.seed",), "manifest": ("data.manifest",),
    "init_from": ("data.init_from",), "upsampler_of": ("data.layouts", "data.tokenizers"),
}  # fmt: skip


def make_request(task: str, path: Place, words: Sequence[str] = (), **asked: Any) -> TrainRequest:
    """Make the request of a command line or library call.

    Args:
        task: preset, config file or layouts.
        path: folder of training files, or place that is elsewhere.
        words: typed options of `helicon fit`, configs and presets among them.
        asked: other fields of TrainRequest; None for those that were not given.

    Returns:
        A `TrainRequest`, whose overrides are the typed options.

    Raises:
        UsageError: a word is not accepted; with file and line where a config has it.
        ValueError: a field is out of range, or an unknown task.
        PluginError: a plugin of the task cannot be loaded.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    TrainRequest(task=task, path=path, **asked)  # validates the fields before any plugin is loaded
    base = task_config(task)
    if base.get("plugins"):
        load_plugins_of(task)
    typed = typed_config(words, merge(base, {"data": {"path": str(path)}}), task, ("--codec",))
    options = {name.removeprefix("--") for name, _ in typed_options(words)}
    for name in UNSUPPORTED & options:
        raise UsageError(f"--{name} would have no effect in train: its task, --from or --resume say so; or helicon fit")
    for name, option in (("minutes", "trainer.max_time"), ("steps", "trainer.max_steps")):
        if name in asked and option in options:
            raise UsageError(f"{name} and --{option} both say how long it takes: leave one of them out")
    # Precedence: typed options, flags such as --steps, then configs
    replaced = [name for name in _flag_options(asked) if not any(_overlap(name, option) for option in options)]
    typed = without(merge(chosen(base, LIMIT_OPTIONS), typed), replaced)
    minutes = _minutes(typed)
    if minutes is None and "steps" in asked:
        minutes = MAX_MINUTES  # steps alone decide
    place = {"name": typed.get("name"), "runs": Path(typed["runs"]) if "runs" in typed else None, "minutes": minutes}
    settings = {name: value for name, value in place.items() if value is not None} | asked
    absorbed = (*REQUEST_OPTIONS, "trainer.max_time") if "minutes" in settings else REQUEST_OPTIONS
    return TrainRequest(task=task, path=path, overrides=without(typed, absorbed), **settings)


def slots_asked(request: TrainRequest) -> tuple[list[list[str]], Path | None]:
    """Return what media in memory are written for: the slots of each layout of a request, and its folder of caches.

    Args:
        request: `TrainRequest`, whose path does not matter.

    Returns:
        Names of the slots of each layout; and the folder, None for the user's.

    Raises:
        TrainingError: neither layouts nor a run to start from.
    """
    config = merge(request.config, request.overrides)
    data = config.get("data") or {}
    cache = Path(data["cache"]) if data.get("cache") else None
    if trains_codec(config):
        return [[medium_of(request.task)]], cache
    if layouts := data.get("layouts"):
        return [Layout.parse(layout).all_slots for layout in layouts], cache
    check_request(request)
    assert request.init_from is not None
    return [layout.all_slots for layout in load_bundle(request.init_from).schema.layouts], cache


def _flag_options(asked: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of options that flags replace, whatever a config says."""
    check_size(size := asked.get("size", "auto"))
    shape = {} if size == "auto" else shape_of(size)
    sized = [name for name in dotted(shape) if name not in LEARNING_OPTIONS]
    return [*sized, *(name for flag in asked for name in FIELD_OPTIONS.get(flag, ()))]


def _overlap(name: str, other: str) -> bool:
    """Return whether two options are the same, or one is a group that has the other."""
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def _minutes(config: Config) -> float | None:
    """Return `trainer.max_time` of a config in minutes; None without a limit."""
    limit = (config.get("trainer") or {}).get("max_time")
    with explaining_lightning():
        return (Timer(limit).time_remaining() or 0) / 60 if limit else None


def stages(request: TrainRequest) -> list[TrainRequest]:
    """Split a `TrainRequest` into a list of those of its stages, in order.

    Errors of later stages are raised now, as far as they can be known.

    Raises:
        ValueError: an option would have no effect (UsageError), or the request cannot be trained.
        DataError: there are no files.
    """
    if trains_codec(request.config) and (request.levels != 1 or request.upsampler_of):
        raise UsageError("--levels and --for are of models of sound; --model.hops says which levels a codec has")
    trainings = [request] if trains_codec(request.config) else _stages(request)
    # `with_codec` takes the option from the stages of a request whose codec is trained
    if named := [stage.overrides["codec"] for stage in trainings if stage.overrides.get("codec")]:
        why = "the task is a codec, or its tokenizer is there already (--from, --for, --data.tokenizer)"
        raise UsageError(f"--codec {named[0]} would have no effect: {why}")
    return trainings


def _stages(request: TrainRequest) -> list[TrainRequest]:
    """Return the stages of a request for a GPT."""
    if request.upsampler_of is not None:
        return [_upsampler(request)]
    if request.levels > 1:
        _check_sound(request)
    first, trainings, top = codec_stage(request), [], 0
    if request.levels > 1:
        top = _top_level(request, first)
        if top + 1 < request.levels:
            raise ValueError(f"--levels {request.levels}: its sound has {top + 1}")
    if first:
        first = replace(first, levels=1, overrides=merge(first.overrides, _hops(request, first)))
        run = choose_run(request.runs, first.name, first.title)
        trainings, request = [first], with_codec(request, first, run)
    name = choose_run(request.runs, request.name, request.title).name
    # The model of the top level takes half of the time, and all upsamplers the other half
    minutes = request.share(1 / 2 if request.levels > 1 else 1)
    trainings.append(replace(request, name=name, minutes=minutes, levels=1))
    for level in range(top - 1, top - request.levels, -1):
        trainings.append(
            replace(
                request, task=UPSAMPLER, minutes=request.share(1 / 2 / (request.levels - 1)),
                name=f"{name}-upsampler-{level}", init_from=None, upsampler_of=request.runs / name, levels=1,
                overrides=shared_options(request.overrides),
            )
        )  # fmt: skip
    return trainings


def _check_sound(request: TrainRequest) -> None:
    """Validate that a request with levels makes sound, by the layouts of its config; else ValueError."""
    layouts = (merge(request.config, request.overrides).get("data") or {}).get("layouts")
    if not layouts:
        advice = """--data.layouts '["audio"]' says so of what does"""
        raise ValueError(
            f"--levels {request.levels}: only sound has levels, and {request.task} names no medium; {advice}"
        )
    if Layout.parse(layouts[0]).target.name != UPSAMPLED:
        raise ValueError(f"--levels {request.levels}: {request.task} makes no sound, and only sound has levels")


def chain_stages(trainings: Sequence[TrainRequest]) -> TrainRequest:
    """Return the first of these requests, with the second as its `next`, the third as the `next` of that, and so on."""
    *before, chain = trainings
    for stage in reversed(before):
        chain = replace(stage, next=chain)
    return chain


def stage_lengths(trainings: Sequence[TrainRequest]) -> str:
    """Return title and limits of all stages in words, one text."""
    return ", then ".join(f"{stage.title} in {stage.length}" for stage in trainings)


def plan_stage(request: TrainRequest, words: Sequence[str] = ()) -> TrainingPlan:
    """Plan a stage, right before it is trained.

    Args:
        request: `TrainRequest` of the stage.
        words: typed options of the command line, by whose configs errors name file and line.

    Returns:
        A `TrainingPlan`, its data prepared.

    Raises:
        ValueError: an option is not accepted.
        DataError: files are missing or unreadable.
        TrainingError: the stage cannot be trained.
    """
    with locating_options(request.task, words=words):
        if trains_codec(request.config):
            return plan_codec(request, log)
        return plan_gpt(_upsampler(request) if request.upsampler_of else request, log)


def _top_level(request: TrainRequest, first: TrainRequest | None) -> int:
    """Return the level of codes that the model makes, 0 for the finest; -1 where its sound has no levels."""
    if first:
        return len(parse_hops(_preset_hops(first) or f"auto:{request.levels}", RATE)) - 1
    tokenizer = planned_data(request).pretrained_tokenizers.get(UPSAMPLED)
    return tokenizer.level if isinstance(tokenizer, SoundCodesTokenizer) else -1


def _hops(request: TrainRequest, first: TrainRequest) -> dict[str, Any]:
    """Return the config of a codec with as many levels as the request, unless its preset has hops."""
    return {"model": {"hops": f"auto:{request.levels}"}} if request.levels > 1 and not _preset_hops(first) else {}


def _preset_hops(codec: TrainRequest) -> Any:
    """Return `model.hops` of a codec's preset; None without any."""
    return (preset(codec.task).get("model") or {}).get("hops")


def _upsampler(request: TrainRequest) -> TrainRequest:
    """Complete the request of an upsampler: from the finest level that its run makes so far to the next finer one."""
    assert request.upsampler_of is not None
    if request.init_from or not _upsamples(request.task):
        presets = [name for name in preset_names() if _upsamples(name)]
        raise ValueError(f"--for {request.upsampler_of}: one of {', '.join(presets)} is needed, without --from")
    if request.levels > 1:
        raise ValueError(f"--levels {request.levels}: --for trains one upsampler, to the next finer level")
    level, style = finest_level(request.upsampler_of), load_bundle(request.upsampler_of).tokenizer_names.get("style")
    layout = "style[1] audio@above" if style else "audio@above"
    names = {"audio": f"{request.upsampler_of}@{level - 1}", "above": f"{request.upsampler_of}@{level}"}
    names |= {"style": style} if style else {}
    data = {"data": {"layouts": [layout], "tokenizers": names}}
    return replace(request, overrides=merge(data, request.overrides))


def _upsamples(task: str) -> bool:
    """Return whether a preset has a layout with an upsampling condition, such as `audio@above`."""
    return "@" in str((preset(task).get("data") or {}).get("layouts"))


def finest_level(run: Path) -> int:
    """Return the number of the finest level of codes that a run (folder) and its upsamplers make, 1 or more.

    Raises:
        TrainingError: the run makes no codes of sound, or level 0 already.
    """
    upsamplers = upsamplers_of(find_bundle(run))
    tokenizer = load_bundle(upsamplers[-1] if upsamplers else run).sequencer.tokenizers.get(UPSAMPLED)
    if not isinstance(tokenizer, SoundCodesTokenizer):
        raise TrainingError(f"--for {run}: a model of sound by the codes of a codec is needed")
    if tokenizer.level < 1:
        raise TrainingError(f"--for {run}: it makes the finest level of its codec already")
    return tokenizer.level


def attach_upsampler(run: Path, target: Path) -> Path:
    """Copy a trained upsampler into the bundle of its model; one of the same level is replaced.

    Args:
        run: folder of the upsampler's run.
        target: folder of the run or bundle of the model.

    Returns:
        Folder of the upsampler in the bundle.
    """
    tokenizer = load_bundle(run).sequencer.tokenizers[UPSAMPLED]
    assert isinstance(tokenizer, SoundCodesTokenizer)
    return attach_bundle(find_bundle(run), find_bundle(target), tokenizer.level)
