"""What a model is for: `sample` and `save` media, `evaluate`, `classify`, `features`, `reconstruct`, tokens."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from helicon.api.arguments import AnyPath, Device, Model, Numbers, as_path
from helicon.api.models import opened
from helicon.api.results import Lines, Results
from helicon.bundle.bundle import Bundle
from helicon.bundle.printed_tokens import decoder, tokens_of
from helicon.commands.doctor import Finding, examine
from helicon.commands.generate import generate_from_folder, generate_with_progress
from helicon.evaluation.classification import Classification, classify_files
from helicon.evaluation.features import Features, folder_features
from helicon.evaluation.measure import Evaluation
from helicon.evaluation.measure import evaluate as measure
from helicon.evaluation.reconstruction import Reconstruction, codec_in, codec_of
from helicon.evaluation.reconstruction import reconstruct as reconstructed
from helicon.formats.arguments import checked, with_fields
from helicon.formats.progress import Progress, progress_to
from helicon.generation.item import Item
from helicon.generation.request import Request
from helicon.generation.runtime import RuntimeConfig, choose_device
from helicon.plugins.loading import load_plugins
from helicon.sampling import SamplingOptions
from helicon.vqvae.storage import CodecBundle, find_codec


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
) -> Results[Item]:
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
        count=count, seed=seed, conditions=given, to=to, prime=as_path(prime), keep=keep, seconds=seconds,
        tokens=tokens, **drawn,
    )  # fmt: skip
    with progress_to(progress), TemporaryDirectory() as levels:
        if isinstance(model, str | os.PathLike) and not find_codec(Path(model)):
            runtime = RuntimeConfig(choose_device(device, dtype), dtype)
            return Results(generate_from_folder(Path(model), request, runtime, Path(levels))[0])
        return Results(generate_with_progress(opened(model), request))


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
    device: Device = "auto",
    dtype: Numbers = "fp32",
    plugins: Iterable[AnyPath] = (),
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
        device: of a run or bundle: `cpu`, `cuda`, `mps` or the best there is.
        dtype: of a run or bundle: `fp32`, `bf16`, `int8` (of weights) or `fp64`.
        plugins: Python files that it needs, which are run.
        progress: a file or a function of a line, as of `train`.

    Returns:
        Losses of each layout, what the folder has, and figures of the pieces; `as_json()` has all of them.

    Raises:
        ValueError: for what cannot be measured, in one line.
    """
    with progress_to(progress):
        return measure(
            opened(model, device, dtype, plugins), Path(folder), manifest=as_path(manifest), heldout=heldout,
            held_out=held_out, obedience=obedience, seconds=seconds, seed=seed,
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
    device: Device = "auto",
    plugins: Iterable[AnyPath] = (),
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
        device: of a run or bundle: `cpu`, `cuda`, `mps` or the best there is.
        plugins: Python files that it needs, which are run.
        progress: a file or a function of a line, as of `train`.

    Returns:
        Names, labels and an array [N, C] of each layer; `save(path)` writes what `helicon features` does.

    Raises:
        ValueError: for a slot or a layer that the model has not, in one line.
    """
    layers = [layer] if isinstance(layer, int) else None if layer is None else [*layer]
    with progress_to(progress):
        return folder_features(
            opened(model, device, plugins=plugins), Path(folder), layers, to=to, manifest=as_path(manifest), batch=batch
        )  # fmt: skip


@checked
def classify(
    model: Model, files: Iterable[AnyPath], *, top: int | None = None, batch: int = 16, device: Device = "auto",
    plugins: Iterable[AnyPath] = (), progress: Progress = None,
) -> Results[Classification]:  # fmt: skip
    """The label of each file, by a model that `train(folder, "classify", init_from=run)` has made.

    Args:
        model: as `load` gives it, or the run or bundle.
        files: of the medium that the model makes.
        top: labels a file, the likeliest; all unless given.
        batch: sequences at a time.
        device: of a run or bundle: `cpu`, `cuda`, `mps` or the best there is.
        plugins: Python files that it needs, which are run.
        progress: a file or a function of a line, as of `train`.

    Returns:
        For each file its labels with probabilities, the likeliest first.

    Raises:
        ValueError: for a model without labels, or a file that cannot be told, in one line.
    """
    with progress_to(progress):
        return Results(
            classify_files(opened(model, device, plugins=plugins), [Path(file) for file in files], batch, top)
        )


@checked
def reconstruct(
    model: Model, files: Iterable[AnyPath], *, level: int | None = None, device: Device = "auto",
    plugins: Iterable[AnyPath] = (), progress: Progress = None,
) -> Results[Reconstruction]:  # fmt: skip
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
        return Results(reconstructed(codec, [Path(file) for file in files], level))


@checked
def tokenize(
    files: Iterable[AnyPath], *, run: Model | None = None, ids: bool = False, plugins: Iterable[AnyPath] = ()
) -> Lines:  # fmt: skip
    """The tokens of files, a line each.

    Args:
        files: that the model takes; MIDI files without a model.
        run: the model whose vocabulary it is; MuseNet's unless given.
        ids: numbers instead of words.
        plugins: Python files that the model needs, which are run.

    Raises:
        ValueError: for a file that the model does not take, or that cannot be read.
    """
    load_plugins(plugins)
    model = None if run is None else opened(run, "cpu")
    return Lines(tokens_of(Path(file), model, ids) for file in files)


@checked
def detokenize(
    lines: Iterable[str], *, run: Model | None = None, ids: bool = False, plugins: Iterable[AnyPath] = ()
) -> Results[Item]:
    """Inverse of `tokenize`, with the same arguments: what `save` writes.

    Raises:
        ValueError: for what is no token, with the number of its line.
    """
    load_plugins(plugins)
    decode = decoder(None if run is None else opened(run, "cpu"), ids)
    items: Results[Item] = Results()
    for number, line in enumerate(lines):
        try:
            media, modality = decode(line)
        except ValueError as error:
            raise ValueError(f"line {number + 1}: {error}") from None
        items.append(Item(number=number, media=media, ids=np.zeros(0, np.int64), modality=modality))
    return items


def doctor() -> list[Finding]:
    """What this machine has, and for each thing that is missing what would help."""
    return examine(Path("runs"))


@checked
def save(items: Iterable[Item], folder: AnyPath) -> list[Path]:
    """Writes each item as `folder/NNN.suffix`, with its previews beside it; gives the paths of the items.

    OSError where another process is writing to that folder.
    """
    return Results(items).save(folder)
