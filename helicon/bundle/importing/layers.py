"""Import of GPT-2 layers, which ImageGPT shares: settings to a GPTConfig, and weights under our names.

Shapes: C width, P positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from helicon.bundle.bundle import make_gpt
from helicon.bundle.importing.checkpoint import Checkpoint, ImportingError
from helicon.formats.checked import shown
from helicon.formats.printable import printable
from helicon.gpt.config import GPTConfig
from helicon.gpt.model import GPT
from helicon.sequence.layout import Schema

# Names in both; the three gelus are one formula, the approximation by tanh
ACTIVATIONS = {
    "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu", "quick_gelu": "quick_gelu", "relu2": "relu2",
}  # fmt: skip
MODULES = {
    "norm_1": "ln_1", "attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj",
    "norm_2": "ln_2", "mlp.up": "mlp.c_fc", "mlp.out": "mlp.c_proj",
}  # fmt: skip


def gpt_config(checkpoint: Checkpoint, norm: Literal["layer", "rms"], activation: str, tied: bool) -> GPTConfig:
    """Convert the settings of a checkpoint.

    Args:
        checkpoint: `Checkpoint`, config and tensors.
        norm: `layer` or `rms`, that of the family.
        activation: name in transformers, such as `gelu_new`, where the settings name none.
        tied: True ties the output matrix to the token embedding.

    Returns:
        `GPTConfig` of a GPT with the same logits.

    Raises:
        ImportingError: a setting that no GPT here has, or that contradicts the weights.
    """
    layers, width = checkpoint.positive_int("n_layer"), checkpoint.positive_int("n_embd")
    stored = len({name.split(".")[1] for name in checkpoint.tensors if name.startswith("h.")})
    if layers != stored:
        raise checkpoint.fault(f"n_layer {layers}: there are weights of {stored} layers")
    checkpoint.option("add_cross_attention", False, [False])
    checkpoint.option("layer_norm_epsilon", 1e-5, [1e-5])
    ratio = 4.0 if checkpoint.config.get("n_inner") is None else _hidden(checkpoint) / width
    mlp: Any = ACTIVATIONS[checkpoint.option("activation_function", activation, list(ACTIVATIONS))]
    dropout = checkpoint.config.get("resid_pdrop", 0.1)
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise checkpoint.fault(f"resid_pdrop {shown(dropout)}: a share from 0 to below 1 is accepted")
    heads = checkpoint.positive_int("n_head")
    parts = {"layers": layers, "width": width, "heads": heads, "mlp_ratio": ratio}
    bias = checkpoint.option("bias", True, [True, False])  # a setting of nanoGPT's alone
    try:
        return GPTConfig(**parts, mlp=mlp, norm=norm, tied=tied, dropout=float(dropout), bias=bias)
    except ValueError as error:
        raise checkpoint.fault(str(error)) from None


def _hidden(checkpoint: Checkpoint) -> int:
    """Return the hidden width of the settings; ImportingError where the weights have another."""
    hidden, name = checkpoint.positive_int("n_inner"), "h.0.mlp.c_fc.bias"
    if name in checkpoint.tensors and len(checkpoint.tensors[name]) != hidden:
        raise checkpoint.fault(f"n_inner {hidden}: there are weights of {len(checkpoint.tensors[name])}")
    return hidden


def build(checkpoint: Checkpoint, config: GPTConfig, schema: Schema, tables: Mapping[str, Tensor]) -> GPT:
    """Build a GPT from the layers of a checkpoint.

    Args:
        checkpoint: `Checkpoint`, its tensors of layers are taken.
        config: `GPTConfig`, architecture.
        schema: `Schema`, vocabulary and coordinate tables.
        tables: Helicon's tensor name -> embedding, coordinate or output table.

    Returns:
        The GPT, in evaluation mode.

    Raises:
        ImportingError: a tensor is missing, of another shape, or of no layer.
    """
    with torch.device("meta"):
        gpt = make_gpt(config, schema)
    weights = dict(tables)
    for name, expected in gpt.state_dict().items():
        if name not in weights:
            weights[name] = _taken(checkpoint, name, expected)
    for layer in range(config.layers):
        factor = _query_factor(checkpoint, layer, config.head_width)
        for part in ("weight", "bias") if config.bias else ("weight",):
            weights[f"layers.{layer}.attention.qkv.{part}"][: config.qk_width] *= factor
    left = [name for name in sorted(checkpoint.tensors) if name.startswith("h.")]
    if left:
        raise ImportingError(f"{checkpoint.folder}: {printable(left[0], 60)} belongs to no layer of such a model")
    gpt.load_state_dict(weights, assign=True)
    return gpt.eval()


def coord_table(schema: Schema, wpe_PC: Tensor) -> Tensor:
    """Build the coordinate table from learned positions.

    Args:
        schema: `Schema` with a `position` axis.
        wpe_PC: embeddings of P positions, width C.

    Returns:
        float32 [rows, C], one row for each of the schema's coordinates: the positions' rows, and zeros elsewhere.
    """
    table = torch.zeros(schema.coord_table_size, wpe_PC.shape[1])
    start = schema.axis_starts["position"]
    table[start : start + len(wpe_PC)] = wpe_PC
    return table


def _taken(checkpoint: Checkpoint, name: str, expected: Tensor) -> Tensor:
    """Take the tensor of the checkpoint that corresponds to one of ours."""
    module, _, part = name.rpartition(".")
    if module == "norm":
        return checkpoint.take(f"ln_f.{part}", *expected.shape)
    _, layer, module = module.split(".", 2)
    theirs = f"h.{layer}.{MODULES[module]}.{part}"
    if expected.dim() == 1:
        return checkpoint.take(theirs, *expected.shape)
    return checkpoint.take(theirs, *expected.shape[::-1]).T.contiguous()  # Conv1D's matrices are [in, out]


def _query_factor(checkpoint: Checkpoint, layer: int, head: int) -> float:
    """Return the factor on queries that makes up for another scaling of scores than by sqrt(head)."""
    by_root = checkpoint.option("scale_attn_weights", True, [True, False])
    by_layer = checkpoint.option("scale_attn_by_inverse_layer_idx", False, [True, False])
    return (1.0 if by_root else head**0.5) / (layer + 1 if by_layer else 1)
