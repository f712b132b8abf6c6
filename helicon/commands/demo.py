"""`helicon demo`: a made-up world, a minute of training, a page to listen to."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace
from pathlib import Path

from helicon.cli import CommandError
from helicon.commands.fit import quiet
from helicon.commands.train import run_plan, say
from helicon.demos.music import World, check_out, compose_world, measure_world, plan_world, show_world

FEWEST = 8  # pieces; fewer leave nothing to measure on


def demo(args: Namespace) -> int:
    """Runs the command."""
    begun = time.monotonic()
    quiet()
    if args.pieces < FEWEST or not args.minutes > 0:
        raise CommandError(f"--pieces must be {FEWEST} or more and --minutes above 0")
    world = World(Path(args.out), args.minutes, args.pieces, args.seed)
    try:
        check_out(world.out)
    except ValueError as error:
        raise CommandError(str(error)) from error
    say(f"composing  {world.pieces} pieces into {world.folder}")
    compose_world(world)
    plan = plan_world(world, say)
    status = run_plan(plan, f"{world.steps} steps, about {world.minutes:g} min on 2 cores")
    if status:
        return status
    say("measuring  on the pieces held out")
    figures = measure_world(plan)
    say("           " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    say("generating a piece of each style")
    run = shlex.quote(str(plan.run))
    steps = [
        f"helicon generate {run} -n 4 --seed 1 --seconds 30 -o more",
        f"helicon generate {run} --style 'march piano tempo120' --seconds 30 -o march",
        "helicon train music DIR --minutes 10",
    ]
    page = show_world(world, plan, figures, begun, steps)
    say(f"page       {page}   (open it in a browser)\nreport     {world.out / 'report.json'}")
    say("next       " + "\n           ".join(steps))
    say(f"           {time.monotonic() - begun:,.0f} s in all")
    return 0
