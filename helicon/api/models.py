"""Models on disk: `load`, `save_model`, `info`, `import_model`, `export_model`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from helicon.api.arguments import AnyPath, Device, Model, Numbers
from helicon.bundle.bundle import Bundle
from helicon.bundle.exporting.export import export_bundle
from helicon.bundle.importing.folder import import_folder
from helicon.bundle.storage import save_bundle
from helicon.commands.info import describe, describe_codec, report_of
from helicon.commands.outputs import output_folder
from helicon.formats.arguments import checked
from helicon.formats.notebook import Figures
from helicon.formats.progress import Progress, log, progress_to
from helicon.generation.runtime import RuntimeConfig, choose_device
from helicon.plugins.loading import load_plugins
from helicon.vqvae.storage import CodecBundle, find_codec, load_codec


@checked
def load(
    path: AnyPath, device: Device = "auto", dtype: Numbers = "fp32", *, plugins: Iterable[AnyPath] = ()
) -> Bundle | CodecBundle:  # fmt: skip
    """Load the model or codec of a run or bundle.

    Args:
        path: folder of a run or bundle.
        device: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        dtype: number format of a model: `fp32`, `bf16`, `int8` (weights only) or `fp64`; a codec has `fp32`.
        plugins: paths of Python files that the model needs; they are run.

    Returns:
        A model (`Bundle`), which all functions accept instead of the folder, or a codec (`CodecBundle`), which `info`
        and `reconstruct` accept.

    Raises:
        ValueError: no model in the folder, no such device, or a missing plugin.
    """
    load_plugins(plugins)
    runtime = RuntimeConfig(choose_device(device, dtype), dtype)
    if not find_codec(Path(path)):
        return runtime.load(Path(path))
    if dtype != "fp32":
        raise ValueError(f"dtype {dtype}: a codec computes in fp32")
    return load_codec(Path(path), runtime.device)


def open_model(
    model: Model, device: Device = "auto", dtype: Numbers = "fp32", plugins: Iterable[AnyPath] = ()
) -> Bundle:  # fmt: skip
    """Load a model, or return one that is loaded already.

    Args:
        model: `Bundle`, or the folder of a run or bundle.
        device: `cpu`, `cuda`, `mps` or `auto`, of a folder's model; a loaded model stays where it is.
        dtype: `fp32`, `bf16`, `int8` or `fp64`, of a folder's model.
        plugins: paths of Python files that the model needs; they are run.

    Returns:
        The `Bundle`.

    Raises:
        ValueError: a codec, or a folder that cannot be loaded.
    """
    load_plugins(plugins)
    bundle = model if isinstance(model, Bundle | CodecBundle) else load(model, device, dtype)
    if isinstance(bundle, CodecBundle):
        raise ValueError("model: a codec, which makes and knows nothing by itself; a model is needed")
    return bundle


@checked
def info(model: Model, *, plugins: Iterable[AnyPath] = ()) -> Figures:
    """Describe a model or codec, as `helicon info --json` does.

    Args:
        model: `Bundle` or `CodecBundle`, or the folder of a run or bundle.
        plugins: paths of Python files that the model needs; they are run.

    Returns:
        `Figures`, a JSON-able dict that a notebook shows as a table, of sizes, layouts, tokenizers, needed plugins and
        notes on the training; path and size of a folder. The keys are those of `commands.info.describe` (model) or
        `describe_codec`.

    Raises:
        ValueError: no model in the folder, or a missing plugin.
    """
    load_plugins(plugins)
    if isinstance(model, CodecBundle):
        return Figures(describe_codec(model))
    return Figures(describe(model) if isinstance(model, Bundle) else report_of(Path(model)))


@checked
def import_model(folder: AnyPath, *, progress: Progress = None) -> Bundle:
    """Import a GPT-2, nanoGPT or ImageGPT checkpoint, as `helicon import` does; `save_model` writes the model.

    Args:
        folder: path of a folder with config.json and model.safetensors, as Hugging Face has them, or with ckpt.pt of
            nanoGPT.
        progress: text file or function of a line for notes on the import; None for no messages.

    Returns:
        The model as a `Bundle`, on the CPU.

    Raises:
        ValueError: another kind of checkpoint, or a damaged one.
    """
    with progress_to(progress):
        return import_folder(Path(folder), log)


@checked
def export_model(
    model: Model, folder: AnyPath, to: Literal["hf", "gguf"] = "hf", *, plugins: Iterable[AnyPath] = ()
) -> None:  # fmt: skip
    """Write a model for another program, as `helicon export` does.

    Args:
        model: `Bundle`, or the folder of a run or bundle.
        folder: path of the output folder, new or empty.
        to: `hf`, a transformers folder, or `gguf`, a file of llama.cpp.
        plugins: paths of Python files that the model needs; they are run.

    Raises:
        ValueError: the program cannot compute the model (the message names the options that prevent it), or the folder
            is not empty or in use by another process; nothing is written then.
    """
    bundle = open_model(model, "cpu", plugins=plugins)
    with output_folder(Path(folder), new=True):
        export_bundle(bundle, Path(folder), to)


@checked
def save_model(model: Bundle, folder: AnyPath) -> None:
    """Write a model as a bundle, which `load` and every command accept.

    Args:
        model: `Bundle` of `fp32`, `bf16` or `fp64`.
        folder: path of the bundle to write; an existing one is replaced at the end.

    Raises:
        OSError: the folder cannot be written; an existing bundle is intact.
        ValueError: a model in int8.
    """
    save_bundle(model, Path(folder))
