"""`helicon train`: the front door. Looks at a folder, chooses what was left open, runs `fit`, ends with a page."""

from __future__ import annotations

import shlex
import sys
import time
from argparse import Namespace
from pathlib import Path

from helicon.cli import CommandError
from helicon.commands.fit import quiet, run_or_stop
from helicon.demos.result import write_result
from helicon.training.errors import TrainingError
from helicon.training.plan import Plan, Wanted, clock, make_plan
from helicon.training.run import UsageError, read_arguments, resume_arguments

MINUTES = 10.0


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
    begun = time.monotonic()
    plan = planned(wanted)
    done = time.strftime("%H:%M", time.localtime(time.time() + 60 * wanted.minutes))
    status = run_plan(plan, f"{wanted.minutes:g} min, done at about {done}")
    if status:
        return status
    settings: dict[str, object] = {
        "command": shlex.join(["helicon", "train", args.task, args.path]),
        "minutes": f"{wanted.minutes:g}",
    }
    more = [f"helicon train {args.task} {shlex.quote(args.path)} --minutes {10 * wanted.minutes:g}"]
    return _finish(plan, begun, settings, more)


def planned(wanted: Wanted) -> Plan:
    """The plan; what is wrong with the arguments is a wrong command line."""
    try:
        return make_plan(wanted, say)
    except UsageError as error:
        raise CommandError(str(error)) from error


def run_plan(plan: Plan, long: str) -> int:
    """Says what starts and how long it takes, and runs it; the exit status."""
    say(f"training   {long}; Ctrl-C stops and keeps what is learned")
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
    return _finish(Plan(arguments, run, data, data.prepared, 0), begun, {}, [])


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
