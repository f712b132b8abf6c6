"""Training: `train` a folder into a run, `resume` or `repeat` a run, `demo` on made-up media."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from helicon.api.arguments import AnyPath, Data, as_path
from helicon.cli.errors import CommandError
from helicon.commands.demo import run_demo
from helicon.commands.fit import quiet
from helicon.formats.arguments import checked
from helicon.formats.progress import Progress, log, progress_to
from helicon.plugins.loading import load_plugins
from helicon.plugins.options import as_options
from helicon.sources.places import as_place
from helicon.sources.spool import spooled
from helicon.training.plan import TrainingPlan
from helicon.training.process_state import process_state_kept
from helicon.training.resuming import repeated_config, resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.folders import CONFIG
from helicon.training.runs.trust import check_next
from helicon.training.settings.mixed_paths import with_sources
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import layouts_task
from helicon.training.stages import attach_upsampler, chain_stages, make_request, plan_stage, slots_asked, stages
from helicon.training.trainer import Callback
from helicon.training.usage_errors import locating_options


@checked
def train(
    folder: Data,
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
    """Train on the files of a folder, as `helicon train` does.

    Options that are left open are chosen, and models that the task needs are trained first, such as the codec of
    `text-to-image`. The state of the process is restored at the end, random states included; only the malloc settings
    stay, by which glibc keeps freed memory for reuse.

    Args:
        folder: folder of files, searched recursively; a place that is elsewhere, such as
            `https://HOST/train-{000..015}.tar`, `s3://BUCKET/FOLDER` or `hf:USER/DATASET`, which is brought to the
            cache; or an iterable of media, such as texts, pictures of PIL, `Sound`s, `Score`s or paths, which are
            written there. Of several media an example is a tuple in order of the layout, or a dict of slot -> medium,
            with `label`.
        task: preset such as `music` (the default) or `text-to-image`, config file, or layout such as `text[32] music`,
            whose slots may be those of a plugin's modality. `image-codec` and `audio-codec` train a codec, whose run is
            a tokenizer of other trainings: `options=["--data.tokenizer", str(codec)]`.
        layout: one layout or several, instead of a task.
        size: preset with the model's shape, or `auto`; of a codec only `auto`.
        minutes: time limit of all stages together; 10 unless it or `steps` is set.
        steps: limit of each stage, in optimizer steps; the learning rate follows the limit that is reached first.
        name: folder in `runs`, new or empty.
        runs: path of the folder of all runs; `runs` unless set.
        init_from: path of the run or bundle to fine-tune.
        manifest: path of a CSV or JSONL file that lists the files, or COCO JSON, instead of a search.
        seed: of batches and noise; 0 unless set.
        levels: of sound: the model makes the coarsest one, an upsampler each finer one.
        upsampler_of: path of the run of sound that an upsampler is trained for and attached to.
        config: presets or config files that override the task's.
        plugins: paths of Python files with code of your own; they are run.
        options: of `helicon fit`, as on the command line, such as `["--model.dropout", "0.2"]`.
        callbacks: of Lightning, for the last stage; with one process only.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Path of the model's run folder, which `load` accepts.

    Raises:
        RuntimeError: a process that a training started runs the script again, which lacks the `__main__` guard.
        ValueError: an argument or option that is not accepted, or data that cannot be used.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('a training starts processes: what a script does belongs below `if __name__ == "__main__":`')
    layouts = [layout] if isinstance(layout, str) else list(layout)
    if layouts and task:
        raise ValueError(f"layout is in the place of the task {task}: leave one of them out")
    task = layouts_task(layouts) if layouts else task or "music"
    configs = [config] if isinstance(config, (str, os.PathLike)) else config
    words = [*(f"--config={os.fspath(path)}" for path in configs), *as_options(plugins), *options]
    load_plugins(plugins)
    with progress_to(progress), process_state_kept():
        quiet()
        in_memory = not isinstance(folder, str | os.PathLike)
        path, words = with_sources(words, None if in_memory else os.fspath(folder))
        request = make_request(
            task, as_place(path or ""), words, size=size, minutes=minutes, steps=steps, name=name, runs=as_path(runs),
            init_from=as_path(init_from), manifest=as_path(manifest), seed=seed, levels=levels,
            upsampler_of=as_path(upsampler_of),
        )  # fmt: skip
        if in_memory:
            request = replace(request, path=spooled(folder, *slots_asked(request)))
        with locating_options(task, words=words):
            trainings = stages(request)
        return _train_stages(chain_stages(trainings), words, callbacks)


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
    """Make the media of a small world, train on them and write a result page, as `helicon demo` does.

    Args:
        world: `music`, `text-to-image` or `audio`.
        folder: output folder, new or empty.
        minutes: length of the training; 1 for music, 6 for pictures, 3 for sound unless set.
        pieces: number of media to make; 300 pieces, 20,000 pictures or 6,000 sounds unless set.
        seed: seed of media, training and samples.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Path of the page, an HTML file; run, media and `report.json` are beside it.

    Raises:
        ValueError: an argument that is not accepted, such as a folder that is not empty.
    """
    size = {name: value for name, value in {"minutes": minutes, "pieces": pieces}.items() if value is not None}
    with process_state_kept(), progress_to(progress):
        try:
            run_demo(world, Path(folder), _fit, seed=seed, **size)
        except CommandError as error:
            raise ValueError(str(error)) from error
    return Path(folder) / "index.html"


def _fit(plan: TrainingPlan, how_long: str) -> int:
    """Run a training of a demo, and return 0."""
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
    """Resume a stopped run, then train the stages that follow it, as `helicon train --resume` does.

    Args:
        run: path of the run folder.
        minutes: time limit that replaces the run's, time before the stop included.
        upsampler_of: run that an upsampler belongs to; needed only if it was moved.
        plugins: paths of Python files that the run needs; they are run.
        options: of `helicon fit`, which replace the run's, such as `["--trainer.max_steps", "2000"]`.
        callbacks: of Lightning, as in `train`.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Path of the model's run folder.

    Raises:
        TrainingError (a RuntimeError): no run that can be resumed.
        ValueError: an option that is not accepted.
    """
    load_plugins(plugins)
    words = [*as_options(plugins), *options]
    with progress_to(progress), process_state_kept(), locating_options(Path(run) / CONFIG, words=words):
        quiet()
        config = resumed_config(Path(run), words, minutes, as_path(upsampler_of))
        following = check_next(Path(run), config)
        stage_callbacks = () if following else callbacks
        trained = _attach(
            run_lightning("fit", config, callbacks=[*stage_callbacks]).run_folder, as_path(config.get("upsampler_of"))
        )
        following = check_next(Path(run), config)
        return _train_stages(following, (), callbacks) if following else trained


def _train_stages(request: TrainRequest, words: Sequence[str], callbacks: Iterable[Callback]) -> Path:
    """Train a stage and those that follow it; return the run of the last one, of a model or a codec."""
    plan, stage_callbacks = plan_stage(request, words), () if request.next else callbacks
    cli = run_lightning("fit", plan.config, plan.data, callbacks=[*stage_callbacks])
    run = _attach(cli.run_folder, request.upsampler_of)
    return _train_stages(request.next, words, callbacks) if request.next else run


def _attach(run: Path, upsampler_of: Path | None) -> Path:
    """Attach an upsampler to its model and return the run of that; return any other run as it is."""
    if upsampler_of is None:
        return run
    attach_upsampler(run, upsampler_of)
    return upsampler_of


@checked
def repeat(
    run: AnyPath, *, name: str | None = None, runs: AnyPath | None = None, plugins: Iterable[AnyPath] = (),
    options: Iterable[str] = (), progress: Progress = None,
) -> Path:  # fmt: skip
    """Repeat a run step by step as a new run, as `helicon train --repeat` does.

    On a CPU with as many threads the weights are bitwise those of `run`, even if minutes were its limit, since its
    learning rates are on record.

    Args:
        run: path of the run folder.
        name: folder in `runs`, new or empty.
        runs: folder of the new run; that of `run` unless set.
        plugins: paths of Python files that the run needs; they are run.
        options: of `helicon fit`, of those that change no step, such as `["--data.workers", "0"]`.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Path of the new run folder.

    Raises:
        TrainingError (a RuntimeError): no run that can be repeated.
        ValueError: an option that is not accepted.
    """
    load_plugins(plugins)
    words = [*as_options(plugins), *options]
    with progress_to(progress), process_state_kept(), locating_options(Path(run) / CONFIG, words=words):
        quiet()
        config = repeated_config(Path(run), as_path(runs), name, words)
        return run_lightning("fit", config).run_folder
