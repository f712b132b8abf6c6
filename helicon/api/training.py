"""Training: `train` a folder into a run, `resume` it, `repeat` it, `demo` all of it on a made-up world."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from helicon.api.arguments import AnyPath, as_path
from helicon.cli import CommandError
from helicon.commands.demo import run_demo
from helicon.commands.fit import quiet
from helicon.formats.arguments import checked
from helicon.formats.progress import Progress, log, progress_to
from helicon.plugins.loading import load_plugins
from helicon.plugins.options import as_options
from helicon.training.options import locating_options
from helicon.training.plan import TrainingPlan
from helicon.training.process_state import process_state_kept
from helicon.training.resuming import repeated_config, resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.folders import CONFIG
from helicon.training.runs.trust import check_next
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import layouts_task
from helicon.training.stages import attach_upsampler, chain_stages, make_request, plan_stage, stages
from helicon.training.trainer import Callback


@checked
def train(
    folder: AnyPath,
    task: str | None = None,
    *,
    layout: str | Iterable[str] = (),
    size: str = "auto",
    minutes: float | None = None,
    steps: int | None = None,
    name: str | None = None,
    runs: AnyPath | None = None,
    init_from: AnyPath | None = None,
    manifest: AnyPath | None = None,
    seed: int | None = None,
    levels: int = 1,
    upsampler_of: AnyPath | None = None,
    config: AnyPath | Iterable[AnyPath] = (),
    plugins: Iterable[AnyPath] = (),
    options: Iterable[str] = (),
    callbacks: Iterable[Callback] = (),
    progress: Progress = None,
) -> Path:
    """Trains on a folder, searched recursively, as `helicon train` does: what is left open is chosen, and what the
    task needs is trained first, such as the codec of `text-to-image`.

    Nothing of the process is left changed, random states included, but that glibc keeps freed memory for reuse.

    Args:
        folder: of files.
        task: a preset such as `music`, which it is unless it is said, or `text-to-image`, a config file, or a layout
            such as `text[32] music`, whose slots may be those of a modality of your own. `image-codec` and
            `audio-codec` train a codec, whose run others take as their tokenizer with
            `options=["--data.tokenizer", str(codec)]`.
        layout: in the place of a task, one or several.
        size: a preset with the model's shape, or `auto`; a codec has none.
        minutes: how long all of it takes at most; 10 unless it or `steps` is given.
        steps: of each stage, at most; the learning rate follows whichever ends first.
        name: folder in `runs`; an empty or a new one.
        runs: folder of all runs, `runs` unless given.
        init_from: run or bundle to fine-tune.
        manifest: list of files, instead of searching the folder.
        seed: of batches and noise, 0 unless given.
        levels: of sound, one of them made by the model and each finer one by an upsampler.
        upsampler_of: the run of sound that an upsampler is trained for, which gets it.
        config: presets or config files, which count in the place of the task's.
        plugins: Python files with code of your own, which is run.
        options: more of what `helicon fit` takes, as on the command line, e.g. `["--model.dropout", "0.2"]`.
        callbacks: Lightning's, of the last training where several are needed; of one process alone.
        progress: where it is told how it goes: a file such as `sys.stderr`, or a function of a line such as `print`.

    Returns:
        The run of the model, which `load` takes.

    Raises:
        RuntimeError: in a process that a training has started and that runs the same script once more.
        ValueError: for what is not accepted, in one line.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('a training starts processes: what a script does belongs below `if __name__ == "__main__":`')
    layouts = [layout] if isinstance(layout, str) else list(layout)
    if layouts and task:
        raise ValueError(f"layout is in the place of the task {task}: leave one of them out")
    task = layouts_task(layouts) if layouts else task or "music"
    configs = [config] if isinstance(config, (str, os.PathLike)) else config
    words = [*(f"--config={os.fspath(each)}" for each in configs), *as_options(plugins), *options]
    load_plugins(plugins)
    with progress_to(progress), process_state_kept():
        quiet()
        request = make_request(
            task, Path(folder), words, size=size, minutes=minutes, steps=steps, name=name, runs=as_path(runs),
            init_from=as_path(init_from), manifest=as_path(manifest), seed=seed, levels=levels,
            upsampler_of=as_path(upsampler_of),
        )  # fmt: skip
        with locating_options(task, words=words):
            found = stages(request)
        return _train_stages(chain_stages(found), words, callbacks)


@checked
def demo(
    world: Literal["music", "text-to-image", "audio"],
    folder: AnyPath = "demo",
    *,
    minutes: float | None = None,
    pieces: int | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> Path:
    """Makes a small world, trains on it and writes a page of what came out, as `helicon demo` does.

    Args:
        world: which one.
        folder: to write, a new one.
        minutes: of training; 1 for music, 6 for pictures, 3 for sound unless given.
        pieces: to make; 300, 20,000 pictures or 6,000 sounds unless given.
        seed: of all that is drawn.
        progress: a file or a function of a line, as of `train`.

    Returns:
        The page, beside which are the run, the media and `report.json`.

    Raises:
        ValueError: for what is not accepted, such as a folder with something in it, in one line.
    """
    size = {name: value for name, value in {"minutes": minutes, "pieces": pieces}.items() if value is not None}
    with process_state_kept(), progress_to(progress):
        try:
            run_demo(world, Path(folder), _fitted, seed=seed, **size)
        except CommandError as error:
            raise ValueError(str(error)) from error
    return Path(folder) / "index.html"


def _fitted(plan: TrainingPlan, how_long: str) -> int:
    log(f"training   {how_long}")
    run_lightning("fit", plan.config, plan.data)
    return 0


@checked
def resume(
    run: AnyPath,
    *,
    minutes: float | None = None,
    upsampler_of: AnyPath | None = None,
    plugins: Iterable[AnyPath] = (),
    options: Iterable[str] = (),
    callbacks: Iterable[Callback] = (),
    progress: Progress = None,
) -> Path:
    """Goes on with a run that was stopped, and with what follows it.

    Args:
        run: folder of a run.
        minutes: how long it trains in all, instead of what the run says.
        upsampler_of: the run that it is an upsampler for, said once more where that is not beside it.
        plugins: Python files that it needs, which are run.
        options: of `helicon fit`, that count in the place of the run's own, e.g. `["--trainer.max_steps", "2000"]`.
        callbacks: Lightning's, as they were given to `train`.
        progress: a file or a function of a line, as of `train`.

    Returns:
        The run of the model.
    """
    load_plugins(plugins)
    words = [*as_options(plugins), *options]
    with progress_to(progress), process_state_kept(), locating_options(Path(run) / CONFIG, words=words):
        quiet()
        config = resumed_config(Path(run), words, minutes, as_path(upsampler_of))
        following = check_next(Path(run), config)
        own = () if following else callbacks
        trained = _attached(
            run_lightning("fit", config, callbacks=[*own]).run_folder, as_path(config.get("upsampler_of"))
        )
        following = check_next(Path(run), config)
        return _train_stages(following, (), callbacks) if following else trained


def _train_stages(request: TrainRequest, words: Sequence[str], callbacks: Iterable[Callback]) -> Path:
    """Trains one stage and those that follow it; gives the run of the model, or of a codec that is all."""
    plan, own = plan_stage(request, words), () if request.next else callbacks
    run = _attached(run_lightning("fit", plan.config, plan.data, callbacks=[*own]).run_folder, request.upsampler_of)
    return _train_stages(request.next, words, callbacks) if request.next else run


def _attached(run: Path, upsampler_of: Path | None) -> Path:
    """The run of the model, which has got an upsampler where the run is of one."""
    if upsampler_of is None:
        return run
    attach_upsampler(run, upsampler_of)
    return upsampler_of


@checked
def repeat(
    run: AnyPath, *, name: str | None = None, runs: AnyPath | None = None, plugins: Iterable[AnyPath] = (),
    options: Iterable[str] = (), progress: Progress = None,
) -> Path:  # fmt: skip
    """Makes a run once more, the same step by step whatever limited it; gives the folder of the new one.

    On a CPU with as many threads its weights are those of `run` to the bit, also where minutes were the limit: the
    progress that learning rates followed is on record in `run`.
    name: folder in `runs`, which is the folder that `run` lies in unless given. plugins: Python files that it needs,
    which are run. options: of `helicon fit`, of those that change none of its steps, e.g. `["--data.workers", "0"]`.
    progress: a file or a function of a line, as of `train`.
    """
    load_plugins(plugins)
    words = [*as_options(plugins), *options]
    with progress_to(progress), process_state_kept(), locating_options(Path(run) / CONFIG, words=words):
        quiet()
        config = repeated_config(Path(run), as_path(runs), name, words)
        return run_lightning("fit", config).run_folder
