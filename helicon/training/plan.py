"""Planning of a GPT's training: from task, folder and time limit to the config of `fit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import find_bundle, load_bundle
from helicon.data.files import DataError, scan
from helicon.data.labelled import without_style
from helicon.data.prepared import Prepared
from helicon.data.source import modalities_of
from helicon.objectives.registry import OBJECTIVES
from helicon.presets import dotted, merge, preset_names, without
from helicon.sequence.layout import Layout
from helicon.sources.local import local_path
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import grids
from helicon.training.errors import TrainingError
from helicon.training.options import resolve
from helicon.training.plan_config import limit_config, machine_of, place_config, validation_interval
from helicon.training.runs.folders import choose_run
from helicon.training.settings.augmentation import augmentation_config
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import (
    Machine,
    SizeChoice,
    choose_size,
    expected_steps,
    learning_rate,
    shape_of,
    trains_codec,
)
from helicon.training.tasks import TrainConfig

Log = Callable[[str], None]  # takes a progress message
UNCHANGED = "unchanged"  # size of a fine-tuning: that of the source


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Planned training.

    Args:
        config: `TrainConfig` of `fit`.
        run: folder of the run, not made yet.
        data: data module, prepared.
        parameters: number of parameters of the network.
    """

    config: TrainConfig
    run: Path
    data: Any
    parameters: int

    @property
    def prepared(self) -> Prepared:
        """`Prepared` of the data module: tokenizers, corpora and report."""
        return self.data.prepared


def plan_gpt(request: TrainRequest, log: Log) -> TrainingPlan:
    """Plan the training of a GPT: check the request, prepare the data and choose the other settings.

    Nothing is written but the token cache.

    Args:
        request: `TrainRequest` of a GPT's task.
        log: called with each progress message.

    Returns:
        A `TrainingPlan`, its data prepared.

    Raises:
        TrainingError: the request leaves out what is needed, or a fine-tuning does not fit its bundle.
        ValueError: an option is not accepted.
        DataError: files are missing or unreadable.
    """
    check_request(request)
    run = choose_run(request.runs, request.name, request.title)
    source = load_bundle(request.init_from) if request.init_from else None
    chosen = merge(place_config(request, run), _fine_tuning_config(request, source, log) if source else {})
    settled = merge(chosen, limit_config(request), request.overrides)
    config = resolve(merge(request.config, settled))
    data = config.make_data()
    paths = [str(origin.path) for origin in data.source.all_origins]
    log(f"run        {run}\nreading    {', '.join(paths)}")
    data.prepare_data()
    prepared: Prepared = data.prepared
    check_labels(request, data.layouts, [corpus.labels for corpus in prepared.corpora])

    machine = machine_of(config)
    vocabulary = sum(len(tokenizer.block) + 1 for tokenizer in prepared.tokenizers.values())
    tokens = prepared.train_tokens
    fixed = fixed_length(data.layouts, prepared.tokenizers)
    choice = _choose_size(request, source, machine, tokens, vocabulary, fixed)
    log(f"size       {choice.name}: {choice.reason}")
    shape = {} if choice.name in (request.task, request.size, UNCHANGED) else shape_of(choice.name)
    precision = {"trainer": {"precision": "bf16-mixed" if machine.bf16 else "32-true"}}
    named = dotted(merge(request.config, shape, settled))
    config = config.changed(merge(without(precision, named), without(shape, dotted(settled))))
    data = _set_up(config, prepared)
    context = data.sequencer.context
    parts = {"layers": config.model.layers, "width": config.model.width, "context": context}
    shaped = {"model": parts, "data": {"batch_size": data.batch_size}}
    steps = expected_steps(machine, shaped, vocabulary, request.minutes)
    every = validation_interval(request, steps)
    with torch.device("meta"):
        count = make_gpt(config.model.gpt, data.sequencer.schema).parameter_count()
    on = f"{machine.device}, {config.trainer['precision']}"
    log(f"model      {count / 1e6:.1f} M parameters, {context:,} tokens of context, {on}")
    guesses = {y.target.name: math.log(len(data.sequencer.tokenizers[y.target.name].block) + 1) for y in data.layouts}
    shown = ", ".join(f"{nats:.2f} for {slot}" for slot, nats in guesses.items())
    log(f"loss       in nats a token, lower is better; random guessing: {shown}")
    config = config.changed(without({"trainer": {"val_check_interval": every}}, named))
    changes, reason = augmentation_config(data, min(steps, request.steps or steps))
    if changes and config.data.augment and config.data.changes is None:
        log(f"augment    {reason}")
        config = config.changed(changes)
        data = _set_up(config, prepared)
    return TrainingPlan(config=config, run=run, data=data, parameters=count)


def _set_up(config: TrainConfig, prepared: Prepared) -> Any:
    """Make the data module of a config, with the corpora that are there already."""
    data = config.make_data()
    data.prepared = prepared
    data.setup("fit")
    return data


def check_request(request: TrainRequest) -> None:
    """Validate that the folder of a `TrainRequest` exists, and that its config says how files are read.

    Raises:
        ValueError: no such folder.
        TrainingError: neither layouts nor a run to start from.
    """
    if isinstance(request.path, Path) and not request.path.exists():
        raise ValueError(f"{request.path}: no such file or folder")
    config = merge(request.config, request.overrides)
    if not trains_codec(config) and not request.init_from and not (config.get("data") or {}).get("layouts"):
        scratch = """from scratch --data.layouts says what is read, such as '["music"]'"""
        raise TrainingError(f"{request.task} needs --from RUN, the run or bundle that it starts from; {scratch}")


def check_labels(
    request: TrainRequest, layouts: Sequence[Layout], labels: Sequence[Sequence[str | None]]
) -> None:  # fmt: skip
    """Validate that there are labels for a user's layout with a slot of them; a preset's layouts can do without.

    Args:
        request: `TrainRequest` of the training.
        layouts: `Layout`s of the model.
        labels: for each layout the label of each file, None without any.

    Raises:
        DataError: no file has a label.
    """
    by_user = request.task not in preset_names() or (request.overrides.get("data") or {}).get("layouts")
    from_model = request.init_from or request.upsampler_of  # whose labels may be others
    if by_user and not from_model and (missing := without_style(layouts, labels)):
        raise DataError(f"{request.path}: {missing}")


def fixed_length(layouts: Sequence[Layout], tokenizers: Mapping[str, Tokenizer]) -> int | None:
    """Return the length of a sequence where the layouts settle it, so that no size has a context of its own.

    Args:
        layouts: `Layout`s of the model.
        tokenizers: slot -> tokenizer.

    Returns:
        Number of tokens fed, of the longest layout; None where a slot is of open length.
    """
    lengths = [layout.filled(grids(tokenizers)).input_length for layout in layouts]
    return None if None in lengths else max(length for length in lengths if length is not None)


def _choose_size(
    request: TrainRequest, source: Bundle | None, machine: Machine, tokens: int, vocabulary: int, fixed: int | None
) -> SizeChoice:  # fmt: skip
    if source is not None:
        return SizeChoice(UNCHANGED, f"that of {request.init_from}")
    if request.size != "auto":
        return SizeChoice(request.size, "as asked")
    if (request.config.get("model") or {}).get("layers"):
        return SizeChoice(request.task, "the preset's own")
    return choose_size(machine, tokens, request.minutes, vocabulary, fixed, request.steps)


def _fine_tuning_config(request: TrainRequest, source: Bundle, log: Log) -> dict[str, Any]:
    """Return the config of a fine-tuning: the bundle's architecture and tokenizers, and a lower learning rate."""
    assert request.init_from is not None
    if request.size != "auto":
        raise TrainingError(f"--size {request.size}: a model that is fine-tuned keeps the size of {request.init_from}")
    trained = {str(layout): layout for layout in source.schema.layouts}
    options = merge(request.config, request.overrides).get("data") or {}
    specs = options.get("layouts") or _layouts_with_files(request, source, log)[:1]
    layouts = [str(Layout.parse(spec)) for spec in specs]
    if not set(layouts) <= trained.keys():
        # The bundle's layouts differ from the task's: take those that have the same target slot
        targets = {Layout.parse(spec).target.name for spec in layouts}
        layouts = [spec for spec, layout in trained.items() if layout.target.name in targets]
    if not layouts:
        makes = f"makes {'; '.join(trained)}, which is not what {request.task} trains"
        raise TrainingError(f"--from {request.init_from}: {makes}")
    slots = {slot for spec in layouts for slot in trained[spec].all_slots}
    tokenizers = {slot: name for slot, name in source.tokenizer_names.items() if slot in slots}
    model = {**asdict(source.gpt.config), "context": source.schema.context, "positions": source.schema.positions}
    model["lr"] = float(f"{learning_rate(source.gpt.config.width) / 2:.2g}")  # half, to keep what is learned already
    # Small batches, as data for fine-tuning are few: many small steps rather than few large ones
    data = {
        "batch_size": 8,
        "layouts": layouts,
        "tokenizers": tokenizers,
        "init_from": str(find_bundle(request.init_from)),
    }
    return {"model": model, "data": data}


def _layouts_with_files(request: TrainRequest, source: Bundle, log: Log) -> list[str]:
    """Return the layouts of a bundle that the folder has files for; logs where there are several.

    DataError, that of the first layout, where there are files for none.
    """
    layouts, faults = [], []
    examples = OBJECTIVES.get(request.config["task"]).examples
    options = merge(request.config, request.overrides).get("data") or {}
    root = local_path(request.path, Path(options["cache"]) if options.get("cache") else None)
    for layout in source.schema.layouts:
        try:
            scan(root, modalities_of(layout, examples), request.manifest)
            layouts.append(str(layout))
        except DataError as error:
            faults.append(error)
    if not layouts:
        raise faults[0]
    if len(layouts) > 1:
        choice = f"{layouts[0]}, the first of {'; '.join(layouts)}"
        log(f"layout     {choice}; --data.layouts '[\"{layouts[1]}\"]' names another")
    return layouts
