"""What `helicon train` decides before it trains a GPT: the config of `fit`, from a task, a folder and a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import find_bundle, load_bundle
from helicon.data.files import DataError, scan
from helicon.data.labelled import without_style
from helicon.data.prepare import Prepared, modalities_of
from helicon.objectives.registry import OBJECTIVES
from helicon.presets import dotted, merge, preset_names, without
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import grids
from helicon.training.errors import TrainingError
from helicon.training.options import resolve
from helicon.training.refusals import explaining_lightning
from helicon.training.runs.folders import choose_run
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import (
    Machine,
    SizeChoice,
    choose_size,
    expected_steps,
    learning_rate,
    shape_of,
    trains_codec,
    validation_seconds,
)
from helicon.training.tasks import TrainConfig

Log = Callable[[str], None]
MACHINE_OPTIONS = (
    "accelerator",
    "devices",
    "strategy",
    "num_nodes",
)  # arguments of the trainer that say what it runs on


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A training that is decided on.

    Args:
        config: of the training.
        run: folder that it leads to.
        data: the data module, prepared.
        parameters: of the network.
    """

    config: TrainConfig
    run: Path
    data: Any
    parameters: int

    @property
    def prepared(self) -> Prepared:
        """Tokenizers and corpora."""
        return self.data.prepared


def plan_gpt(request: TrainRequest, log: Log) -> TrainingPlan:
    """Checks what was asked for, prepares the data and chooses the rest. Nothing is written but the token cache.

    ValueError, DataError or TrainingError in one line for what cannot be done.
    """
    check_request(request)
    run = choose_run(request.runs, request.name, request.title)
    source = load_bundle(request.init_from) if request.init_from else None
    own = merge(place_config(request, run), _fine_tuning_config(request, source, log) if source else {})
    settled = merge(own, limit_config(request), request.overrides)
    config = resolve(merge(request.config, settled))
    data = config.make_data()
    log(f"run        {run}\nreading    {request.path}")
    data.prepare_data()
    prepared: Prepared = data.prepared
    check_labels(request, data.layouts, [corpus.labels for corpus in prepared.corpora])
    log(prepared.summary())

    machine = machine_of(config)
    vocabulary = sum(len(tokenizer.block) + 1 for tokenizer in prepared.tokenizers.values())
    tokens = sum(corpus.tokens(val=False) for corpus in prepared.corpora)
    fixed = fixed_length(data.layouts, prepared.tokenizers)
    choice = _choose_size(request, source, machine, tokens, vocabulary, fixed)
    log(f"size       {choice.name}: {choice.reason}")
    shape = {} if choice.name in (request.task, request.size, "as adopted") else shape_of(choice.name)
    precision = {"trainer": {"precision": "bf16-mixed" if machine.bf16 else "32-true"}}
    named = dotted(merge(request.config, shape, settled))
    config = config.changed(merge(without(precision, named), without(shape, dotted(settled))))
    data = config.make_data()
    data.prepared = prepared
    data.setup("fit")
    context = data.sequencer.context
    parts = {"layers": config.model.layers, "width": config.model.width, "context": context}
    shaped = {"model": parts, "data": {"batch_size": data.batch_size}}
    every = validation_interval(request, expected_steps(machine, shaped, vocabulary, request.minutes))
    with torch.device("meta"):
        count = make_gpt(config.model.gpt, data.sequencer.schema).parameter_count()
    on = f"{machine.device}, {config.trainer['precision']}"
    log(f"model      {count / 1e6:.1f} M parameters, {context} tokens of context, {on}")
    config = config.changed(without({"trainer": {"val_check_interval": every}}, named))
    return TrainingPlan(config=config, run=run, data=data, parameters=count)


def check_request(request: TrainRequest) -> None:
    """ValueError for no folder, TrainingError where nothing says what its files are read as."""
    if not request.path.exists():
        raise ValueError(f"{request.path}: no such file or folder")
    said = merge(request.config, request.overrides)
    if not trains_codec(said) and not request.init_from and not (said.get("data") or {}).get("layouts"):
        scratch = """from scratch --data.layouts says what is read, such as '["music"]'"""
        raise TrainingError(f"{request.task} needs --from RUN, the run or bundle that it starts from; {scratch}")


def check_labels(
    request: TrainRequest, layouts: Sequence[Layout], labels: Sequence[Sequence[str | None]]
) -> None:  # fmt: skip
    """DataError where somebody's own layout asks for labels that no file has; a preset's can do without.

    labels: of the files of each layout.
    """
    own = request.task not in preset_names() or (request.overrides.get("data") or {}).get("layouts")
    started = request.init_from or request.upsampler_of  # from a model, whose labels may be others
    if own and not started and (missing := without_style(layouts, labels)):
        raise DataError(f"{request.path}: {missing}")


def place_config(request: TrainRequest, run: Path) -> dict[str, Any]:
    """The part of a config that says where the files are, where the run goes, and what follows it."""
    data = {"path": str(request.path), "seed": request.seed}
    data |= {"manifest": str(request.manifest)} if request.manifest else {}
    config: dict[str, Any] = {"name": run.name, "runs": str(request.runs), "data": data}
    config |= {"upsampler_of": str(request.upsampler_of)} if request.upsampler_of else {}
    return config | ({"next": request.next.as_config()} if request.next else {})


def limit_config(request: TrainRequest) -> dict[str, Any]:
    """The part of a config that says how long it takes."""
    return {"trainer": {"max_time": max_time(request.minutes), "max_steps": request.steps or -1}}


def validation_interval(request: TrainRequest, expected: int) -> int | str:
    """Steps, or the time, between looks at the held-out part, as Lightning takes them.

    expected: steps in the minutes, about.
    """
    if request.steps:
        return max(1, request.steps // 10)
    return format_duration(validation_seconds(request.minutes, expected))


def machine_of(config: TrainConfig) -> Machine:
    """What a training runs on, as Lightning finds it."""
    silent: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with explaining_lightning():
        trainer = pl.Trainer(**{name: config.trainer[name] for name in MACHINE_OPTIONS}, **silent)
    return Machine.of(trainer.strategy.root_device.type, trainer.world_size)


def fixed_length(layouts: Sequence[Layout], tokenizers: Mapping[str, Tokenizer]) -> int | None:
    """Tokens of a sequence, where no slot is open, whatever the context of a size."""
    lengths = [layout.filled(grids(tokenizers)).input_length for layout in layouts]
    return None if None in lengths else max(length for length in lengths if length is not None)


def _choose_size(
    request: TrainRequest, source: Bundle | None, machine: Machine, tokens: int, vocabulary: int, fixed: int | None
) -> SizeChoice:  # fmt: skip
    if source is not None:
        return SizeChoice("as adopted", f"that of {request.init_from}")
    if request.size != "auto":
        return SizeChoice(request.size, "as asked")
    if (request.config.get("model") or {}).get("layers"):
        return SizeChoice(request.task, "the preset's own")
    return choose_size(machine, tokens, request.minutes, vocabulary, fixed, request.steps)


def _fine_tuning_config(request: TrainRequest, source: Bundle, log: Log) -> dict[str, Any]:
    """The bundle's shape, tokenizers and a lower rate: what is learned already is to be kept."""
    assert request.init_from is not None
    if request.size != "auto":
        raise TrainingError(f"--size {request.size}: a model that is fine-tuned keeps the size of {request.init_from}")
    theirs = {str(layout): layout for layout in source.schema.layouts}
    said = merge(request.config, request.overrides).get("data") or {}
    layouts = [str(Layout.parse(spec)) for spec in said.get("layouts") or _layouts_with_files(request, source, log)[:1]]
    if not set(layouts) <= theirs.keys():
        # Another way to say the same: a bundle trained on layouts of one's own makes what the task makes
        made = {Layout.parse(spec).target.name for spec in layouts}
        layouts = [spec for spec, layout in theirs.items() if layout.target.name in made]
    if not layouts:
        makes = f"makes {'; '.join(theirs)}, which is not what {request.task} trains"
        raise TrainingError(f"--from {request.init_from}: {makes}")
    slots = {slot for spec in layouts for slot in theirs[spec].all_slots}
    tokenizers = {slot: name for slot, name in source.tokenizer_names.items() if slot in slots}
    model = {**asdict(source.gpt.config), "context": source.schema.context, "positions": source.schema.positions}
    model["lr"] = float(f"{learning_rate(source.gpt.config.width) / 2:.2g}")
    # Few pieces: many small steps rather than few large ones
    data = {"batch_size": 8, "layouts": layouts, "tokenizers": tokenizers, "adopt": str(find_bundle(request.init_from))}
    return {"model": model, "data": data}


def _layouts_with_files(request: TrainRequest, source: Bundle, log: Log) -> list[str]:
    """Layouts of a bundle that the folder has files for, by what they make; says so where it has for several.

    DataError of the first where it has for none.
    """
    found, faults = [], []
    examples = OBJECTIVES.get(request.config["task"]).examples
    for layout in source.schema.layouts:
        try:
            scan(request.path, modalities_of(layout, examples), request.manifest)
            found.append(str(layout))
        except DataError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    if len(found) > 1:
        log(f"layout     {found[0]}, the first of {'; '.join(found)}; --data.layouts '[\"{found[1]}\"]' names another")
    return found


def max_time(minutes: float) -> str:
    """How long a training may take, as Lightning takes durations: a second at least."""
    return format_duration(max(1, round(60 * minutes)))


def format_duration(seconds: int) -> str:
    """DD:HH:MM:SS, as Lightning takes durations."""
    span = timedelta(seconds=seconds)
    hours, rest = divmod(span.seconds, 3600)
    return f"{span.days:02d}:{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
