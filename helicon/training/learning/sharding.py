"""Models too large for one GPU: each process keeps a part of every parameter (FSDP2), gathered when it is needed.

What leaves the process group is whole: checkpoints and bundles are those of a training on one process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from helicon.gpt.model import GPT


def shard(gpt: GPT, mesh: DeviceMesh) -> None:
    """Shares out every parameter along its first axis: a layer is whole while it is computed, the rest all the time.

    The rest, embeddings and the output matrix, stay whole after the forward pass: `GPT.logits` comes after it.
    """
    for layer in gpt.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(gpt, mesh=mesh, reshard_after_forward=False)


def full_tensor(tensor: Tensor) -> Tensor:
    """The tensor itself, or all parts of it; all processes have to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def distribute_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor, which all processes have, shared out as `parameter` is."""
    if not isinstance(parameter, DTensor):
        return tensor
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)


def gather_full(tree: Any, keep: bool) -> Any:
    """Dictionaries and lists with whole tensors on the CPU in place of parts; empty ones on processes that keep none.

    One is gathered at a time, so a device holds little more than its parts.
    """

    def gather(part: DTensor) -> Tensor:
        tensor = part.full_tensor()
        return tensor.cpu() if keep else tensor.new_empty(0)

    return tree_map_only(DTensor, gather, tree)


def unsharded(gpt: GPT, make: Callable[[], GPT], keep: bool) -> GPT:
    """The GPT itself, or a copy on the CPU of one that is shared out; without weights on processes that keep none."""
    weights = gpt.state_dict()
    if not any(isinstance(tensor, DTensor) for tensor in weights.values()):
        return gpt
    with torch.device("meta"):
        copy = make()
    weights = gather_full(weights, keep)
    if keep:
        copy.load_state_dict(weights, assign=True)
    return copy
