"""Model families of transformers: conditions on a bundle, config and tensor names of GPT-2 and Llama.

GPT-2 (Radford et al., 2019) has LayerNorm, biases and learned positions; Llama (arXiv:2302.13971) has RMSNorm, SwiGLU
and rotary positions, and no biases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from helicon.bundle.bundle import Bundle
from helicon.bundle.exporting.plain import PlainGPT
from helicon.objectives.classify import Classifier

EPSILON = 1e-5  # of our norms (PyTorch's default of LayerNorm)
CLASSIFIER = "ForSequenceClassification"  # suffix of class names in transformers
EXACT = 1e-6  # greatest accepted error of a logit where a bias is moved from the head into the last norm


class ExportFamily(ABC):
    """Model family of transformers that a bundle may belong to."""

    name: ClassVar[str]

    @staticmethod
    @abstractmethod
    def lacks(bundle: Bundle) -> Iterator[str]:
        """Yield the options of a bundle that the family lacks, as text with what it has instead: `norm rms (layer)`."""

    @staticmethod
    @abstractmethod
    def settings(plain: PlainGPT) -> dict[str, Any]:
        """Return the entries of config.json that depend on the family, name -> value."""

    @staticmethod
    @abstractmethod
    def tensors(plain: PlainGPT) -> dict[str, Tensor]:
        """Return name in the family's class of transformers -> tensor, float32."""


class GPT2(ExportFamily):
    """GPT-2. Its linear layers are Conv1D: [in, out]."""

    name = "GPT-2"
    activations: ClassVar = {"gelu": "gelu_new", "quick_gelu": "quick_gelu", "relu2": "relu2"}
    modules: ClassVar = {
        "norm_1": "ln_1", "attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj",
        "norm_2": "ln_2", "mlp.up": "mlp.c_fc", "mlp.out": "mlp.c_proj",
    }  # fmt: skip

    @staticmethod
    def lacks(bundle: Bundle) -> Iterator[str]:
        """Yield the options of a bundle that GPT-2 lacks, as text: of positions, norm, gate and width of heads."""
        config = bundle.gpt.config
        if bundle.gpt.rope:
            yield "positions rope (flat, axes or grid)"
        if config.norm != "layer":
            yield f"norm {config.norm} (layer)"
        if config.mlp not in GPT2.activations:
            yield f"mlp {config.mlp} ({', '.join(GPT2.activations)})"
        if config.attention_ratio != 1:
            yield f"attention_ratio {config.attention_ratio:g} (1)"
        if isinstance(network := bundle.network, Classifier) and not _reaches(network):
            yield "a bias that its classification head cannot make by itself (independent rows)"

    @staticmethod
    def settings(plain: PlainGPT) -> dict[str, Any]:
        """Return the entries of a GPT2Config, name -> value."""
        config = plain.config
        return {
            "model_type": "gpt2", "architectures": [f"GPT2{CLASSIFIER if plain.labels else 'LMHeadModel'}"],
            "n_positions": plain.context, "n_layer": config.layers, "n_embd": config.width,
            "n_head": config.heads, "n_inner": config.mlp_width,
            "activation_function": GPT2.activations[config.mlp], "layer_norm_epsilon": EPSILON,
            "embd_pdrop": config.dropout, "resid_pdrop": config.dropout, "attn_pdrop": 0.0,
        }  # fmt: skip

    @staticmethod
    def tensors(plain: PlainGPT) -> dict[str, Tensor]:
        """Return name -> tensor (float32) of GPT2LMHeadModel, or of GPT2ForSequenceClassification."""
        assert plain.positions_PC is not None
        tensors = {"transformer.wte.weight": plain.tokens_VC, "transformer.wpe.weight": plain.positions_PC}
        for part in ("weight", "bias"):
            tensors[f"transformer.ln_f.{part}"] = plain.tensor(f"norm.{part}")
            for layer in range(plain.config.layers):
                for ours, theirs in GPT2.modules.items():
                    tensor = plain.tensor(f"layers.{layer}.{ours}.{part}")
                    turned = tensor.T.contiguous() if tensor.dim() == 2 else tensor
                    tensors[f"transformer.h.{layer}.{theirs}.{part}"] = turned
        return tensors | plain.outputs


class Llama(ExportFamily):
    """Llama. Queries, keys, values, and the two halves of a gated layer are separate tensors."""

    name = "Llama"

    @staticmethod
    def lacks(bundle: Bundle) -> Iterator[str]:
        """Yield the options of a bundle that Llama lacks, as text: of positions, norm, biases, gate and odd heads."""
        config = bundle.gpt.config
        if not bundle.gpt.rope:
            yield f"positions {bundle.schema.positions} (rope)"
        if config.norm != "rms":
            yield f"norm {config.norm} (rms)"
        if config.mlp != "swiglu":
            yield f"mlp {config.mlp} (swiglu)"
        if config.bias:
            yield "bias (false)"
        if config.head_width % 2:
            yield f"heads of a width of {config.head_width} (an even one)"
        if isinstance(network := bundle.network, Classifier) and network.head.bias.any():
            yield "a classification head with a bias (none)"

    @staticmethod
    def settings(plain: PlainGPT) -> dict[str, Any]:
        """Return the entries of a LlamaConfig, name -> value."""
        config = plain.config
        return {
            "model_type": "llama", "architectures": [f"Llama{CLASSIFIER if plain.labels else 'ForCausalLM'}"],
            "max_position_embeddings": plain.context, "num_hidden_layers": config.layers,
            "hidden_size": config.width, "num_attention_heads": config.heads,
            "num_key_value_heads": config.heads, "head_dim": config.head_width, "intermediate_size": config.mlp_width,
            "hidden_act": "silu", "rms_norm_eps": EPSILON, "attention_bias": False, "mlp_bias": False,
            "attention_dropout": 0.0, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        }  # fmt: skip

    @staticmethod
    def tensors(plain: PlainGPT) -> dict[str, Tensor]:
        """Return name -> tensor (float32) of LlamaForCausalLM, or of LlamaForSequenceClassification."""
        config = plain.config
        tensors = {"model.embed_tokens.weight": plain.tokens_VC, "model.norm.weight": plain.tensor("norm.weight")}
        for layer in range(config.layers):
            qkv, up = (plain.tensor(f"layers.{layer}.{module}.weight") for module in ("attention.qkv", "mlp.up"))
            parts = dict(zip("qkv", qkv.split(config.value_width)))
            gate, up = up.chunk(2)
            tensors |= {
                f"model.layers.{layer}.{theirs}.weight": tensor.contiguous()
                for theirs, tensor in {
                    "input_layernorm": plain.tensor(f"layers.{layer}.norm_1.weight"),
                    **{f"self_attn.{name}_proj": part for name, part in parts.items()},
                    "self_attn.o_proj": plain.tensor(f"layers.{layer}.attention.out.weight"),
                    "post_attention_layernorm": plain.tensor(f"layers.{layer}.norm_2.weight"),
                    "mlp.gate_proj": gate, "mlp.up_proj": up,
                    "mlp.down_proj": plain.tensor(f"layers.{layer}.mlp.out.weight"),
                }.items()
            }  # fmt: skip
        return tensors | plain.outputs


def _reaches(network: Classifier) -> bool:
    """Return True if a shift of the last norm's bias can replace the bias of the head."""
    weight_LC, bias_L = network.head.weight.detach().double(), network.head.bias.detach().double()
    reached_L = weight_LC @ (torch.linalg.pinv(weight_LC) @ bias_L)
    return bool((reached_L - bias_L).abs().max() < EXACT)


FAMILIES: tuple[type[ExportFamily], ...] = (GPT2, Llama)  # tried in this order
