"""`helicon train`: the front door. Looks at a folder, chooses what was left open, runs `fit`, ends with a page."""

from __future__ import annotations

import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from helicon.cli import CommandError
from helicon.commands.fit import quiet, run_or_stop
from helicon.data.prepare import Prepared, Source
from helicon.demos.codec_result import next_steps, write_codec_result
from helicon.demos.result import write_result
from helicon.formats.printable import print_text
from helicon.presets import preset
from helicon.training.codec_plan import plan_codec
from helicon.training.folders import CONFIG, read_config
from helicon.training.options import (
    UsageError,
    check_typed,
    configs_of,
    dotted,
    locating,
    merge,
    resolve,
    typed_config,
    without,
)
from helicon.training.own_classes import import_typed
from helicon.training.plan import MACHINE, Plan, max_time, plan_gpt
from helicon.training.raw_data import RawData
from helicon.training.request import TrainRequest
from helicon.training.resuming import repeated_config, resumed_config
from helicon.training.run import keep_of_checkpoint
from helicon.training.sizes import check_task, trains_codec
from helicon.training.stages import attach, chained, stage_lengths, stages
from helicon.training.trust import check_data, check_next, check_plain

# Where a repeated run may differ
ELSEWHERE = (*(f"trainer.{name}" for name in MACHINE), "data.path", "data.cache", "data.workers", "ckpt_path")
# What a checkpoint has settled: whatever is typed beside it would be dropped
SETTLED = (*(f"model.{name}" for name in ("optimizer", "lr", "weight_decay", "beta2")), "optimizer", "lr_scheduler")
SETTLED += tuple(f"data.{name}" for name in ("tokenizers", "tokenizer", "vocabulary", "colours", "adopt", "layouts"))
# What a command says by options of its own
OWN = ("task", "name", "runs", "next", "upsampler_of", "repeat", "ckpt_path")


def say(line: str) -> None:
    """Tells how it goes; stdout stays free."""
    print_text(line, sys.stderr)


def train(args: Namespace) -> int:
    """Runs the command."""
    quiet()
    if args.resume:
        return _resume(args)
    if args.repeat:
        return _repeat(args)
    if not args.task or not args.path:
        raise CommandError("train needs a task and a folder, e.g. `helicon train music DIR`, or --resume RUN")
    return train_stages(requested(args))


def train_stages(request: TrainRequest) -> int:
    """Trains what a request stands for, stage by stage; gives the exit status."""
    found = [request]
    if not trains_codec(request.task):
        with planning(request.task):
            found = stages(request)
    elif request.levels != 1 or request.upsampler_of:
        raise CommandError("--levels and --for are of models of sound; --model.hops says which levels a codec has")
    check_codec_is_used(found)
    if len(found) > 1:
        say(f"stages     {stage_lengths(found)}")
    return train_stage(chained(found))


def requested(args: Namespace) -> TrainRequest:
    """What is typed, as an object."""
    check_task(args.task)
    with planning(args.task, *configs_of(args.rest)):
        check_typed("fit", [f"--config={args.task}", *args.rest], ("--codec",))
        import_typed(args.rest)
        overrides = typed_config(args.rest, merge(preset(args.task), {"data": {"path": args.path}}))
    name, runs = args.name or overrides.get("name"), args.runs or overrides.get("runs") or TrainRequest.runs
    return TrainRequest(
        task=args.task, path=Path(args.path), size=args.size,
        minutes=TrainRequest.minutes if args.minutes is None else args.minutes,
        name=name, runs=Path(runs), init_from=_path(args.init_from), manifest=_path(args.manifest), seed=args.seed,
        levels=args.levels, upsampler_of=_path(args.upsampler_of), overrides=without(overrides, OWN),
    )  # fmt: skip


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


def check_codec_is_used(found: Sequence[TrainRequest]) -> None:
    """CommandError where a codec is named that no stage trains: it is told to all of them still."""
    if named := [stage.overrides["codec"] for stage in found if stage.overrides.get("codec")]:
        why = "the task is a codec, or its tokenizer is there already (--from, --for, --data.tokenizer)"
        raise CommandError(f"--codec {named[0]} would have no effect: {why}")


def train_stage(request: TrainRequest) -> int:
    """The exit status of this stage and of those that follow."""
    begun, codec = time.monotonic(), trains_codec(request.task)
    with planning(request.task):
        plan = (plan_codec if codec else plan_gpt)(request, say)
    done = time.strftime("%H:%M", time.localtime(time.time() + 60 * request.minutes))
    status = run_plan(plan, f"{request.minutes:g} min, done at about {done}")
    if status:
        return status
    settings: dict[str, object] = {
        "command": shlex.join(["helicon", "train", request.task, str(request.path)]),
        "minutes": f"{request.minutes:g}",
    }
    longer = replace(request, minutes=10 * request.minutes, name=None, next=None)
    return _finish(plan.run, plan.data, begun, {} if codec else settings, [str(longer)])


@contextmanager
def planning(*configs: str | Path) -> Iterator[None]:
    """While it lasts, what is wrong with options is a wrong command line, or a wrong line of these configs."""
    try:
        with locating(*configs):
            yield
    except UsageError as error:
        raise CommandError(str(error)) from error


def run_plan(plan: Plan, how_long: str) -> int:
    """Says what starts and how long it takes, and runs it; the exit status."""
    say(f"training   {how_long}; Ctrl-C stops and keeps what is learned\n           once more: {as_fit(plan.run)}")
    return run_or_stop("fit", plan.config, plan.prepared)[1]


def as_fit(run: Path) -> str:
    """The command that does the training of a run once more, but nothing before or after it."""
    return shlex.join(["helicon", "fit", "--config", str(run / CONFIG)])


def _resume(args: Namespace) -> int:
    """Goes on with a run that was stopped, for the rest of its minutes."""
    run, begun = Path(args.resume), time.monotonic()
    upsampler_of, args.upsampler_of = _path(args.upsampler_of), None  # said once more, where the run is not beside it
    _leave_out(args, f"--resume {run}", "--name", "--runs", "--repeat")
    typed = _typed_on(run, args.rest)
    if settled := [name for name in dotted(typed) if name in SETTLED]:
        raise CommandError(f"--{settled[0]} would have no effect: --resume {run} goes on with the checkpoint's own")
    if args.minutes is not None:
        typed = merge(typed, {"trainer": {"max_time": max_time(args.minutes)}})
    config = resumed_config(run, typed, upsampler_of)
    check_next(run, config)  # before hours of training, and once more when its turn has come
    with planning(run / CONFIG):
        resolve(config)
    say(f"resuming   {run}")
    minutes = [] if args.minutes is None else ["--minutes", f"{args.minutes:g}"]
    cli, status = run_or_stop("fit", config, more=[*minutes, *args.rest])
    return status or _finish(run, cli.datamodule, begun, {}, [], typed=False)


def _repeat(args: Namespace) -> int:
    """Makes a run once more, as a new one: its config, its steps, the learning rates that its clock led to."""
    run, begun = Path(args.repeat), time.monotonic()
    _leave_out(args, f"--repeat {run}", "--minutes")
    typed = _typed_on(run, args.rest)
    if more := [name for name in dotted(typed) if name not in ELSEWHERE]:
        may = ", ".join(f"--{name}" for name in ELSEWHERE)
        raise CommandError(f"--repeat {run} takes no --{more[0]}; {may} may differ")
    config = repeated_config(run, _path(args.runs), args.name, typed)
    say(f"repeating  {run}")
    cli, status = run_or_stop("fit", config)
    return status or _finish(cli.run_folder, cli.datamodule, begun, {}, [])


def _typed_on(run: Path, words: Sequence[str]) -> dict[str, Any]:
    """What is typed beside a run, as a config."""
    if not words:
        return {}
    config = read_config(run)
    check_plain(run, config)
    check_data(run, config)
    base = {name: config[name] for name in ("task", "data") if name in config}
    with planning(run / CONFIG, *configs_of(words)):
        check_typed("fit", [f"--task={config.get('task', 'gpt')}", *words])
        import_typed(words)
        return typed_config(words, base)


def _leave_out(args: Namespace, option: str, *more: str) -> None:
    """CommandError for what a run that is there has settled already. more: other options that this one does without."""
    fixed = {"TASK": args.task, "--from": args.init_from, "--manifest": args.manifest, "--size": args.size != "auto"}
    fixed |= {"--levels": args.levels != 1, "--for": args.upsampler_of, "--seed": args.seed != 0}
    others = {"--name": args.name, "--runs": args.runs, "--minutes": args.minutes is not None, "--repeat": args.repeat}
    names = [name for name, value in (fixed | {name: others[name] for name in more}).items() if value]
    if names:
        raise CommandError(f"{option} keeps the run's own settings; leave out {', '.join(names)}")


def _finish(
    run: Path, data: Any, begun: float, settings: dict[str, object], more: list[str], typed: bool = True
) -> int:  # fmt: skip
    """Shows a finished run, or puts an upsampler into what it is for; trains what follows, and gives its exit status.

    Args:
        run: folder of the run.
        data: what it was trained on.
        begun: when the command began.
        settings: lines of the page.
        more: commands to go on with.
        typed: whether what follows was asked for in this command; a run's own word is looked at first.
    """
    config = read_config(run)
    settings = {**settings, "fit": as_fit(run)}
    if isinstance(data, RawData):
        show_codec(run, data, settings)
    elif target := _path(config.get("upsampler_of")):
        say(f"attached   {attach(run, target)}")
        if not config.get("next"):
            show_upsampled(target, settings)
    elif not config.get("next"):
        show(run, data.prepared, data.source, settings, more)
    say(f"           {time.monotonic() - begun:,.0f} s")
    following = TrainRequest.from_config(config["next"]) if typed and config.get("next") else check_next(run, config)
    if following is None:
        return 0
    say(f"next stage {following}")
    return train_stages(following)


def show_codec(run: Path, data: RawData, settings: dict[str, object]) -> None:
    """Writes the page of a codec and says how to go on."""
    steps = next_steps(data.medium, shlex.quote(str(run)), shlex.quote(str(data.source.path)))
    page, figures = write_codec_result(run / "index.html", run, data, settings, steps)
    say(f"codec      {run / 'model'}\nheld out   {figures}\npage       {page}\nnext       {steps[0]}")


def show_upsampled(run: Path, settings: dict[str, object]) -> None:
    """Writes the page of a run that has got an upsampler; a bundle by itself has no data to show it by."""
    if not (run / CONFIG).is_file():
        return say(f"next       {generating(run)}")
    config = resolve(resumed_config(run))
    data = config.make_data()
    keep_of_checkpoint(Path(str(config.ckpt_path)), data)
    data.prepare_data()
    return show(run, data.prepared, data.source, settings, [])


def show(run: Path, prepared: Prepared, source: Source, settings: dict[str, object], more: list[str]) -> None:
    """Writes the page of a run and says how to go on."""
    say("generating a few items for the page")
    generate = generating(run)
    page = write_result(
        run / "index.html", run, prepared, title=f"What {run.name} learned", settings=settings,
        next_steps=[generate, evaluating(run, source), *more],
    )  # fmt: skip
    say(f"model      {run / 'model'}\npage       {page}\nnext       {generate}")


def evaluating(run: Path, source: Source) -> str:
    """The command that measures a model on what its training has held out."""
    words = ["helicon", "eval", str(run), "--data.path", str(source.path), "--heldout"]
    words += ["--data.manifest", str(source.manifest)] if source.manifest else []
    words += ["--data.held_out", f"{source.held_out:g}"] if source.held_out != Source.held_out else []
    return shlex.join(words)


def generating(run: Path) -> str:
    """The command that makes something with a model."""
    return f"helicon generate {shlex.quote(str(run))} -n 4 --seed 1 -o out"
