"""`helicon demo`: a made-up world, a few minutes of training, a page of what came out."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helicon.cli import CommandError
from helicon.commands.fit import quiet
from helicon.commands.outputs import output_folder
from helicon.commands.train import run_plan, say
from helicon.demos import pictures, sound
from helicon.demos.captioned import CaptionedWorld
from helicon.demos.music import World, check_out, compose_world, measure_world, plan_world, show_world
from helicon.demos.pictures import PictureWorld
from helicon.demos.sound import SoundWorld
from helicon.training.codec_plan import CodecPlan
from helicon.training.plan import Plan


@dataclass(frozen=True)
class Shown:
    """How a world of captioned media is told of: what making them is called, their suffix, a caption, the task."""

    making: str
    suffix: str
    caption: str
    task: str


FEWEST = 8  # pieces; fewer leave nothing to measure on


def demo(args: Namespace) -> int:
    """Runs the command."""
    begun = time.monotonic()
    quiet()
    if (args.pieces is not None and args.pieces < FEWEST) or (args.minutes is not None and not args.minutes > 0):
        raise CommandError(f"--pieces must be {FEWEST} or more and --minutes above 0")
    with output_folder(Path(args.out)):
        try:
            check_out(Path(args.out))
        except ValueError as error:
            raise CommandError(str(error)) from error
        status, steps = WORLDS[args.world](args, begun)
    if not status:
        out = Path(args.out)
        say(f"page       {out / 'index.html'}   (open it in a browser)\nreport     {out / 'report.json'}")
        say("next       " + "\n           ".join(steps))
        say(f"           {time.monotonic() - begun:,.0f} s in all")
    return status


def _chosen(args: Namespace) -> dict[str, float]:
    """What was given of the size of a world."""
    return {name: value for name in ("minutes", "pieces") if (value := getattr(args, name)) is not None}


def demo_music(args: Namespace, begun: float) -> tuple[int, list[str]]:
    """The exit status, and commands to go on with."""
    world = World(Path(args.out), seed=args.seed, **_chosen(args))  # type: ignore[arg-type]
    say(f"composing  {world.pieces} pieces into {world.folder}")
    compose_world(world)
    plan = plan_world(world, say)
    status = run_plan(plan, f"{world.steps} steps, about {world.minutes:g} min on 2 cores")
    if status:
        return status, []
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
    show_world(world, plan, figures, begun, steps)
    return 0, steps


def demo_captioned(begun: float, room: Any, world: CaptionedWorld, shown: Shown) -> tuple[int, list[str]]:
    """The exit status, and commands to go on with. room: the module of a world of captioned media."""
    say(f"{shown.making:<10} {world.pieces} {world.things} into {world.folder}")
    room.make_world(world)
    codec: CodecPlan = room.plan_codec(world, say)
    minutes = world.minutes * world.codec_share
    status = run_plan(codec, f"{world.codec_steps} steps, about {minutes:.1f} min on 2 cores")
    if status:
        return status, []
    plan: Plan = room.plan_model(world, say)
    status = run_plan(plan, f"{world.steps} steps, about {world.minutes - minutes:.1f} min on 2 cores")
    if status:
        return status, []
    say(f"{shown.making:<10} what captions say that were not in training")
    run, example = shlex.quote(str(plan.run)), shlex.quote(str(world.folder / f"00001{shown.suffix}"))
    steps = [
        f"helicon generate {run} --text {shlex.quote(shown.caption)} -n 4 --temperature {room.TEMPERATURE} -o more",
        f"helicon reconstruct {shlex.quote(str(codec.run))} {example} -o codec",
        f"helicon train {shown.task} DIR --minutes 30",
    ]
    _, figures = room.show_world(world, plan, begun, steps)
    say("           " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    return 0, steps


def demo_pictures(args: Namespace, begun: float) -> tuple[int, list[str]]:
    """The exit status, and commands to go on with."""
    world = PictureWorld(Path(args.out), seed=args.seed, **_chosen(args))  # type: ignore[arg-type]
    shown = Shown("drawing", ".png", "a small red circle above a large blue square", "text-to-image")
    return demo_captioned(begun, pictures, world, shown)


def demo_sound(args: Namespace, begun: float) -> tuple[int, list[str]]:
    """The exit status, and commands to go on with."""
    world = SoundWorld(Path(args.out), seed=args.seed, **_chosen(args))  # type: ignore[arg-type]
    shown = Shown("playing", ".wav", "a plucked low C, then a bowed high G", "text-to-audio")
    return demo_captioned(begun, sound, world, shown)


WORLDS: dict[str, Callable[[Namespace, float], tuple[int, list[str]]]] = {
    "music": demo_music,
    "text-to-image": demo_pictures,
    "audio": demo_sound,
}
