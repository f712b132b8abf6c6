"""GGUF file of a text model for llama.cpp: settings, tokenizer and float32 weights in one.

The file is written by llama.cpp's own `gguf` package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from helicon.bundle.exporting.byte_pairs import byte_pairs, end_token
from helicon.bundle.exporting.families import EPSILON, GPT2, ExportFamily
from helicon.bundle.exporting.plain import PlainGPT
from helicon.bundle.exporting.refusals import ExportingError
from helicon.formats.files import atomic_write

if TYPE_CHECKING:
    import gguf

FILE = "model.gguf"
# llama.cpp requires merges even where there are none: this pair of characters stands for no byte and never occurs
NO_MERGES = ["€ €"]


def write_gguf(plain: PlainGPT, family: type[ExportFamily], folder: Path) -> None:
    """Write a text model to `folder/model.gguf`.

    Args:
        plain: `PlainGPT`, the model.
        family: class of the family that it belongs to.
        folder: receives the file.

    Raises:
        ExportingError: llama.cpp cannot compute the model, or the `gguf` package is missing.
    """
    gguf, described = _library(), _checked(plain, family)
    arch = gguf.MODEL_ARCH.GPT2 if family is GPT2 else gguf.MODEL_ARCH.LLAMA
    names = gguf.get_tensor_name_map(arch, plain.config.layers)
    with atomic_write(folder / FILE) as temporary:
        writer = gguf.GGUFWriter(temporary, gguf.MODEL_ARCH_NAMES[arch])
        _write_settings(writer, plain, family)
        _write_tokenizer(writer, described, plain.end)
        for name, tensor in family.tensors(plain).items():
            there = names.get_name(name, try_suffixes=(".weight", ".bias"))
            assert there, name
            writer.add_tensor(there, _stored(name, tensor, plain.config.heads).numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise ExportingError("the gguf package is needed: pip install 'helicon-gpt[export]'") from None
    return gguf


def _checked(plain: PlainGPT, family: type[ExportFamily]) -> dict[str, Any]:
    """Return the tokenizer's JSON; ExportingError for what transformers supports, but llama.cpp does not."""
    if plain.labels:
        head = "a file of llama.cpp has no place for a classification head"
        raise ExportingError(f"{head}: --to hf, or the run that it was trained from")
    described = byte_pairs(plain.tokenizer)
    if described is None:
        raise ExportingError("llama.cpp takes models of text, of bytes or byte pairs")
    before, model = described["pre_tokenizer"], described["model"]
    if described["normalizer"] is not None:
        raise ExportingError(f"llama.cpp's byte pairs have no normalizer {described['normalizer']['type']}")
    if before.get("add_prefix_space") or not before.get("use_regex", True) or model.get("ignore_merges"):
        raise ExportingError("llama.cpp's byte pairs are cut as GPT-2's are; these have a space before, or other cuts")
    if family is GPT2 and plain.config.mlp != "gelu":
        raise ExportingError(f"llama.cpp's GPT-2 has no mlp {plain.config.mlp} (gelu)")
    return described


def _write_settings(writer: gguf.GGUFWriter, plain: PlainGPT, family: type[ExportFamily]) -> None:
    config = plain.config
    writer.add_context_length(plain.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.mlp_width)
    writer.add_head_count(config.heads)
    writer.add_vocab_size(plain.end + 1)
    if family is GPT2:
        writer.add_layer_norm_eps(EPSILON)
        return
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_head_count_kv(config.heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)


def _write_tokenizer(writer: gguf.GGUFWriter, described: dict[str, Any], end: int) -> None:
    """Write token names by id, merges, and the token before and after a text."""
    model, added = described["model"], {token["content"]: token["id"] for token in described["added_tokens"]}
    numbers = {**model["vocab"], **added, end_token(described): end}
    control, defined, normal = 3, 4, 1  # gguf.TokenType
    types = [defined if name in added else normal for name in sorted(numbers, key=numbers.__getitem__)]
    types[end] = control
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(numbers, key=numbers.__getitem__))
    writer.add_token_types(types)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    writer.add_token_merges(merges or NO_MERGES)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(True)


def _stored(name: str, tensor: Tensor, heads: int) -> Tensor:
    """Convert a tensor of transformers to llama.cpp's form.

    Matrices are [out, in]. llama.cpp rotates neighbouring features of Llama's queries and keys, transformers the two
    halves of a head: rows are permuted.
    """
    if ".h." in name and tensor.dim() == 2:
        return tensor.T.contiguous()
    if name.endswith(("q_proj.weight", "k_proj.weight")):
        return tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2).contiguous()
    return tensor
