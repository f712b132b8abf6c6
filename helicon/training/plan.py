"""What `helicon train` decides before it starts: the arguments of `fit`, from a task, a folder and a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import find_bundle, load_bundle
from helicon.data.prepare import Prepared
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import grids
from helicon.training.data import SequenceData
from helicon.training.errors import TrainingError
from helicon.training.folders import choose_run
from helicon.training.module import GPTModule
from helicon.training.run import read_arguments
from helicon.training.sizes import (
    Choice,
    Machine,
    check_size,
    check_task,
    choose_size,
    expected_steps,
    is_task,
    learning_rate,
    preset,
    validation_seconds,
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    steps: at most so many in the minutes. size: `auto` or a shape preset. adopt: bundle to fine-tune. levels: of sound,
    one of them made by the model and each finer one by an upsampler. onto: run whose upsampler this is. rest: of
    `fit`, which go before what is chosen here.
    """

    task: str
    path: Path
    minutes: float = 10.0
    steps: int | None = None
    size: str = "auto"
    name: str | None = None
    runs: Path = Path("runs")
    adopt: Path | None = None
    manifest: Path | None = None
    seed: int = 0
    levels: int = 1
    onto: Path | None = None
    rest: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """Arguments of `fit`, the run folder they lead to, and what is known before it starts."""

    arguments: list[str]
    run: Path
    data: SequenceData
    prepared: Prepared
    parameters: int


def make_plan(wanted: Wanted, say: Say) -> Plan:
    """Checks what was asked for, prepares the data and chooses the rest. Nothing is written but the token cache.

    ValueError, DataError or TrainingError in one line for what cannot be done.
    """
    check_task(wanted.task)
    check_size(wanted.size)
    check_wanted(wanted)
    run = choose_run(wanted.runs, wanted.name, Path(wanted.task).stem)
    source = load_bundle(wanted.adopt) if wanted.adopt else None
    first = ["--config", wanted.task]
    own = [*place_arguments(wanted, run), *(_adopted(wanted, source) if source else [])]
    config = read_arguments("fit", [*first, *own, *wanted.rest])
    data: SequenceData = config.datamodule
    say(f"run        {run}\nreading    {wanted.path}")
    data.prepare_data()
    assert data.prepared is not None
    say(data.prepared.summary())

    machine = Machine.of(config.trainer.strategy.root_device.type, config.trainer.world_size)
    vocabulary = sum(len(tokenizer.block) + 1 for tokenizer in data.prepared.tokenizers.values())
    tokens = sum(corpus.tokens(held=False) for corpus in data.prepared.corpora)
    fixed = fixed_length(data.layouts, data.prepared.tokenizers)
    choice = _size(wanted, source, machine, tokens, vocabulary, fixed)
    say(f"size       {choice.name}: {choice.reason}")
    shape = ["--config", choice.name] if choice.name not in (wanted.task, "as adopted") else []
    if shape and is_task(choice.name):  # a published shape has layouts too, but the task says what is trained
        shape += ["--data.layouts", json.dumps(preset(wanted.task)["data"]["layouts"])]
    arguments = [*first, *shape, *own, *time_arguments(wanted)]
    arguments += ["--trainer.precision", "bf16-mixed" if machine.bf16 else "32-true"]

    config = read_arguments("fit", [*arguments, *wanted.rest])
    module: GPTModule = config.model
    config.datamodule.prepared = data.prepared
    config.datamodule.setup("fit")
    context = config.datamodule.sequencer.context
    parts = {"layers": module.shape.layers, "width": module.shape.width, "context": context}
    shaped = {"model": parts, "data": {"batch_size": config.datamodule.batch_size}}
    expected = expected_steps(machine, shaped, vocabulary, wanted.minutes)
    every = str(max(1, wanted.steps // 10)) if wanted.steps else clock(validation_seconds(wanted.minutes, expected))
    arguments += ["--trainer.val_check_interval", every]
    with torch.device("meta"):
        count = make_gpt(module.shape, config.datamodule.sequencer.schema).parameter_count()
    precision = config.trainer.precision
    say(f"model      {count / 1e6:.1f} M parameters, {context} tokens of context, {machine.device}, {precision}")
    return Plan([*arguments, *wanted.rest], run, config.datamodule, data.prepared, count)


def check_wanted(wanted: Wanted) -> None:
    """ValueError for no time, or no folder."""
    if not wanted.minutes > 0:
        raise ValueError(f"--minutes must be above 0, got {wanted.minutes:g}")
    if not wanted.path.exists():
        raise ValueError(f"{wanted.path}: no such file or folder")


def place_arguments(wanted: Wanted, run: Path) -> list[str]:
    """Arguments of `fit` for where the files are and where the run goes."""
    manifest = ["--data.manifest", str(wanted.manifest)] if wanted.manifest else []
    where = ["--data.path", str(wanted.path), *manifest, "--data.seed", str(wanted.seed), "--name", run.name]
    where += ["--onto", str(wanted.onto)] if wanted.onto else []
    return [*where, *(["--runs", str(wanted.runs)] if wanted.runs != Path("runs") else [])]


def fixed_length(layouts: Sequence[Layout], tokenizers: Mapping[str, Tokenizer]) -> int | None:
    """Tokens of a sequence, where no slot is open, whatever the context of a size."""
    lengths = [layout.filled(grids(tokenizers)).fed for layout in layouts]
    return None if None in lengths else max(length for length in lengths if length is not None)


def _size(
    wanted: Wanted, source: Bundle | None, machine: Machine, tokens: int, vocabulary: int, fixed: int | None
) -> Choice:  # fmt: skip
    if source is not None:
        return Choice("as adopted", f"that of {wanted.adopt}")
    if wanted.size != "auto":
        return Choice(wanted.size, "as asked")
    if (preset(wanted.task).get("model") or {}).get("layers"):
        return Choice(wanted.task, "the preset's own")
    return choose_size(machine, tokens, wanted.minutes, vocabulary, fixed)


def _adopted(wanted: Wanted, source: Bundle) -> list[str]:
    """The bundle's shape, tokenizers and a lower rate: what is learned already is to be kept."""
    assert wanted.adopt is not None
    if wanted.size != "auto":
        raise TrainingError(f"--size {wanted.size}: a model that is fine-tuned keeps the size of {wanted.adopt}")
    theirs = {str(layout): layout for layout in source.schema.layouts}
    layouts = [str(Layout.parse(spec)) for spec in preset(wanted.task)["data"]["layouts"]]
    if not set(layouts) <= theirs.keys():
        # Another way to say the same: a bundle trained on layouts of one's own makes what the task makes
        made = {Layout.parse(spec).last.name for spec in layouts}
        layouts = [spec for spec, layout in theirs.items() if layout.last.name in made]
    if not layouts:
        raise TrainingError(f"--from {wanted.adopt}: makes {'; '.join(theirs)}, which is not what {wanted.task} trains")
    slots = {slot for spec in layouts for slot in theirs[spec].sources}
    chosen = {slot: name for slot, name in source.tokenizer_names.items() if slot in slots}
    shape = {name: json.dumps(v) if isinstance(v, bool) else str(v) for name, v in asdict(source.gpt.shape).items()}
    shape |= {"context": str(source.schema.context), "positions": source.schema.positions}
    shape["lr"] = f"{learning_rate(source.gpt.shape.width) / 2:.2g}"
    words = [word for name, value in shape.items() for word in (f"--model.{name}", value)]
    words += ["--data.batch_size", "8"]  # few pieces: many small steps rather than few large ones
    words += ["--data.layouts", json.dumps(layouts), "--data.tokenizers", json.dumps(chosen)]
    return [*words, "--data.adopt", str(find_bundle(wanted.adopt))]


def time_arguments(wanted: Wanted) -> list[str]:
    """Arguments of `fit` for how long it takes."""
    limit = clock(max(1, round(60 * wanted.minutes)))
    return ["--trainer.max_time", limit, "--trainer.max_steps", str(wanted.steps or -1)]


def clock(seconds: int) -> str:
    """DD:HH:MM:SS, as Lightning takes durations."""
    span = timedelta(seconds=seconds)
    hours, rest = divmod(span.seconds, 3600)
    return f"{span.days:02d}:{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
