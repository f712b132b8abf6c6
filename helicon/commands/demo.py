"""`helicon demo`: make the media of a small world, train on them for minutes, and write a page of results."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helicon.cli.errors import CommandError
from helicon.commands.fit import quiet
from helicon.commands.outputs import output_folder
from helicon.commands.train import run_plan
from helicon.demos.music import MusicWorld
from helicon.demos.pictures import PictureWorld
from helicon.demos.sound import SoundWorld
from helicon.demos.world import World
from helicon.formats.progress import log
from helicon.formats.quantities import duration, quantity
from helicon.training.plan import TrainingPlan
from helicon.training.settings.request import check_minutes

MIN_PIECES = 8  # fewer leave nothing to measure on
WORLDS: dict[str, type[World]] = {"music": MusicWorld, "text-to-image": PictureWorld, "audio": SoundWorld}


def demo(args: Namespace) -> int:
    """Run `helicon demo` with its parsed options; return the exit status."""
    size = {name: value for name in ("minutes", "pieces") if (value := getattr(args, name)) is not None}
    return run_demo(args.world, Path(args.out), run_plan, seed=args.seed, **size)


def run_demo(name: str, out: Path, run: Callable[[TrainingPlan, str], int], **settings: Any) -> int:
    """Make the media of a world, train on them and write a result page.

    Args:
        name: key of WORLDS.
        out: path of the output folder, new or empty.
        run: function that trains a `TrainingPlan` and returns an exit status; its second argument is the length in
            words. A status other than 0 ends the demo.
        settings: `seed`, `minutes` of training and `pieces`, the number of media, of the world.

    Returns:
        Exit status of the last training.

    Raises:
        CommandError: too few pieces.
        ValueError: minutes out of range.
        OutputError: `out` is not empty.
    """
    begun = time.monotonic()
    quiet()
    if settings.get("pieces", MIN_PIECES) < MIN_PIECES:
        raise CommandError(f"--pieces must be {MIN_PIECES} or more")
    if "minutes" in settings:
        check_minutes(settings["minutes"])
    world = WORLDS[name](out, **settings)
    with output_folder(out, new=True):
        status = _run_world(world, run, begun)
    if not status:
        log(f"page       {out / 'index.html'}   (open it in a browser)\nreport     {out / 'report.json'}")
        log("next       " + "\n           ".join(world.next_steps()))
        log(f"took       {duration(time.monotonic() - begun)}")
    return status


def _run_world(world: World, run: Callable[[TrainingPlan, str], int], begun: float) -> int:
    log(f"{world.making:<10} {world.pieces:,} {world.things} into {world.folder}")
    world.make()
    plan = None
    for plan, steps, minutes in world.stages(log):
        if status := run(plan, f"{quantity(steps, 'step')}, about {duration(60 * minutes)} on 2 cores"):
            return status
    assert isinstance(plan, TrainingPlan)
    log(f"measuring  {world.measuring}")
    figures = world.show(plan, begun)
    log("           " + ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items()))
    return 0
