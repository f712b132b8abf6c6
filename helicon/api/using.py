"""Use of a model: `sample` and `save` media, `evaluate`, `classify`, `features`, `reconstruct`, tokens; `doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from helicon.api.arguments import AnyPath, Device, Model, Numbers, as_path
from helicon.api.models import open_model
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
    **conditions: Any,
) -> Results[Item]:
    """Sample new media, as `helicon generate` does; item i depends on (weights, request, seed, i) alone.

    Args:
        model: folder of a run or bundle, whose upsamplers make the finer levels of its sounds; or a loaded model, which
            makes its own level.
        count: number of items.
        seed: with an item's number it determines that item.
        prime: file to continue.
        keep: how much of the prime, `8s` or a share such as `0.5`; all unless set.
        seconds: exact length.
        tokens: new tokens at most.
        to: target slot, where the model generates several.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        dtype: of a folder's model: `fp32`, `bf16`, `int8` (weights only) or `fp64`.
        plugins: Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.
        conditions: words or file of other slots, such as `style="bach piano"` or `text="slow"`; also sampling options.

    Returns:
        The items, which save themselves.

    Raises:
        ValueError: the model cannot fulfil the request, or an argument is not accepted.

    Sampling options:
    """
    load_plugins(plugins)
    sampling = {name: conditions.pop(name) for name in SamplingOptions.names() if name in conditions}
    request = Request(
        count=count, seed=seed, conditions=conditions, to=to, prime=as_path(prime), keep=keep, seconds=seconds,
        tokens=tokens, **sampling,
    )  # fmt: skip
    with progress_to(progress), TemporaryDirectory() as levels:
        if isinstance(model, str | os.PathLike) and not find_codec(Path(model)):
            runtime = RuntimeConfig(choose_device(device, dtype), dtype)
            return Results(generate_from_folder(Path(model), request, runtime, Path(levels))[0])
        return Results(generate_with_progress(open_model(model), request))


@checked
def evaluate(
    model: Model,
    folder: AnyPath,
    *,
    manifest: AnyPath | None = None,
    validation: bool = False,
    val_split: float | None = None,
    controllability: int = 0,
    seconds: float | None = None,
    seed: int | None = None,
    device: Device = "auto",
    dtype: Numbers = "fp32",
    plugins: Iterable[AnyPath] = (),
    progress: Progress = None,
) -> Evaluation:
    """Measure a model's losses on a folder, and its controllability, as `helicon eval` does.

    Args:
        model: loaded, or the folder of a run or bundle.
        folder: of files, searched recursively.
        manifest: list of files, instead of a search.
        validation: measure only the validation part of a training on the folder.
        val_split: share of the files in the validation part; 0.05 unless set.
        controllability: pieces of each label to sample and judge; 0 for none.
        seconds: length of each of these pieces; 24 unless set.
        seed: of these pieces; 0 unless set.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        dtype: of a folder's model: `fp32`, `bf16`, `int8` (weights only) or `fp64`.
        plugins: Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Loss of each layout in nats, files read and skipped, and figures of the sampled pieces; see `as_json()`.

    Raises:
        ValueError: nothing to measure, or an option without effect.
    """
    with progress_to(progress):
        return measure(
            open_model(model, device, dtype, plugins), Path(folder), manifest=as_path(manifest), validation=validation,
            val_split=val_split, controllability=controllability, seconds=seconds, seed=seed,
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
    """Compute the mean hidden state of layers for each file of a folder, as `helicon features` does.

    Args:
        model: loaded, or the folder of a run or bundle.
        folder: of files, searched recursively.
        layer: one index or several; 0 is the embeddings, the number of layers the output. All layers unless set.
        to: target slot, where the model generates several.
        manifest: list of files, instead of a search.
        batch: sequences in a batch.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        plugins: Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Names, labels and an array [N, C] for each layer; `save(path)` writes the file of `helicon features`.

    Raises:
        ValueError: a slot or layer that the model does not have, or a folder without files for it.
    """
    layers = [layer] if isinstance(layer, int) else None if layer is None else [*layer]
    with progress_to(progress):
        return folder_features(
            open_model(model, device, plugins=plugins), Path(folder), layers, to=to, manifest=as_path(manifest),
            batch=batch,
        )  # fmt: skip


@checked
def classify(
    model: Model, files: Iterable[AnyPath], *, top: int | None = None, batch: int = 16, device: Device = "auto",
    plugins: Iterable[AnyPath] = (), progress: Progress = None,
) -> Results[Classification]:  # fmt: skip
    """Classify files by a model that `train(folder, "classify", init_from=run)` has trained.

    Args:
        model: loaded, or the folder of a run or bundle.
        files: of the medium that the model generates.
        top: number of labels per file, likeliest first; all unless set.
        batch: sequences in a batch.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        plugins: Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Labels and their probabilities for each file, likeliest first.

    Raises:
        ValueError: a model without labels, or a file that cannot be read.
    """
    with progress_to(progress):
        return Results(
            classify_files(open_model(model, device, plugins=plugins), [Path(file) for file in files], batch, top)
        )


@checked
def reconstruct(
    model: Model, files: Iterable[AnyPath], *, level: int | None = None, device: Device = "auto",
    plugins: Iterable[AnyPath] = (), progress: Progress = None,
) -> Results[Reconstruction]:  # fmt: skip
    """Encode and decode pictures or sounds by a codec, as `helicon reconstruct` does.

    Args:
        model: codec, or model that has one: loaded, or the folder of a run or bundle.
        files: pictures, or sounds, which are read into memory.
        level: of a codec of sound; 0, the finest, unless set.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        plugins: Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        Original, reconstruction, number of codes and error (PSNR or SI-SDR in dB, higher is better) of each file.

    Raises:
        ValueError: a model without a codec, or an unreadable file.
        OSError: a missing file.
    """
    load_plugins(plugins)
    with progress_to(progress):
        codec = codec_in(model) if isinstance(model, Bundle | CodecBundle) else codec_of(Path(model), device)
        return Results(reconstructed(codec, [Path(file) for file in files], level))


@checked
def tokenize(
    files: Iterable[AnyPath], *, run: Model | None = None, ids: bool = False, plugins: Iterable[AnyPath] = ()
) -> Lines:  # fmt: skip
    """Print the tokens of files, a line each, as `helicon tokenize` does.

    Args:
        files: that the model reads; MIDI files without a model.
        run: model whose vocabulary is used; MuseNet's unless set.
        ids: print vocabulary ids instead of words.
        plugins: Python files that the model needs; they are run.

    Returns:
        A line for each file, tokens separated by spaces.

    Raises:
        ValueError: a file that the model does not read, or a damaged one.
        OSError: a missing file.
    """
    load_plugins(plugins)
    model = None if run is None else open_model(run, "cpu")
    return Lines(tokens_of(Path(file), model, ids) for file in files)


@checked
def detokenize(
    lines: Iterable[str], *, run: Model | None = None, ids: bool = False, plugins: Iterable[AnyPath] = ()
) -> Results[Item]:
    """Turn lines of tokens into media, as `helicon detokenize` does; inverse of `tokenize`.

    Args:
        lines: of tokens, separated by spaces; an item each.
        run: model whose vocabulary is used; MuseNet's unless set.
        ids: read vocabulary ids instead of words.
        plugins: Python files that the model needs; they are run.

    Returns:
        The items, which `save` writes.

    Raises:
        ValueError: an unknown token, with the number of its line.
    """
    load_plugins(plugins)
    decode = decoder(None if run is None else open_model(run, "cpu"), ids)
    items: Results[Item] = Results()
    for number, line in enumerate(lines):
        try:
            media, modality = decode(line)
        except ValueError as error:
            raise ValueError(f"line {number + 1}: {error}") from None
        items.append(Item(number=number, media=media, ids=np.zeros(0, np.int64), modality=modality))
    return items


def doctor() -> list[Finding]:
    """Check this machine, as `helicon doctor` does: versions, devices, folders, and advice on what is missing."""
    return examine(Path("runs"))


@checked
def save(items: Iterable[Item], folder: AnyPath) -> list[Path]:
    """Write items to a folder, previews beside them.

    Args:
        items: as `sample` or `detokenize` returns them.
        folder: created if missing.

    Returns:
        Path of each item, `folder/NNN.suffix`.

    Raises:
        OSError: the folder cannot be written, or another process is writing to it.
    """
    return Results(items).save(folder)
