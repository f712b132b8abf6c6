"""Models on disk: `load`, `save_model`, `info`, `import_model`, `export_model`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from helicon.api.arguments import AnyPath, Device, Model, Numbers
from helicon.bundle.bundle import Bundle
from helicon.bundle.exporting.export import export_bundle
from helicon.bundle.importing.folder import import_folder
from helicon.bundle.storage import save_bundle
from helicon.commands.info import describe, describe_codec, report_of
from helicon.commands.outputs import output_folder
from helicon.formats.arguments import checked
from helicon.formats.progress import Progress, log, progress_to
from helicon.generation.runtime import RuntimeConfig, choose_device
from helicon.plugins.loading import load_plugins
from helicon.vqvae.storage import CodecBundle, find_codec, load_codec


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


def opened(
    model: Model, device: Device = "auto", dtype: Numbers = "fp32", plugins: Iterable[AnyPath] = ()
) -> Bundle:  # fmt: skip
    """A model in memory, as it is if it is there already; ValueError for a codec."""
    load_plugins(plugins)
    found = model if isinstance(model, Bundle | CodecBundle) else load(model, device, dtype)
    if isinstance(found, CodecBundle):
        raise ValueError("model: a codec, which makes and knows nothing by itself; a model is needed")
    return found


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
        return import_folder(Path(folder), log)


@checked
def export_model(
    model: Model, folder: AnyPath, to: Literal["hf", "gguf"] = "hf", *, plugins: Iterable[AnyPath] = ()
) -> None:  # fmt: skip
    """Writes a model for another program, as `helicon export` does.

    Args:
        model: as `load` gives it, or the run or bundle.
        folder: gets the files; an empty or a new one.
        to: `hf`, a folder of transformers, or `gguf`, a file of llama.cpp.
        plugins: Python files that it needs, which are run.

    Raises:
        ValueError: for a model that the program cannot compute, with the options that prevent it, and for a folder that
            has something in it or that another process is writing to; nothing is written then.
    """
    bundle = opened(model, "cpu", plugins=plugins)
    with output_folder(Path(folder), new=True):
        export_bundle(bundle, Path(folder), to)


@checked
def save_model(model: Bundle, folder: AnyPath) -> None:
    """Writes a model as a bundle, which `load` and every command take.

    OSError where that cannot be written; what was there before is then as it was. ValueError for a model in int8.
    """
    save_bundle(model, Path(folder))
