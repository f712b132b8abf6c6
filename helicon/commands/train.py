"""`helicon train`: the front door. Looks at a folder, chooses what was left open, runs `fit`, ends with a page."""

from __future__ import annotations

import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from helicon import cli
from helicon.cli import CommandError
from helicon.commands.fit import quiet, run_or_stop
from helicon.data.prepare import Source
from helicon.demos.codec_result import next_steps, write_codec_result
from helicon.demos.result import write_result
from helicon.formats.printable import print_text
from helicon.training.codec_plan import MACHINES, CodecPlan, make_codec_plan
from helicon.training.data import SequenceData
from helicon.training.folders import read_config
from helicon.training.idle_options import STAGES
from helicon.training.plan import Plan, Wanted, clock, make_plan
from helicon.training.raw_data import RawData
from helicon.training.run import UsageError, check_typed, read_arguments, repeat_arguments, resume_arguments
from helicon.training.sizes import check_task, trains_codec
from helicon.training.stages import as_arguments, attach, chained, stages, told
from helicon.training.trust import check_next
from helicon.training.words import options, typed_options, without

MINUTES = 10.0
ELSEWHERE = (*MACHINES, "--data.path", "--data.cache", "--data.workers")  # where a repeated run may differ
Made = TypeVar("Made")


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
    wanted = Wanted(
        args.task, Path(args.path), MINUTES if args.minutes is None else args.minutes, None, args.size, args.name,
        Path(args.runs or Wanted.runs), Path(args.adopt) if args.adopt else None,
        Path(args.manifest) if args.manifest else None,
        args.seed, args.levels, Path(args.onto) if args.onto else None, args.rest,
    )  # fmt: skip
    check_task(wanted.task)
    planned(check_typed, "fit", ["--config", wanted.task, *wanted.rest], STAGES)
    if trains_codec(wanted.task):
        if wanted.levels != 1 or wanted.onto:
            raise CommandError("--levels and --for are of models of sound; --model.hops says which levels a codec has")
        check_codec_is_used([wanted])
        return train_codec(wanted)
    found = planned(stages, wanted)
    check_codec_is_used(found)
    if len(found) > 1:
        say(f"stages     {told(found)}")
    first = chained(found)
    return train_codec(first) if trains_codec(first.task) else train_gpt(first)


def check_codec_is_used(found: Sequence[Wanted]) -> None:
    """CommandError where a codec is named that no stage trains: it is told to all of them still."""
    if named := [name for stage in found for name in options(stage.rest, ("--codec",))]:
        why = "the task is a codec, or its tokenizer is there already (--from, --for, --data.tokenizer)"
        raise CommandError(f"--codec {named[1]} would have no effect: {why}")


def train_codec(wanted: Wanted) -> int:
    """The exit status of this stage and of those that follow."""
    begun, plan = time.monotonic(), planned(make_codec_plan, wanted, say)
    status = run_plan(plan, long(wanted))
    if not status:
        finish_codec(plan.run, plan.data, {"fit": as_fit(plan.arguments)}, begun)
    return status or go_on(plan.run)


def train_gpt(wanted: Wanted) -> int:
    """The exit status of this stage and of those that follow."""
    begun, plan = time.monotonic(), planned(make_plan, wanted, say)
    status = run_plan(plan, long(wanted))
    if status:
        return status
    settings: dict[str, object] = {
        "command": shlex.join(["helicon", "train", wanted.task, str(wanted.path)]),
        "minutes": f"{wanted.minutes:g}",
    }
    more = as_arguments(replace(wanted, minutes=10 * wanted.minutes, name=None))
    return _finish(plan, begun, settings, [shlex.join(["helicon", "train", *more])])


def long(wanted: Wanted) -> str:
    """How long it takes, for people."""
    done = time.strftime("%H:%M", time.localtime(time.time() + 60 * wanted.minutes))
    return f"{wanted.minutes:g} min, done at about {done}"


def finish_codec(run: Path, data: RawData, settings: dict[str, object], begun: float) -> None:
    """The page of a codec, and the commands to go on with."""
    steps = next_steps(data.medium, shlex.quote(str(run)), shlex.quote(str(data.source.path)))
    page, figures = write_codec_result(run / "index.html", run, data, settings, steps)
    say(f"codec      {run / 'model'}\nheld out   {figures}\npage       {page}\nnext       {steps[0]}")
    say(f"           {time.monotonic() - begun:,.0f} s in all")


def planned(make: Callable[..., Made], *args: Any) -> Made:
    """What is made of the arguments; what is wrong with them is a wrong command line."""
    try:
        return make(*args)
    except UsageError as error:
        raise CommandError(str(error)) from error


def run_plan(plan: Plan | CodecPlan, how_long: str) -> int:
    """Says what starts and how long it takes, and runs it; the exit status."""
    say(f"training   {how_long}; Ctrl-C stops and keeps what is learned")
    say(f"           {as_fit(plan.arguments)}")
    return run_or_stop("fit", plan.arguments, heeded=STAGES)[1]


def as_fit(arguments: Sequence[str]) -> str:
    """The command that does the same training, but nothing before or after it."""
    ours = [name for name, value in typed_options(arguments) if name in STAGES and value != "null"]
    return shlex.join(["helicon", "fit", *without(arguments, ours)])


def _resume(args: Namespace) -> int:
    """Goes on with a run that was stopped, for the rest of its minutes."""
    run, begun = Path(args.resume), time.monotonic()
    onto, args.onto = Path(args.onto) if args.onto else None, None  # said once more, where the run is not beside it
    _leave_out(args, f"--resume {run}", "--name", "--runs", "--repeat")
    arguments = [*resume_arguments(run, onto, args.rest), *args.rest]
    check_next(run, read_config(run))  # before hours of training, and once more when its turn has come
    if args.minutes is not None:
        arguments += ["--trainer.max_time", clock(max(1, round(60 * args.minutes)))]
    say(f"resuming   {run}\n           {as_fit(arguments)}")
    data = planned(read_arguments, "fit", arguments).datamodule
    minutes = [] if args.minutes is None else ["--minutes", f"{args.minutes:g}"]
    _, status = run_or_stop("fit", arguments, [*minutes, *args.rest])
    if status:
        return status
    data.prepare_data()
    if isinstance(data, RawData):
        finish_codec(run, data, {}, begun)
        return go_on(run, typed=False)
    return _finish(Plan(arguments, run, data, data.prepared, 0), begun, {}, [], typed=False)


def _repeat(args: Namespace) -> int:
    """Makes a run once more, as a new one: its config, its steps, the learning rates that its clock led to."""
    run, begun = Path(args.repeat), time.monotonic()
    _leave_out(args, f"--repeat {run}", "--minutes")
    if more := [word for word in args.rest if word.startswith("--") and word.partition("=")[0] not in ELSEWHERE]:
        raise CommandError(f"--repeat {run} takes no {more[0].partition('=')[0]}; {', '.join(ELSEWHERE)} may differ")
    runs = Path(args.runs) if args.runs else None
    arguments = [*repeat_arguments(run, runs, args.name, args.rest), *args.rest]
    say(f"repeating  {run}\n           {as_fit(arguments)}")
    data = planned(read_arguments, "fit", arguments).datamodule
    repeated, status = run_or_stop("fit", arguments)
    if status:
        return status
    data.prepare_data()
    if isinstance(data, RawData):
        finish_codec(repeated, data, {}, begun)
        return 0
    return _finish(Plan(arguments, repeated, data, data.prepared, 0), begun, {}, [])


def _leave_out(args: Namespace, option: str, *more: str) -> None:
    """CommandError for what a run that is there has settled already. more: other options that this one does without."""
    fixed = {"TASK": args.task, "--from": args.adopt, "--manifest": args.manifest, "--size": args.size != "auto"}
    fixed |= {"--levels": args.levels != 1, "--for": args.onto, "--seed": args.seed != 0}
    others = {"--name": args.name, "--runs": args.runs, "--minutes": args.minutes is not None, "--repeat": args.repeat}
    names = [name for name, value in (fixed | {name: others[name] for name in more}).items() if value]
    if names:
        raise CommandError(f"{option} keeps the run's own settings; leave out {', '.join(names)}")


def go_on(run: Path, typed: bool = True) -> int:
    """Trains what follows a run, if anything does. typed: in this command; a run's own word is looked at first."""
    config = read_config(run)
    words = config.get("next")
    if not words:
        return 0
    if not typed:
        check_next(run, config)
    say(f"next stage helicon train {shlex.join(words)}")
    return cli.run("train", words)


def _finish(plan: Plan, begun: float, settings: dict[str, object], more: list[str], typed: bool = True) -> int:
    """What follows, or the page and the commands to go on with; an upsampler becomes a part of what it is for."""
    run, config = plan.run, read_config(plan.run)
    onto = Path(config["onto"]) if config.get("onto") else None
    if onto:
        say(f"attached   {attach(run, onto)}")
    if not config.get("next"):
        settings |= {"fit": as_fit(plan.arguments)}
        if onto is None or (onto / "config.yaml").is_file():
            show(plan_of(onto) if onto else plan, settings, more)
        else:  # a bundle by itself has no data to show it by
            say(f"next       {generating(onto)}")
    say(f"           {time.monotonic() - begun:,.0f} s")
    return go_on(run, typed)


def plan_of(run: Path) -> Plan:
    """The plan of a finished run."""
    arguments = resume_arguments(run)
    data: SequenceData = read_arguments("fit", arguments).datamodule
    data.prepare_data()
    assert data.prepared is not None
    return Plan(arguments, run, data, data.prepared, 0)


def show(plan: Plan, settings: dict[str, object], more: list[str]) -> None:
    """Writes the page of a run and says how to go on."""
    run = plan.run
    say("generating a few items for the page")
    generate = generating(run)
    evaluate = evaluating(run, plan.data.source)
    page = write_result(
        run / "index.html", run, plan.prepared, title=f"What {run.name} learned", settings=settings,
        next_steps=[generate, evaluate, *more],
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
