"""Words for what a file or folder is that cannot be imported."""

from __future__ import annotations

from pathlib import Path

from helicon.formats.printable import printable

# File in a folder -> what the folder is
_FOLDERS = {
    "bundle.json": "a bundle of Helicon, which needs no import",
    "config.yaml": "a run of Helicon, which needs no import",
    "adapter_config.json": "an adapter (PEFT) without the model; merge it into its model first",
    "model_index.json": "a pipeline of diffusers",
    "model.ckpt.index": "OpenAI's TensorFlow checkpoint; Hugging Face's `gpt2` has the same weights",
    "saved_model.pb": "a model of TensorFlow",
    "tf_model.h5": "weights of TensorFlow without config.json",
    "params.json": "a model of Meta's Llama",
    "codec.json": "a codec of Helicon, which needs no import",
}
# Beginning or suffix of a file -> what it is
_BEGINNINGS = {
    b"GGUF": "a file of llama.cpp (GGUF), whose numbers are rounded",
    b"\x89HDF": "a file of Keras or TensorFlow (HDF5)",
    b"\x93NUMPY": "an array of NumPy",
}
_SUFFIXES = {
    ".safetensors": "weights without their settings; their folder, with config.json, is imported",
    ".bin": "a pickle, which can run any code and is never opened; its folder, with model.safetensors, is imported",
    ".json": "settings without weights; their folder is imported",
    ".onnx": "a model of ONNX",
    ".npz": "arrays of NumPy",
}


def what_it_is(path: Path) -> str:
    """Describe a file or folder that is no model that can be imported.

    Args:
        path: of the file or folder, which may be missing.

    Returns:
        Words without the path.
    """
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(8)
        known = next((words for begin, words in _BEGINNINGS.items() if head.startswith(begin)), None)
        return known or _SUFFIXES.get(path.suffix, "no checkpoint that is known")
    if not path.is_dir():
        return "no such file or folder"
    names = sorted(entry.name for entry in path.iterdir())
    for name, words in _FOLDERS.items():
        if name in names:
            return words
    below = [name for name in names if (path / name / "config.json").is_file()]
    snapshots = sorted((path / "snapshots").glob("*/config.json"))
    if below or snapshots:
        inner = path / below[0] if below else snapshots[0].parent
        return f"no config.json in it, but in {printable(inner, 100)}"
    if not names:
        return "an empty folder"
    there = ", ".join(printable(name, 40) for name in names[:5])
    return f"no config.json in it, but {there}{', ...' if len(names) > 5 else ''}"
