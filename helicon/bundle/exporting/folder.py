"""Transformers folder: config.json, model.safetensors, and the tokenizer of a text model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from helicon.bundle.exporting.byte_pairs import byte_pairs, end_token, with_end
from helicon.bundle.exporting.families import ExportFamily
from helicon.bundle.exporting.plain import PlainGPT
from helicon.formats.files import write_bytes

WEIGHTS = "model.safetensors"


def write_folder(plain: PlainGPT, family: type[ExportFamily], folder: Path) -> None:
    """Write the files that `from_pretrained` opens, the weights first.

    Args:
        plain: `PlainGPT`, the model.
        family: class of the family that it belongs to.
        folder: receives config.json, model.safetensors and, for text, the tokenizer's files.
    """
    files = _files(plain, family)
    for name in sorted(files, key=lambda name: name != WEIGHTS):
        write_bytes(folder / name, files[name])


def _files(plain: PlainGPT, family: type[ExportFamily]) -> dict[str, bytes]:
    """Return name -> content of the files."""
    ends = {"bos_token_id": plain.end, "eos_token_id": plain.end}
    settings = {
        **family.settings(plain), **ends, "vocab_size": plain.end + 1, "tie_word_embeddings": plain.tied,
        "dtype": "float32",
    }  # fmt: skip
    if plain.labels:
        named = dict(enumerate(plain.labels))
        settings |= {"id2label": named, "label2id": {label: i for i, label in named.items()}, "pad_token_id": plain.end}
    files = {"config.json": _json(settings), WEIGHTS: save(family.tensors(plain), {"format": "pt"})}
    files |= {} if plain.labels else {"generation_config.json": _json(ends)}
    if described := byte_pairs(plain.tokenizer):
        end = end_token(described)
        words = {"bos_token": end, "eos_token": end, "unk_token": None, "clean_up_tokenization_spaces": False}
        words |= {"pad_token": end} if plain.labels else {}
        files["tokenizer.json"] = _json(with_end(described, plain.end))
        files["tokenizer_config.json"] = _json({"tokenizer_class": "PreTrainedTokenizerFast", **words})
    return files


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
