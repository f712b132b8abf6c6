"""Import of a folder in Hugging Face's layout, or of a checkpoint of nanoGPT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helicon.bundle.bundle import Bundle
from helicon.bundle.importing.checkpoint import CONFIG, Checkpoint, ImportingError, read_json
from helicon.bundle.importing.gpt2 import import_gpt2
from helicon.bundle.importing.imagegpt import import_imagegpt
from helicon.bundle.importing.nanogpt import NANOGPT, checkpoint_file, read_nanogpt
from helicon.bundle.importing.recognition import what_it_is
from helicon.formats.nearest import unknown
from helicon.formats.printable import MAX_QUOTED, printable

ACCEPTED = "a folder with config.json and model.safetensors, or a ckpt.pt of nanoGPT, is accepted"
# model_type of config.json -> its importer
MODELS: dict[str, Callable[[Checkpoint, Callable[[str], None]], Bundle]] = {
    "gpt2": import_gpt2, "imagegpt": import_imagegpt,
}  # fmt: skip


def import_folder(folder: Path, log: Callable[[str], None] = lambda line: None) -> Bundle:
    """Import a GPT-2 or ImageGPT that transformers' `save_pretrained` wrote, or a GPT that nanoGPT trained.

    Args:
        folder: with config.json and model.safetensors, or with ckpt.pt; or a checkpoint of nanoGPT.
        log: called with each message, such as which tensors are left out.

    Returns:
        The `Bundle`, in evaluation mode.

    Raises:
        ImportingError: the model is not supported, or a file is refused; the message says what else is there.
        CheckpointError: a checkpoint of nanoGPT is damaged, or could run code.
        WeightsError: the weights are damaged.
        ValueError: the tokenizer cannot be built.
    """
    if file := checkpoint_file(folder):
        kind, checkpoint = NANOGPT, read_nanogpt(file, log)
        bundle = import_gpt2(checkpoint, log)
    elif not (folder / CONFIG).is_file():
        raise ImportingError(f"{folder}: {what_it_is(folder)}; {ACCEPTED}")
    else:
        kind = read_json(folder / CONFIG).get("model_type")
        if not isinstance(kind, str) or kind not in MODELS:
            raise ImportingError(f"{folder / CONFIG}: {unknown('model_type', str(kind), MODELS)}")
        checkpoint = Checkpoint.read(folder)
        bundle = MODELS[kind](checkpoint, log)
    left = sorted(checkpoint.tensors.keys() - {"lm_head.weight"})  # a tied model may store it too
    if left:
        log(f"left out   {printable(', '.join(left), MAX_QUOTED)}: not of a language model")
    bundle.notes = {"imported": folder.resolve().name, "model_type": kind}
    return bundle
