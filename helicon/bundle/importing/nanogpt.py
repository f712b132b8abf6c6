"""Checkpoints of nanoGPT (ckpt.pt), read as GPT-2: the same layers, with linear matrices the other way round.

Its `model.py` has GELU itself where GPT-2 has the approximation by tanh, which differs by less than 0.0005.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helicon.bundle.importing.checkpoint import BUFFERS, CONFIG, Checkpoint, ImportingError, tensor_name
from helicon.bundle.importing.gpt2 import END
from helicon.bundle.importing.layers import MODULES
from helicon.formats.checkpoint_file import load_checkpoint
from helicon.formats.printable import printable

NANOGPT, FILE = "nanogpt", "ckpt.pt"
SUFFIXES = (".pt", ".pth", ".ckpt")  # of a checkpoint that is named itself
_SETTINGS = {"n_layer": "n_layer", "n_head": "n_head", "n_embd": "n_embd", "block_size": "n_positions"}
_MATRICES = tuple(f"{name}.weight" for name in MODULES.values() if not name.startswith("ln_"))


def checkpoint_file(path: Path) -> Path | None:
    """Return the path of nanoGPT's checkpoint: a file, or ckpt.pt in a folder without config.json; None for others."""
    if path.is_file():
        return path if path.suffix in SUFFIXES else None
    return path / FILE if (path / FILE).is_file() and not (path / CONFIG).exists() else None


def read_nanogpt(path: Path, log: Callable[[str], None]) -> Checkpoint:
    """Read a checkpoint of nanoGPT as that of a GPT-2.

    Args:
        path: of the file.
        log: called with each message.

    Returns:
        `Checkpoint` with settings and tensors by GPT-2's names.

    Raises:
        ImportingError: the file is another checkpoint.
        CheckpointError: the file is damaged, or could run code when loaded.
    """
    content = load_checkpoint(path, links=True)
    settings, state = (content.get(key) if isinstance(content, dict) else None for key in ("model_args", "model"))
    if not isinstance(settings, dict) or not isinstance(state, dict):
        raise ImportingError(f"{printable(path)}: {_other(content)}; one of nanoGPT has `model` and `model_args`")
    tensors = _tensors(path, state)
    rows = settings.get("vocab_size")
    has_end = isinstance(rows, int) and rows > END
    log("activation GELU by its approximation, which differs by less than 0.0005 from nanoGPT's")
    if not has_end:
        log("end        number 0 ends a text and begins it, as nanoGPT names no end-of-text of so few tokens")
    config: dict[str, Any] = {ours: settings.get(theirs) for theirs, ours in _SETTINGS.items()}
    config |= {
        "vocab_size": rows, "eos_token_id": END if has_end else 0, "resid_pdrop": settings.get("dropout", 0.0),
        "bias": "ln_f.bias" in tensors, "tie_word_embeddings": _is_tied(tensors), "model_type": "gpt2",
    }  # fmt: skip
    return Checkpoint(path.parent, config, tensors, source=path.name)


def _tensors(path: Path, state: dict[Any, Any]) -> dict[str, Tensor]:
    """Return float32 tensors by GPT-2's names, linear matrices [in, out] as GPT-2 has them."""
    tensors: dict[str, Tensor] = {}
    for full, tensor in state.items():
        if not isinstance(full, str) or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise ImportingError(f"{printable(path)}: {printable(full, 60)} is no tensor of numbers with fractions")
        name = tensor_name(full)
        if name in tensors:
            raise ImportingError(f"{printable(path)}: {printable(full, 60)} is there twice")
        if not BUFFERS.fullmatch(name):
            tensors[name] = tensor.to(torch.float32)
    first = tensors.get("h.0.attn.c_attn.weight")
    if first is not None and first.dim() == 2 and first.shape[0] > first.shape[1]:  # else from GPT-2, not turned round
        for name in tensors:
            if name.endswith(_MATRICES):
                tensors[name] = tensors[name].t().contiguous()
    return tensors


def _is_tied(tensors: dict[str, Tensor]) -> bool:
    head, embedding = tensors.get("lm_head.weight"), tensors.get("wte.weight")
    return head is None or embedding is None or torch.equal(head, embedding)


def _other(content: object) -> str:
    """Describe another checkpoint by its keys."""
    if not isinstance(content, dict):
        return f"it holds {type(content).__name__}"
    if "pytorch-lightning_version" in content:
        return "a checkpoint of Lightning (of Helicon, the run's folder is what other commands take)"
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return "weights without their settings"
    return f"a checkpoint of another program, with {printable(', '.join(map(str, list(content)[:8])), 100)}"
