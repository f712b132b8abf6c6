"""`helicon demo`: a made-up world, a few minutes of training, a page of what came out."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helicon.cli import CommandError
from helicon.commands.fit import quiet
from helicon.commands.outputs import output_folder
from helicon.commands.train import run_plan
from helicon.demos.music import MusicWorld
from helicon.demos.pictures import PictureWorld
from helicon.demos.sound import SoundWorld
from helicon.demos.world import World
from helicon.formats.progress import log
from helicon.training.plan import TrainingPlan
from helicon.training.settings.request import check_minutes

FEWEST = 8  # pieces; fewer leave nothing to measure on
WORLDS: dict[str, type[World]] = {"music": MusicWorld, "text-to-image": PictureWorld, "audio": SoundWorld}


def demo(args: Namespace) -> int:
    """Runs the command."""
    size = {name: value for name in ("minutes", "pieces") if (value := getattr(args, name)) is not None}
    return run_demo(args.world, Path(args.out), run_plan, seed=args.seed, **size)


def run_demo(name: str, out: Path, run: Callable[[TrainingPlan, str], int], **settings: Any) -> int:
    """Makes a world's media, trains on them and shows what was learned.

    Args:
        name: of the world.
        out: folder to write, a new one.
        run: trains by a plan, whose length it is told in words; gives an exit status, and other stages wait for 0.
        settings: seed, minutes and pieces of the world.

    Returns:
        The exit status of the last training.

    Raises:
        CommandError: for too few pieces; ValueError for minutes that no training can last.
    """
    begun = time.monotonic()
    quiet()
    if settings.get("pieces", FEWEST) < FEWEST:
        raise CommandError(f"--pieces must be {FEWEST} or more")
    if "minutes" in settings:
        check_minutes(settings["minutes"])
    world = WORLDS[name](out, **settings)
    with output_folder(out, new=True):
        status = _run_world(world, run, begun)
    if not status:
        log(f"page       {out / 'index.html'}   (open it in a browser)\nreport     {out / 'report.json'}")
        log("next       " + "\n           ".join(world.next_steps()))
        log(f"           {time.monotonic() - begun:,.0f} s in all")
    return status


def _run_world(world: World, run: Callable[[TrainingPlan, str], int], begun: float) -> int:
    log(f"{world.making:<10} {world.pieces} {world.things} into {world.folder}")
    world.make()
    plan = None
    for plan, steps, minutes in world.stages(log):
        if status := run(plan, f"{steps} steps, about {round(minutes, 1):g} min on 2 cores"):
            return status
    assert isinstance(plan, TrainingPlan)
    log(f"measuring  {world.measuring}")
    figures = world.show(plan, begun)
    log("           " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    return 0
