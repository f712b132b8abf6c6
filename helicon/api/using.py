"""Use of a model: `sample` and `save` media, `evaluate`, `classify`, `features`, `reconstruct`, tokens; `doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from helicon.api.arguments import AnyPath, Data, Device, Model, Numbers, as_path, place_of
from helicon.api.models import open_model
from helicon.api.results import Lines, Results
from helicon.bundle.bundle import Bundle
from helicon.bundle.printed_tokens import decoder, tokens_of
from helicon.commands.doctor import Findings, examine
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
from helicon.sources.local import local_file
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
        model: folder of a run or bundle, whose upsamplers make the finer levels of its sounds; or a `Bundle`, which
            makes its own level.
        count: number of items.
        seed: with an item's number it determines that item.
        prime: path of a file to continue.
        keep: how much of the prime, `8s` or a share such as `0.5`; all unless set.
        seconds: exact length in seconds, the prime included.
        tokens: greatest number of new tokens.
        to: name of the target slot, where the model generates several.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        dtype: of a folder's model: `fp32`, `bf16`, `int8` (weights only) or `fp64`.
        plugins: paths of Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.
        conditions: words or file of other slots, such as `style="bach piano"` or `text="slow"`; also sampling options.

    Returns:
        `Results`, a list of `Item`s in order, which save themselves.

    Raises:
        ValueError: the model cannot fulfil the request, or an argument is not accepted.

    Sampling options:
    """
    load_plugins(plugins)
    sampling = {name: conditions.pop(name) for name in SamplingOptions.names() if name in conditions}
    request = Request(
        count=count, seed=seed, conditions=conditions, to=to, prime=None if prime is None else local_file(prime),
        keep=keep, seconds=seconds, tokens=tokens, **sampling,
    )  # fmt: skip
    with progress_to(progress), TemporaryDirectory() as levels:
        if isinstance(model, str | os.PathLike) and not find_codec(Path(model)):
            runtime = RuntimeConfig(choose_device(device, dtype), dtype)
            return Results(generate_from_folder(Path(model), request, runtime, Path(levels))[0])
        return Results(generate_with_progress(open_model(model), request))


@checked
def evaluate(
    model: Model,
    folder: Data,
    *,
    manifest: AnyPath | None = None,
    validation: bool = False,
    val_split: float | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    captions: Literal["lines", "whole"] | None = None,
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
        model: `Bundle`, or the folder of a run or bundle.
        folder: folder of files, searched recursively; place that is elsewhere; or media in memory, as in `train`.
        manifest: CSV or JSONL file that lists the files, or COCO JSON, instead of a search.
        validation: measure only the validation part of a training on the folder.
        val_split: share of the validation part; the files that the model was not trained on unless set.
        encoding: of texts that are not UTF-8, such as `cp1252`; estimated unless set.
        separator: text between the documents of a file, beside `<|endoftext|>`.
        captions: `lines` or `whole`, whether a text file beside another medium has a caption a line; found out unless
            set.
        controllability: pieces of each label to sample and judge; 0 for none.
        seconds: length of each of these pieces in seconds; 24 unless set.
        seed: of these pieces; 0 unless set.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        dtype: of a folder's model: `fp32`, `bf16`, `int8` (weights only) or `fp64`.
        plugins: paths of Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        An `Evaluation`: loss of each layout in nats, files read and skipped, and figures of the sampled pieces; see
        `as_json()`.

    Raises:
        ValueError: nothing to measure, or an option without effect.
    """
    with progress_to(progress):
        bundle = open_model(model, device, dtype, plugins)
        return measure(
            bundle, place_of(folder, bundle.schema.layouts), manifest=as_path(manifest), validation=validation,
            val_split=val_split, controllability=controllability, seconds=seconds, seed=seed,
            source_options={"encoding": encoding, "separator": separator, "captions": captions},
        )  # fmt: skip


@checked
def features(
    model: Model,
    folder: Data,
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
        model: `Bundle`, or the folder of a run or bundle.
        folder: folder of files, searched recursively; place that is elsewhere; or media in memory, as in `train`.
        layer: one index or several; 0 is the embeddings, the number of layers the output. All layers unless set.
        to: name of the target slot, where the model generates several.
        manifest: CSV or JSONL file that lists the files, or COCO JSON, instead of a search.
        batch: sequences in a batch.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        plugins: paths of Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        `Features` of N files: names, labels, and `layers`, index -> float32 [N, C], C the model's width; `save(path)`
        writes the file of `helicon features`.

    Raises:
        ValueError: a slot or layer that the model does not have, or a folder without files for it.
    """
    layers = [layer] if isinstance(layer, int) else None if layer is None else [*layer]
    with progress_to(progress):
        bundle = open_model(model, device, plugins=plugins)
        return folder_features(
            bundle, place_of(folder, bundle.schema.layouts), layers, to=to, manifest=as_path(manifest),
            batch=batch,
        )  # fmt: skip


@checked
def classify(
    model: Model, files: Iterable[AnyPath], *, top: int | None = None, batch: int = 16, device: Device = "auto",
    plugins: Iterable[AnyPath] = (), progress: Progress = None,
) -> Results[Classification]:  # fmt: skip
    """Classify files by a model that `train(folder, "classify", init_from=run)` has trained.

    Args:
        model: `Bundle`, or the folder of a run or bundle.
        files: paths of files of the medium that the model generates.
        top: number of labels per file, likeliest first; all unless set.
        batch: sequences in a batch.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        plugins: paths of Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        `Results`, a list of a `Classification` for each file: label -> probability in [0, 1], likeliest first.

    Raises:
        ValueError: a model without labels, or a file that cannot be read.
    """
    with progress_to(progress):
        return Results(
            classify_files(open_model(model, device, plugins=plugins), [local_file(file) for file in files], batch, top)
        )


@checked
def reconstruct(
    model: Model, files: Iterable[AnyPath], *, level: int | None = None, device: Device = "auto",
    plugins: Iterable[AnyPath] = (), progress: Progress = None,
) -> Results[Reconstruction]:  # fmt: skip
    """Encode and decode pictures or sounds by a codec, as `helicon reconstruct` does.

    Args:
        model: codec, or model that has one: `CodecBundle` or `Bundle`, or the folder of a run or bundle.
        files: paths of pictures, or of sounds, which are read into memory.
        level: index of a level of a codec of sound; 0, the finest, unless set.
        device: of a folder's model: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        plugins: paths of Python files that the model needs; they are run.
        progress: file such as `sys.stderr`, or function of a line such as `print`; None for no messages.

    Returns:
        `Results`, a list of a `Reconstruction` for each file: original, reconstruction, number of codes, and PSNR or
        SI-SDR in dB (higher is better).

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
    """Return the tokens of files, as `helicon tokenize` does: a line each, of a text one for each of its documents.

    Args:
        files: paths of files that the model reads; MIDI files without a model.
        run: `Bundle`, or folder of a run or bundle, whose vocabulary is used; MuseNet's unless set.
        ids: True for vocabulary ids instead of words.
        plugins: paths of Python files that the model needs; they are run.

    Returns:
        `Lines`, a list of a text for each document, tokens separated by spaces; its `repaired` has counts of what
        reading dropped or repaired, for each file.

    Raises:
        ValueError: a file that the model does not read, or a damaged one.
        OSError: a missing file.
    """
    load_plugins(plugins)
    model = None if run is None else open_model(run, "cpu")
    printed = [tokens_of(local_file(file), model, ids) for file in files]
    return Lines([line for tokens in printed for line in tokens.lines], [tokens.report.counts for tokens in printed])


@checked
def detokenize(
    lines: Iterable[str], *, run: Model | None = None, ids: bool = False, plugins: Iterable[AnyPath] = ()
) -> Results[Item]:
    """Turn lines of tokens into media, as `helicon detokenize` does; inverse of `tokenize`.

    Args:
        lines: texts of tokens, separated by spaces; an item each.
        run: `Bundle`, or folder of a run or bundle, whose vocabulary is used; MuseNet's unless set.
        ids: True if they are vocabulary ids instead of words.
        plugins: paths of Python files that the model needs; they are run.

    Returns:
        `Results`, a list of `Item`s in order, which `save` writes.

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


def doctor() -> Findings:
    """Check this machine, as `helicon doctor` does; return `Finding`s on versions, devices, folders, and advice."""
    return examine(Path("runs"))


@checked
def save(items: Iterable[Item], folder: AnyPath) -> list[Path]:
    """Write items to a folder, previews beside them.

    Args:
        items: `Item`s, as `sample` or `detokenize` returns them.
        folder: path of the output folder, created if missing.

    Returns:
        Path of each item, `folder/NNN.suffix`.

    Raises:
        OSError: the folder cannot be written, or another process is writing to it.
    """
    return Results(items).save(folder)
