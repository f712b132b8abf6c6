"""`helicon train`: the front door. Looks at a folder, chooses what was left open, runs `fit`, ends with a page."""

from __future__ import annotations

import json
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from helicon import cli
from helicon.cli import CommandError
from helicon.commands.fit import quiet, run_or_stop
from helicon.demos.codec_result import write_codec_result
from helicon.demos.result import write_result
from helicon.formats.files import write_json
from helicon.training.codec_data import CodecData
from helicon.training.codec_plan import CodecPlan, codec_first, make_codec_plan, with_codec
from helicon.training.errors import TrainingError
from helicon.training.plan import Plan, Say, Wanted, clock, make_plan
from helicon.training.run import UsageError, read_arguments, resume_arguments
from helicon.training.sizes import check_task, trains_codec

MINUTES = 10.0
NEXT = "next.json"  # in a codec's run: what it was trained for
AnyPlan = TypeVar("AnyPlan", Plan, CodecPlan)


def say(line: str) -> None:
    """Tells how it goes; stdout stays free."""
    print(line, file=sys.stderr, flush=True)


def train(args: Namespace) -> int:
    """Runs the command."""
    quiet()
    if args.resume:
        return _resume(args)
    if not args.task or not args.path:
        raise CommandError("train needs a task and a folder, e.g. `helicon train music DIR`, or --resume RUN")
    wanted = Wanted(
        args.task, Path(args.path), MINUTES if args.minutes is None else args.minutes, None, args.size, args.name,
        Path(args.runs), Path(args.adopt) if args.adopt else None, Path(args.manifest) if args.manifest else None,
        args.seed, args.rest,
    )  # fmt: skip
    return train_stages(wanted, time.monotonic())


def train_stages(wanted: Wanted, begun: float) -> int:
    """Trains what is wanted, and before it the codec that it needs; each stage is a run of its own."""
    check_task(wanted.task)
    if trains_codec(wanted.task):
        return train_codec(wanted, begun)[0]
    try:
        first = codec_first(wanted)
    except UsageError as error:
        raise CommandError(str(error)) from error
    if first:
        say(
            f"stages     a codec in {first.minutes:g} min, then {wanted.task} in {wanted.minutes - first.minutes:g} min"
        )
        status, codec = train_codec(first, begun)
        after = with_codec(wanted, first, codec)
        if status:
            if codec.is_dir():  # so that resuming goes on with the rest, too
                write_json(codec / NEXT, {"arguments": as_arguments(after)})
            return status
        wanted = after
    return train_gpt(wanted, begun)


def train_codec(wanted: Wanted, begun: float) -> tuple[int, Path]:
    """The exit status, and the run."""
    plan = planned(make_codec_plan, wanted)
    status = run_plan(plan, long(wanted))
    if not status:
        finish_codec(plan.run, plan.data, {"fit": f"helicon fit {shlex.join(plan.arguments)}"}, begun)
    return status, plan.run


def train_gpt(wanted: Wanted, begun: float) -> int:
    """The exit status."""
    plan = planned(make_plan, wanted)
    status = run_plan(plan, long(wanted))
    if status:
        return status
    settings: dict[str, object] = {
        "command": shlex.join(["helicon", "train", wanted.task, str(wanted.path)]),
        "minutes": f"{wanted.minutes:g}",
    }
    more = [f"helicon train {wanted.task} {shlex.quote(str(wanted.path))} --minutes {10 * wanted.minutes:g}"]
    return _finish(plan, begun, settings, more)


def as_arguments(wanted: Wanted) -> list[str]:
    """Arguments of `train` that want the same."""
    words = [wanted.task, str(wanted.path), "--minutes", f"{wanted.minutes:g}", "--size", wanted.size]
    words += ["--runs", str(wanted.runs), "--seed", str(wanted.seed)]
    words += ["--name", wanted.name] if wanted.name else []
    words += ["--manifest", str(wanted.manifest)] if wanted.manifest else []
    return [*words, *wanted.rest]


def long(wanted: Wanted) -> str:
    """How long it takes, for people."""
    done = time.strftime("%H:%M", time.localtime(time.time() + 60 * wanted.minutes))
    return f"{wanted.minutes:g} min, done at about {done}"


def finish_codec(run: Path, data: CodecData, settings: dict[str, object], begun: float) -> None:
    """The page of a codec, and the commands to go on with."""
    name, path = shlex.quote(str(run)), shlex.quote(str(data.source.path))
    steps = [
        f"helicon reconstruct {name} PICTURE... -o out",
        f"helicon train image {path} --data.tokenizer {name}",
        f"helicon train text-to-image {path} --data.tokenizer {name}",
    ]
    page, figures = write_codec_result(run / "index.html", run, data, settings, steps)
    say(f"codec      {run / 'model'}\nheld out   {figures}\npage       {page}\nnext       {steps[0]}")
    say(f"           {time.monotonic() - begun:,.0f} s in all")


def planned(make: Callable[[Wanted, Say], AnyPlan], wanted: Wanted) -> AnyPlan:
    """The plan; what is wrong with the arguments is a wrong command line."""
    try:
        return make(wanted, say)
    except UsageError as error:
        raise CommandError(str(error)) from error


def run_plan(plan: Plan | CodecPlan, how_long: str) -> int:
    """Says what starts and how long it takes, and runs it; the exit status."""
    say(f"training   {how_long}; Ctrl-C stops and keeps what is learned")
    say(f"           helicon fit {shlex.join(plan.arguments)}")
    return run_or_stop("fit", plan.arguments)[1]


def _resume(args: Namespace) -> int:
    """Goes on with a run that was stopped, for the rest of its minutes."""
    run, begun = Path(args.resume), time.monotonic()
    fixed = {"TASK": args.task, "--from": args.adopt, "--name": args.name, "--manifest": args.manifest}
    given = [name for name, value in fixed.items() if value] + (["--size"] if args.size != "auto" else [])
    if given:
        raise CommandError(f"--resume {run} goes on with the run's own settings; leave out {', '.join(given)}")
    if not (run / "config.yaml").is_file():
        reason = "no such run" if not run.exists() else "no run to resume: config.yaml is missing"
        raise TrainingError(f"{run}: {reason}")
    arguments = [*resume_arguments(run), *args.rest]
    if args.minutes is not None:
        arguments += ["--trainer.max_time", clock(max(1, round(60 * args.minutes)))]
    say(f"resuming   {run}\n           helicon fit {shlex.join(arguments)}")
    try:
        data = read_arguments("fit", arguments).datamodule
    except UsageError as error:
        raise CommandError(str(error)) from error
    _, status = run_or_stop("fit", arguments)
    if status:
        return status
    data.prepare_data()
    if isinstance(data, CodecData):
        finish_codec(run, data, {}, begun)
        return _go_on(run)
    return _finish(Plan(arguments, run, data, data.prepared, 0), begun, {}, [])


def _go_on(run: Path) -> int:
    """Trains what the codec was trained for, if it was the first stage of something that was stopped."""
    if not (run / NEXT).is_file():
        return 0
    words = json.loads((run / NEXT).read_text(encoding="utf-8"))["arguments"]
    say(f"next stage helicon train {shlex.join(words)}")
    return cli.run("train", words)


def _finish(plan: Plan, begun: float, settings: dict[str, object], more: list[str]) -> int:
    """The page, and the commands to go on with."""
    run = plan.run
    say("generating a few items for the page")
    generate = f"helicon generate {shlex.quote(str(run))} -n 4 --seed 1 -o out"
    evaluate = f"helicon eval {shlex.quote(str(run))} --data.path {shlex.quote(str(plan.data.source.path))} --heldout"
    settings |= {"fit": f"helicon fit {shlex.join(plan.arguments)}"}
    page = write_result(
        run / "index.html", run, plan.prepared, title=f"What {run.name} learned", settings=settings,
        next_steps=[generate, evaluate, *more],
    )  # fmt: skip
    say(f"model      {run / 'model'}\npage       {page}\nnext       {generate}")
    say(f"           {time.monotonic() - begun:,.0f} s in all")
    return 0
