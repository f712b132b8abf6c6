"""`helicon train`: look at a folder, choose the options that were not set, run `fit`, and write a result page."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helicon.cli.errors import CommandError
from helicon.commands.fit import quiet, run_or_stop, usage_command
from helicon.data.entries import Origin
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.formats.progress import log
from helicon.formats.quantities import duration
from helicon.objectives.registry import OBJECTIVES
from helicon.pages.codec_page import next_steps, write_codec_result
from helicon.pages.model_page import write_result
from helicon.plugins.loading import words as plugin_words
from helicon.plugins.options import as_options
from helicon.presets import preset_names
from helicon.sources.places import as_place
from helicon.training.codecs.raw_data import RawData
from helicon.training.options import resolve
from helicon.training.parser import check_names
from helicon.training.plan import TrainingPlan
from helicon.training.resuming import repeated_config, resumed_config
from helicon.training.run import keep_of_checkpoint
from helicon.training.runs.folders import CONFIG
from helicon.training.runs.trust import check_next
from helicon.training.settings.mixed_paths import with_sources
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import layouts_task
from helicon.training.stages import attach_upsampler, chain_stages, make_request, plan_stage, stage_lengths, stages
from helicon.training.usage_errors import locating_options


def train(args: Namespace) -> int:
    """Run `helicon train` with its parsed options, `--resume` and `--repeat` too; return the exit status."""
    quiet()
    if args.resume:
        return _resume(args)
    if args.repeat:
        return _repeat(args)
    if args.layout:
        _check_folder(args)
        args.task, args.path = layouts_task(args.layout), args.task
    args.path, words = with_sources([*args.rest, *as_options(args.plugin)], args.path)
    if not args.task or not args.path:
        check_names(args.rest)
        raise CommandError("train needs a task and a folder, e.g. `helicon train music DIR`, or --resume RUN")
    request = make_request(
        args.task, as_place(args.path), words, size=args.size, minutes=args.minutes, steps=args.steps, name=args.name,
        runs=_path(args.runs), init_from=_path(args.init_from), manifest=_path(args.manifest), seed=args.seed,
        levels=args.levels, upsampler_of=_path(args.upsampler_of),
    )  # fmt: skip
    with locating_options(args.task, words=words):
        trainings = stages(request)
    if len(trainings) > 1:
        log(f"stages     {stage_lengths(trainings)}")
    return train_stages(chain_stages(trainings), words, first=True)


def train_stages(request: TrainRequest | None, words: Sequence[str] = (), first: bool = False) -> int:
    """Train a stage and those that follow it, until one fails.

    Args:
        request: `TrainRequest` of the first stage, with the others as its `next`; None for no stage.
        words: options as typed, which every stage gets.
        first: True to leave out the first stage's title.

    Returns:
        Exit status of the last training; 0 for no stage.
    """
    while request is not None:
        if not first:
            log(f"next stage {request}")
        if status := train_stage(request, words):
            return status
        request, first = request.next, False
    return 0


def _check_folder(args: Namespace) -> None:
    """Raise CommandError unless exactly one word, the folder, was typed beside --layout."""
    if args.path and args.task in [*preset_names(), *OBJECTIVES.items()]:
        example = f"helicon train --layout '{args.layout[-1]}' {args.path}"
        raise CommandError(f"--layout is in the place of the task {args.task}: leave one of them out, as in {example}")
    if args.path:
        quoted = f"a layout of several slots is put in quotes: --layout '{args.layout[-1]} {args.task}'"
        raise CommandError(f"--layout takes one folder, not {args.task} and {args.path}; {quoted}")
    if not args.task:
        check_names(args.rest)
        example = f"helicon train --layout '{args.layout[-1]}' DIR"
        raise CommandError(f"--layout {args.layout[-1]!r} is in the place of a task; a folder is needed: {example}")


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


def train_stage(request: TrainRequest, words: Sequence[str] = ()) -> int:
    """Train a stage and show its result.

    Args:
        request: `TrainRequest` of the stage.
        words: options as typed.

    Returns:
        Exit status: 0, or 130 or 143 if a signal stopped it.
    """
    begun, plan = time.monotonic(), plan_stage(request, words)
    ends = time.localtime(time.time() + 60 * request.minutes)
    done = f", done at about {time.strftime('%H:%M', ends)}" if request.timed else ""
    if status := run_plan(plan, f"{request.length}{done}"):
        return status
    paths = [f"--data.path={origin.path}" for origin in plan.data.source.origins] or [str(request.path)]
    settings: dict[str, object] = {
        "command": shlex.join(["helicon", "train", request.task, *paths, *plugin_words()]),
        "at most": request.length,
    }
    _finish(plan.run, plan.data, begun, request.upsampler_of, request.next is None, settings, [str(request.longer(10))])
    return 0


def run_plan(plan: TrainingPlan, how_long: str) -> int:
    """Announce and run a training.

    Args:
        plan: `TrainingPlan` with config, data and run folder.
        how_long: length of the training, in words.

    Returns:
        Exit status: 0, or 130 or 143 if a signal stopped it.
    """
    log(f"training   {how_long}; Ctrl-C stops and keeps what is learned\n           once more: {fit_command(plan.run)}")
    return run_or_stop("fit", plan.config, plan.data)[1]


def fit_command(run: Path) -> str:
    """Return, for a shell, the `helicon fit` command that repeats the training of a run folder (a `Path`)."""
    return shlex.join(["helicon", "fit", "--config", str(run / CONFIG)])


def _resume(args: Namespace) -> int:
    """Resume a stopped run for the rest of its minutes, then train the stages that follow it."""
    run, begun = Path(args.resume), time.monotonic()
    upsampler_of, args.upsampler_of = _path(args.upsampler_of), None  # only needed if the other run was moved
    _refuse_options(args, f"--resume {run}", "--name", "--runs", "--repeat")
    config = resumed_config(run, [*args.rest, *as_options(args.plugin)], args.minutes, upsampler_of)
    log(f"resuming   {run}")
    minutes = [] if args.minutes is None else ["--minutes", f"{args.minutes:g}"]
    with locating_options(run / CONFIG, words=args.rest):
        cli, status = run_or_stop("fit", config, more=[*minutes, *args.rest])
    if status:
        return status
    following = check_next(run, config)
    _finish(run, cli.datamodule, begun, _path(config.get("upsampler_of")), following is None, {})
    return train_stages(following)


def _repeat(args: Namespace) -> int:
    """Repeat a run as a new one: same config, same steps, and the learning rates that its time limit led to."""
    run, begun = Path(args.repeat), time.monotonic()
    _refuse_options(args, f"--repeat {run}", "--minutes")
    config = repeated_config(run, _path(args.runs), args.name, [*args.rest, *as_options(args.plugin)])
    log(f"repeating  {run}")
    with locating_options(run / CONFIG, words=args.rest):
        cli, status = run_or_stop("fit", config)
    if not status:
        _finish(cli.run_folder, cli.datamodule, begun, None, True, {})
    return status


def _refuse_options(args: Namespace, option: str, *more: str) -> None:
    """Raise CommandError for options that an existing run has settled, and for those of `more`."""
    fixed = {"TASK": args.task, "--from": args.init_from, "--manifest": args.manifest, "--size": args.size != "auto"}
    fixed |= {"--levels": args.levels != 1, "--for": args.upsampler_of, "--seed": args.seed is not None}
    fixed |= {"--steps": args.steps is not None}
    fixed |= {"--layout": args.layout}
    others = {"--name": args.name, "--runs": args.runs, "--minutes": args.minutes is not None, "--repeat": args.repeat}
    names = [name for name, value in (fixed | {name: others[name] for name in more}).items() if value]
    if names:
        raise CommandError(f"{option} keeps the run's own settings; leave out {', '.join(names)}")


def _finish(
    run: Path, data: Any, begun: float, upsampler_of: Path | None, last: bool, settings: dict[str, object],
    more: Sequence[str] = (),
) -> None:  # fmt: skip
    """Show a finished run, or attach an upsampler to the run that it is for.

    Args:
        run: run folder.
        data: data module of the training.
        begun: `time.monotonic()` at the start of the command.
        upsampler_of: run of the coarser levels; None if this run is no upsampler.
        last: no stage follows; a model with upsamplers is shown once, after the last of them.
        settings: name -> value, for the page.
        more: suggested commands for the page.
    """
    settings = {**settings, "fit": fit_command(run)}
    if isinstance(data, RawData):
        show_codec(run, data, settings)
    elif upsampler_of:
        log(f"attached   {attach_upsampler(run, upsampler_of)}")
        if last:
            show_upsampled(upsampler_of, settings)
    elif last:
        show(run, data.prepared, data.source, settings, more)
    log(f"took       {duration(time.monotonic() - begun)}")


def show_codec(run: Path, data: RawData, settings: dict[str, object]) -> None:
    """Write the result page of a codec and print the next command.

    Args:
        run: path of the run folder.
        data: `RawData`, the data module of the training.
        settings: name -> value, rows of the page's table.
    """
    steps = next_steps(data.medium, shlex.quote(str(run)), shlex.quote(str(data.source.path)))
    page, figures = write_codec_result(run / "index.html", run, data, settings, steps)
    log(f"codec      {run / 'model'}\nquality    {figures}\npage       {page}\nnext       {steps[0]}")


def show_upsampled(run: Path, settings: dict[str, object]) -> None:
    """Write the result page of a run whose model has a new upsampler; a bundle without a run has no data for a page.

    Args:
        run: folder of the run or bundle of the coarsest level.
        settings: name -> value, rows of the page's table.
    """
    if not (run / CONFIG).is_file():
        return log(f"next       {usage_command(run)}")
    config = resumed_config(run)
    data = resolve(config).make_data()
    keep_of_checkpoint(Path(config["ckpt_path"]), data)
    data.prepare_data()
    return show(run, data.prepared, data.source, settings)


def show(
    run: Path, prepared: Prepared, source: DataSource, settings: dict[str, object], more: Sequence[str] = ()
) -> None:
    """Write the result page of a model and print the next command.

    Args:
        run: path of the run folder.
        prepared: `Prepared` data of the training.
        source: `DataSource`, the files of the training.
        settings: name -> value, rows of the page's table.
        more: command lines to suggest for the page, after those to generate and to evaluate.
    """
    log("generating a few items for the page")
    use = usage_command(run)
    page = write_result(
        run / "index.html", run, prepared, title=f"Results of {run.name}", settings=settings,
        next_steps=[use, *(eval_command(run, origin) for origin in source.all_origins), *more],
    )  # fmt: skip
    log(f"model      {run / 'model'}\npage       {page}\nnext       {use}")


def eval_command(run: Path, origin: Origin) -> str:
    """Return the `helicon eval` command that measures a model on the validation part of its training.

    Args:
        run: path of the run folder.
        origin: `Origin`, the files of the training, or those of one of several sources.

    Returns:
        The command, quoted for a shell.
    """
    words = ["helicon", "eval", str(run), "--data.path", str(origin.path), "--validation"]
    words += ["--data.manifest", str(origin.manifest)] if origin.manifest else []
    return shlex.join([*words, *plugin_words()])
