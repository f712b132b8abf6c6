"""The library in a few calls: `train` a folder into a run, `load` its model, `sample` media from it, `save` them.
`resume` goes on with a run, `repeat` makes it once more. `evaluate`, `features`, `reconstruct`, `tokenize`,
`detokenize` and `info` give what the commands print.

They are `helicon.train` and so on, imported when first used, so that `import helicon` does not load PyTorch.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.bundle.exporting.export import export_bundle
from helicon.bundle.importing.folder import import_folder
from helicon.bundle.printed_tokens import decoder, tokens_of
from helicon.bundle.storage import save_bundle
from helicon.cli import CommandError
from helicon.commands.demo import run_demo
from helicon.commands.doctor import Finding, examine
from helicon.commands.fit import quiet
from helicon.commands.generate import made, watched
from helicon.commands.info import describe, describe_codec, report_of
from helicon.evaluation.classification import Classification, classify_files
from helicon.evaluation.features import Features, folder_features
from helicon.evaluation.measure import Evaluation
from helicon.evaluation.measure import evaluate as measure
from helicon.evaluation.reconstruction import Reconstruction, codec_in, codec_of
from helicon.evaluation.reconstruction import reconstruct as reconstructed
from helicon.formats.arguments import checked, with_fields
from helicon.formats.folder_lock import FolderLock
from helicon.formats.progress import Progress, progress_to, say
from helicon.generation.item import Item
from helicon.generation.request import Request
from helicon.generation.runtime import RuntimeConfig, choose_device
from helicon.plugins.loading import load_plugins
from helicon.plugins.options import as_options
from helicon.sampling import SamplingOptions
from helicon.training.options import locating
from helicon.training.plan import Plan
from helicon.training.process_state import process_state_kept
from helicon.training.resuming import repeated_config, resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.folders import CONFIG
from helicon.training.runs.trust import check_next
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import layouts_task
from helicon.training.stages import attach, chained, make_request, plan_stage, stages
from helicon.training.trainer import Callback
from helicon.vqvae.storage import CodecBundle, find_codec, load_codec

AnyPath = str | os.PathLike[str]
Model = Bundle | CodecBundle | AnyPath  # as `load` gives it, or the folder of a run or bundle
Device = Literal["auto", "cpu", "cuda", "mps"]
Numbers = Literal["fp32", "bf16", "int8", "fp64"]


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
            task, Path(folder), words, size=size, minutes=minutes, steps=steps, name=name, runs=_path(runs),
            init_from=_path(init_from), manifest=_path(manifest), seed=seed, levels=levels,
            upsampler_of=_path(upsampler_of),
        )  # fmt: skip
        with locating(task, words=words):
            found = stages(request)
        return _train_stages(chained(found), words, callbacks)


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


def _fitted(plan: Plan, how_long: str) -> int:
    say(f"training   {how_long}")
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
    with progress_to(progress), process_state_kept(), locating(Path(run) / CONFIG, words=words):
        quiet()
        config = resumed_config(Path(run), words, minutes, _path(upsampler_of))
        following = check_next(Path(run), config)
        own = () if following else callbacks
        trained = _attached(
            run_lightning("fit", config, callbacks=[*own]).run_folder, _path(config.get("upsampler_of"))
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
    attach(run, upsampler_of)
    return upsampler_of


def _path(path: AnyPath | None) -> Path | None:
    return Path(path) if path is not None else None


@checked
def repeat(
    run: AnyPath, *, name: str | None = None, runs: AnyPath | None = None, plugins: Iterable[AnyPath] = (),
    progress: Progress = None,
) -> Path:  # fmt: skip
    """Makes a run once more, the same step by step whatever limited it; gives the folder of the new one.

    On a CPU with as many threads its weights are those of `run` to the bit, also where minutes were the limit: the
    progress that learning rates followed is on record in `run`.
    name: folder in `runs`, which is the folder that `run` lies in unless given. plugins: Python files that it needs,
    which are run. progress: a file or a function of a line, as of `train`.
    """
    load_plugins(plugins)
    with progress_to(progress), process_state_kept(), locating(Path(run) / CONFIG):
        quiet()
        config = repeated_config(Path(run), _path(runs), name, as_options(plugins))
        return run_lightning("fit", config).run_folder


@checked
def load(
    path: AnyPath, device: Device = "auto", dtype: Numbers = "fp32", *, plugins: Iterable[AnyPath] = ()
) -> Bundle | CodecBundle:  # fmt: skip
    """The model or the codec of a run or a bundle folder.

    Args:
        path: the folder.
        device: `cpu`, `cuda`, `mps` or the best there is.
        dtype: of a model: `fp32`, `bf16`, `int8` (of weights) or `fp64`.
        plugins: Python files that it needs, which are run.

    Returns:
        What all functions take in the place of the folder; of a codec those that `info` and `reconstruct` are.

    Raises:
        ValueError: for a folder that has none, a device that is not there, or a plugin that is missing.
    """
    load_plugins(plugins)
    runtime = RuntimeConfig(choose_device(device, dtype), dtype)
    if not find_codec(Path(path)):
        return runtime.load(Path(path))
    if dtype != "fp32":
        raise ValueError(f"dtype {dtype}: a codec computes in fp32")
    return load_codec(Path(path), runtime.device)


def _opened(model: Model) -> Bundle:
    """A model in memory; ValueError for a codec."""
    found = model if isinstance(model, Bundle | CodecBundle) else load(model)
    if isinstance(found, CodecBundle):
        raise ValueError("model: a codec, which makes and knows nothing by itself; a model is needed")
    return found


@checked
@with_fields(SamplingOptions, rest=str)
def sample(
    model: Model,
    count: int = 1,
    seed: int = 0,
    *,
    prime: AnyPath | None = None,
    keep: str | None = None,
    seconds: float | None = None,
    tokens: int | None = None,
    to: str | None = None,
    device: Device = "auto",
    dtype: Numbers = "fp32",
    plugins: Iterable[AnyPath] = (),
    progress: Progress = None,
    **given: Any,
) -> list[Item]:
    """New media; item i depends on (weights, request, seed, i) alone.

    model: as `load` gives it, or the run or bundle itself, on `device` and in `dtype`; then upsamplers that it has make
    the finer levels of its sounds, which is what `helicon generate` does.
    prime: a file to continue, keep: how much of it, `8s` or `0.5`. seconds, tokens: how long. to: the slot to make,
    where the model makes several. given: what is known of the other slots, e.g. `style="bach piano"` or `text="slow"`.
    plugins: Python files that it needs, which are run. progress: a file or a function of a line, as of `train`.
    How it is drawn is said by the options of `helicon generate`:
    """
    load_plugins(plugins)
    drawn = {name: given.pop(name) for name in SamplingOptions.names() if name in given}
    request = Request(
        count=count, seed=seed, given=given, to=to, prime=_path(prime), keep=keep, seconds=seconds, tokens=tokens,
        **drawn,
    )  # fmt: skip
    with progress_to(progress), TemporaryDirectory() as levels:
        if isinstance(model, str | os.PathLike) and not find_codec(Path(model)):
            return made(Path(model), request, RuntimeConfig(choose_device(device, dtype), dtype), Path(levels))[0]
        return watched(_opened(model), request)


@checked
def evaluate(
    model: Model,
    folder: AnyPath,
    *,
    manifest: AnyPath | None = None,
    heldout: bool = False,
    held_out: float | None = None,
    obedience: int = 0,
    seconds: float | None = None,
    seed: int | None = None,
    progress: Progress = None,
) -> Evaluation:
    """How well a model knows the files of a folder, and whether it does as it is asked, as `helicon eval` measures it.

    Args:
        model: as `load` gives it, or the run or bundle.
        folder: of files, searched recursively, all of which are measured.
        manifest: list of files, instead of searching the folder.
        heldout: only the files that a training on the folder would hold out.
        held_out: share of the files that is; 0.05 unless given.
        obedience: pieces of each label to make and judge, none unless given.
        seconds: length of each of these, 24 unless given.
        seed: of these, 0 unless given.
        progress: a file or a function of a line, as of `train`.

    Returns:
        Losses of each layout, what the folder has, and figures of the pieces; `as_json()` has all of them.

    Raises:
        ValueError: for what cannot be measured, in one line.
    """
    with progress_to(progress):
        return measure(
            _opened(model), Path(folder), manifest=_path(manifest), heldout=heldout, held_out=held_out,
            obedience=obedience, seconds=seconds, seed=seed,
        )  # fmt: skip


@checked
def features(
    model: Model,
    folder: AnyPath,
    layer: int | Iterable[int] | None = None,
    *,
    to: str | None = None,
    manifest: AnyPath | None = None,
    batch: int = 16,
    progress: Progress = None,
) -> Features:
    """A layer's mean hidden state for each file of a folder.

    Args:
        model: as `load` gives it, or the run or bundle.
        folder: of files, searched recursively.
        layer: before the attention of which; the number of layers is the end. Several, or all unless given.
        to: of which slot, where the model makes several.
        manifest: list of files, instead of searching the folder.
        batch: sequences at a time.
        progress: a file or a function of a line, as of `train`.

    Returns:
        Names, labels and an array [N, C] of each layer; `save(path)` writes what `helicon features` does.

    Raises:
        ValueError: for a slot or a layer that the model has not, in one line.
    """
    layers = [layer] if isinstance(layer, int) else None if layer is None else [*layer]
    with progress_to(progress):
        return folder_features(
            _opened(model), Path(folder), layers, to=to, manifest=_path(manifest), batch=batch
        )  # fmt: skip


@checked
def classify(
    model: Model, files: Iterable[AnyPath], *, batch: int = 16, progress: Progress = None
) -> list[Classification]:  # fmt: skip
    """The label of each file, by a model that `train(folder, "classify", init_from=run)` has made.

    Args:
        model: as `load` gives it, or the run or bundle.
        files: of the medium that the model makes.
        batch: sequences at a time.
        progress: a file or a function of a line, as of `train`.

    Returns:
        For each file its labels with probabilities, the likeliest first.

    Raises:
        ValueError: for a model without labels, or a file that cannot be told, in one line.
    """
    with progress_to(progress):
        return classify_files(_opened(model), [Path(file) for file in files], batch)


@checked
def reconstruct(
    model: Model, files: Iterable[AnyPath], *, level: int | None = None, device: Device = "auto",
    plugins: Iterable[AnyPath] = (), progress: Progress = None,
) -> list[Reconstruction]:  # fmt: skip
    """Pictures or sounds through a codec and back.

    Args:
        model: a codec, or a model that has one: as `load` gives it, or the run or bundle.
        files: pictures, or sounds, which are whole in memory.
        level: of a codec of sound, 0 the finest, which is taken unless given.
        device: of a run or bundle: `cpu`, `cuda`, `mps` or the best there is.
        plugins: Python files that it needs, which are run.
        progress: a file or a function of a line, as of `train`.

    Returns:
        Each medium before and after, with its codes and how near it comes in dB.

    Raises:
        ValueError: for what no codec is, or a file that cannot be read, in one line.
        OSError: for a file that is not there.
    """
    load_plugins(plugins)
    with progress_to(progress):
        codec = codec_in(model) if isinstance(model, Bundle | CodecBundle) else codec_of(Path(model), device)
        return reconstructed(codec, [Path(file) for file in files], level)


@checked
def tokenize(files: Iterable[AnyPath], *, run: Model | None = None, ids: bool = False) -> list[str]:
    """The tokens of files, a line each.

    Args:
        files: that the model takes; MIDI files without a model.
        run: the model whose vocabulary it is; MuseNet's unless given.
        ids: numbers instead of words.

    Raises:
        ValueError: for a file that the model does not take, or that cannot be read.
    """
    model = None if run is None else _opened(run)
    return [tokens_of(Path(file), model, ids) for file in files]


@checked
def detokenize(lines: Iterable[str], *, run: Model | None = None, ids: bool = False) -> list[Item]:
    """Inverse of `tokenize`: what `save` writes.

    Raises:
        ValueError: for what is no token, with the number of its line.
    """
    decode, items = decoder(None if run is None else _opened(run), ids), []
    for number, line in enumerate(lines):
        try:
            media, modality = decode(line)
        except ValueError as error:
            raise ValueError(f"line {number + 1}: {error}") from None
        items.append(Item(number=number, media=media, ids=np.zeros(0, np.int64), modality=modality))
    return items


@checked
def info(model: Model, *, plugins: Iterable[AnyPath] = ()) -> dict[str, Any]:
    """What is in a model or a codec: sizes, layouts, tokenizers, plugins that it needs, how it was made. JSON-able."""
    load_plugins(plugins)
    if isinstance(model, CodecBundle):
        return describe_codec(model)
    return describe(model) if isinstance(model, Bundle) else report_of(Path(model))


@checked
def import_model(folder: AnyPath, *, progress: Progress = None) -> Bundle:
    """A model of GPT-2 or ImageGPT files, as `helicon import` makes it; `save_model` writes it.

    Args:
        folder: with config.json and model.safetensors.
        progress: a file or a function of a line, which is told what people should know of it.

    Raises:
        ValueError: for what is none of them, in one line.
    """
    with progress_to(progress):
        return import_folder(Path(folder), say)


@checked
def export_model(model: Model, folder: AnyPath, to: Literal["hf", "gguf"] = "hf") -> None:
    """Writes a model for another program, as `helicon export` does.

    Args:
        model: as `load` gives it, or the run or bundle.
        folder: gets the files.
        to: `hf`, a folder of transformers, or `gguf`, a file of llama.cpp.

    Raises:
        ValueError: for a model that the program cannot compute, with the options that prevent it; nothing is written
            then.
    """
    export_bundle(_opened(model), Path(folder), to)


@checked
def save_model(model: Bundle, folder: AnyPath) -> None:
    """Writes a model as a bundle, which `load` and every command take.

    OSError where that cannot be written; what was there before is then as it was. ValueError for a model in int8.
    """
    save_bundle(model, Path(folder))


def doctor() -> list[Finding]:
    """What this machine has, and for each thing that is missing what would help."""
    return examine(Path("runs"))


@checked
def save(items: Iterable[Item], folder: AnyPath) -> list[Path]:
    """Writes each item as `folder/NNN.suffix`, with its previews beside it; gives the paths of the items.

    OSError where another process is writing to that folder.
    """
    paths = [Path(folder) / f"{place:03d}{item.modality.suffixes[0]}" for place, item in enumerate(items)]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with FolderLock(Path(folder)):
        for path, item in zip(paths, items):
            item.save(path)
    return paths
