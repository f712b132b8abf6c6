"""`helicon demo`: a made-up world, a few minutes of training, a page of what came out."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

from helicon.cli import CommandError
from helicon.commands.fit import quiet
from helicon.commands.outputs import output_folder
from helicon.commands.train import run_plan
from helicon.demos.music import MusicWorld
from helicon.demos.pictures import PictureWorld
from helicon.demos.sound import SoundWorld
from helicon.demos.world import World
from helicon.formats.progress import say
from helicon.training.plan import Plan
from helicon.training.settings.request import check_minutes

FEWEST = 8  # pieces; fewer leave nothing to measure on
WORLDS: dict[str, type[World]] = {"music": MusicWorld, "text-to-image": PictureWorld, "audio": SoundWorld}


def demo(args: Namespace) -> int:
    """Runs the command."""
    begun, out = time.monotonic(), Path(args.out)
    quiet()
    if args.pieces is not None and args.pieces < FEWEST:
        raise CommandError(f"--pieces must be {FEWEST} or more")
    if args.minutes is not None:
        check_minutes(args.minutes)
    size = {name: value for name in ("minutes", "pieces") if (value := getattr(args, name)) is not None}
    world = WORLDS[args.world](out, seed=args.seed, **size)
    with output_folder(out, new=True):
        status = run_world(world, begun)
    if not status:
        say(f"page       {out / 'index.html'}   (open it in a browser)\nreport     {out / 'report.json'}")
        say("next       " + "\n           ".join(world.next_steps()))
        say(f"           {time.monotonic() - begun:,.0f} s in all")
    return status


def run_world(world: World, begun: float) -> int:
    """Makes the media, trains on them and shows what was learned; the exit status of the last training."""
    say(f"{world.making:<10} {world.pieces} {world.things} into {world.folder}")
    world.make()
    plan = None
    for plan, steps, minutes in world.stages(say):
        if status := run_plan(plan, f"{steps} steps, about {round(minutes, 1):g} min on 2 cores"):
            return status
    assert isinstance(plan, Plan)
    say(f"measuring  {world.measuring}")
    figures = world.show(plan, begun)
    say("           " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    return 0
