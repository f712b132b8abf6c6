"""The trainings that one request stands for: a codec, the model of its codes, upsamplers to finer levels, in order.

Each stage is a run of its own whose config has the request that follows, so that any of them can be gone on with.
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
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.training.codec_plan import codec_stage, plan_codec, planned_data, shared_options, with_codec
from helicon.training.errors import TrainingError
from helicon.training.options import UsageError, locating_options, typed_config
from helicon.training.plan import TrainingPlan, plan_gpt
from helicon.training.refusals import explaining_lightning
from helicon.training.runs.folders import choose_run
from helicon.training.settings.config import OptimizerConfig
from helicon.training.settings.hops import parse_hops
from helicon.training.settings.request import MAX_MINUTES, TrainRequest
from helicon.training.settings.sizes import check_size, shape_of, task_config, trains_codec
from helicon.training.settings.user_classes import load_plugins_of
from helicon.training.settings.words import typed_options

UPSAMPLED = "audio"  # the medium whose codecs have levels
UPSAMPLER = "audio-upsampler"  # preset
# Options that a request says by itself, or that are of a run that is there
REQUEST_OPTIONS = ("task", "name", "runs", "next", "upsampler_of", "repeat", "ckpt_path")
UNSUPPORTED = {"task", "ckpt_path"}  # of these, those that `train` says in other words
LIMIT_OPTIONS = ("trainer.max_time", "trainer.max_steps")
# Options of a size's preset that a config may say otherwise: how it learns, not how large it is
LEARNING_OPTIONS = ("model.dropout", *(f"model.{each.name}" for each in fields(OptimizerConfig)))
# Field of a request -> options that it decides, beside those of the preset of its size
FIELD_OPTIONS = {
    "minutes": LIMIT_OPTIONS, "steps": LIMIT_OPTIONS, "seed": ("data.seed",), "manifest": ("data.manifest",),
    "init_from": ("data.adopt",), "upsampler_of": ("data.layouts", "data.tokenizers"),
}  # fmt: skip


def make_request(task: str, path: Path, words: Sequence[str] = (), **asked: Any) -> TrainRequest:
    """Returns what is asked for.

    Args:
        task: preset, config file or layout.
        path: folder of files.
        words: options of `helicon fit` as they are typed, configs and presets among them.
        asked: other fields of a request; None for what is not said.

    Raises:
        UsageError: for a word that is not accepted, with file and line where a config says it.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    TrainRequest(task=task, path=path, **asked)  # numbers that are none are told before all else
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
    beaten = [name for name in _flag_options(asked) if not any(_overlap(name, option) for option in options)]
    typed = without(merge(chosen(base, LIMIT_OPTIONS), typed), beaten)
    minutes = _minutes(typed)
    if minutes is None and "steps" in asked:
        minutes = MAX_MINUTES  # steps alone decide
    place = {"name": typed.get("name"), "runs": Path(typed["runs"]) if "runs" in typed else None, "minutes": minutes}
    said = {name: value for name, value in place.items() if value is not None} | asked
    own = (*REQUEST_OPTIONS, "trainer.max_time") if "minutes" in said else REQUEST_OPTIONS
    return TrainRequest(task=task, path=path, overrides=without(typed, own), **said)


def _flag_options(asked: Mapping[str, Any]) -> list[str]:
    """Options that flags decide, whatever a config says."""
    check_size(size := asked.get("size", "auto"))
    shape = {} if size == "auto" else shape_of(size)
    sized = [name for name in dotted(shape) if name not in LEARNING_OPTIONS]
    return [*sized, *(name for flag in asked for name in FIELD_OPTIONS.get(flag, ()))]


def _overlap(name: str, other: str) -> bool:
    """Whether one of two options is the other, or a part of it."""
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def _minutes(config: Config) -> float | None:
    """Those of `--trainer.max_time`, if it says any."""
    limit = (config.get("trainer") or {}).get("max_time")
    with explaining_lightning():
        return (Timer(limit).time_remaining() or 0) / 60 if limit else None


def stages(request: TrainRequest) -> list[TrainRequest]:
    """What is to be trained, in order; what would stop a later stage raises now, as far as it can be known."""
    if trains_codec(request.config) and (request.levels != 1 or request.upsampler_of):
        raise UsageError("--levels and --for are of models of sound; --model.hops says which levels a codec has")
    found = [request] if trains_codec(request.config) else _stages(request)
    # Where no stage trains it, it is told to all of them still
    if named := [stage.overrides["codec"] for stage in found if stage.overrides.get("codec")]:
        why = "the task is a codec, or its tokenizer is there already (--from, --for, --data.tokenizer)"
        raise UsageError(f"--codec {named[0]} would have no effect: {why}")
    return found


def _stages(request: TrainRequest) -> list[TrainRequest]:
    """Those of a GPT."""
    if request.upsampler_of is not None:
        return [_upsampler(request)]
    if request.levels > 1:
        _check_sound(request)
    first, found, top = codec_stage(request), [], 0
    if request.levels > 1:
        top = _top_level(request, first)
        if top + 1 < request.levels:
            raise ValueError(f"--levels {request.levels}: its sound has {top + 1}")
    if first:
        first = replace(first, levels=1, overrides=merge(first.overrides, _hops(request, first)))
        run = choose_run(request.runs, first.name, first.title)
        found, request = [first], with_codec(request, first, run)
    name = choose_run(request.runs, request.name, request.title).name
    own = request.share(1 / 2 if request.levels > 1 else 1)
    found.append(replace(request, name=name, minutes=own, levels=1))
    for level in range(top - 1, top - request.levels, -1):
        found.append(
            replace(
                request, task=UPSAMPLER, minutes=request.share(1 / 2 / (request.levels - 1)),
                name=f"{name}-upsampler-{level}", init_from=None, upsampler_of=request.runs / name, levels=1,
                overrides=shared_options(request.overrides),
            )
        )  # fmt: skip
    return found


def _check_sound(request: TrainRequest) -> None:
    """ValueError unless levels are asked of what makes sound, as far as task and options say what it makes."""
    layouts = (merge(request.config, request.overrides).get("data") or {}).get("layouts")
    if not layouts:
        said = """--data.layouts '["audio"]' says so of what does"""
        raise ValueError(
            f"--levels {request.levels}: only sound has levels, and {request.task} names no medium; {said}"
        )
    if Layout.parse(layouts[0]).target.name != UPSAMPLED:
        raise ValueError(f"--levels {request.levels}: {request.task} makes no sound, and only sound has levels")


def chain_stages(found: Sequence[TrainRequest]) -> TrainRequest:
    """The first stage, which knows those that follow."""
    *before, chain = found
    for stage in reversed(before):
        chain = replace(stage, next=chain)
    return chain


def stage_lengths(found: Sequence[TrainRequest]) -> str:
    """What each stage is and takes, for people."""
    return ", then ".join(f"{stage.title} in {stage.length}" for stage in found)


def plan_stage(request: TrainRequest, words: Sequence[str] = ()) -> TrainingPlan:
    """What is decided of a stage when its turn has come; errors name the config among the words it was typed by."""
    with locating_options(request.task, words=words):
        if trains_codec(request.config):
            return plan_codec(request, log)
        return plan_gpt(_upsampler(request) if request.upsampler_of else request, log)


def _top_level(request: TrainRequest, first: TrainRequest | None) -> int:
    """The level that the model makes, 0 the finest; -1 where it makes sound that has none."""
    if first:
        return len(parse_hops(_preset_hops(first) or f"auto:{request.levels}", RATE)) - 1
    tokenizer = planned_data(request).pretrained_tokenizers.get(UPSAMPLED)
    return tokenizer.level if isinstance(tokenizer, SoundCodesTokenizer) else -1


def _hops(request: TrainRequest, first: TrainRequest) -> dict[str, Any]:
    """Options of a codec of as many levels as are wanted, unless it has some of its own."""
    return {"model": {"hops": f"auto:{request.levels}"}} if request.levels > 1 and not _preset_hops(first) else {}


def _preset_hops(codec: TrainRequest) -> Any:
    """As the preset of a codec has them, if it does."""
    return (preset(codec.task).get("model") or {}).get("hops")


def _upsampler(request: TrainRequest) -> TrainRequest:
    """The upsampler that a run lacks next: from its finest level so far to the one below."""
    assert request.upsampler_of is not None
    if request.init_from or not _upsamples(request.task):
        known = [name for name in preset_names() if _upsamples(name)]
        raise ValueError(f"--for {request.upsampler_of}: one of {', '.join(known)} is needed, without --from")
    if request.levels > 1:
        raise ValueError(f"--levels {request.levels}: --for trains one upsampler, to the next finer level")
    level, style = finest_level(request.upsampler_of), load_bundle(request.upsampler_of).tokenizer_names.get("style")
    layout = "style[1] audio@above" if style else "audio@above"
    names = {"audio": f"{request.upsampler_of}@{level - 1}", "above": f"{request.upsampler_of}@{level}"}
    names |= {"style": style} if style else {}
    own = {"data": {"layouts": [layout], "tokenizers": names}}
    return replace(request, overrides=merge(own, request.overrides))


def _upsamples(task: str) -> bool:
    """Whether a preset makes what is guided by the codes above it."""
    return "@" in str((preset(task).get("data") or {}).get("layouts"))


def finest_level(run: Path) -> int:
    """The finest level that a run makes so far. TrainingError when there is none below it to be trained."""
    made = upsamplers_of(find_bundle(run))
    tokenizer = load_bundle(made[-1] if made else run).sequencer.tokenizers.get(UPSAMPLED)
    if not isinstance(tokenizer, SoundCodesTokenizer):
        raise TrainingError(f"--for {run}: a model of sound by the codes of a codec is needed")
    if tokenizer.level < 1:
        raise TrainingError(f"--for {run}: it makes the finest level of its codec already")
    return tokenizer.level


def attach_upsampler(run: Path, target: Path) -> Path:
    """Puts a trained upsampler, also one that was trained on, into the model that it is for; gives its place there."""
    tokenizer = load_bundle(run).sequencer.tokenizers[UPSAMPLED]
    assert isinstance(tokenizer, SoundCodesTokenizer)
    return attach_bundle(find_bundle(run), find_bundle(target), tokenizer.level)
