"""Fully sharded data parallelism (FSDP2): each rank has a shard of every parameter, gathered when it is needed.

Checkpoints and bundles have full tensors, as those of a training on a single process.
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
    """Shard every parameter along its first axis; a layer is gathered while it is computed.

    Embeddings and head stay gathered after the forward pass, as `GPT.logits` comes after it.

    Args:
        gpt: changed in place.
        mesh: `DeviceMesh`, one-dimensional mesh of all ranks.
    """
    for layer in gpt.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(gpt, mesh=mesh, reshard_after_forward=False)


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor itself, or the full tensor gathered if it is sharded; all ranks have to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def distribute_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Shard a full tensor as a parameter is.

    Args:
        tensor: full tensor, equal on all ranks.
        parameter: of the same shape, sharded or not.

    Returns:
        DTensor with the parameter's placements; the tensor itself if the parameter is not sharded.
    """
    if not isinstance(parameter, DTensor):
        return tensor
    # src_data_rank=None: each rank cuts its shard from its own copy, without communication
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)


def gather_full(tree: Any, keep: bool) -> Any:
    """Gather all sharded tensors of a state_dict, one at a time, so that a device has little more than its shards.

    Args:
        tree: dicts and lists with tensors; all ranks have to call this.
        keep: True where this rank needs the result, as rank 0 does.

    Returns:
        The tree with full tensors on the CPU in place of sharded ones; empty tensors without `keep`.
    """

    def gather(shards: DTensor) -> Tensor:
        tensor = shards.full_tensor()
        return tensor.cpu() if keep else tensor.new_empty(0)

    return tree_map_only(DTensor, gather, tree)


def unsharded(gpt: GPT, make: Callable[[], GPT], keep: bool) -> GPT:
    """Return a GPT, or an unsharded copy on the CPU if it is sharded.

    Args:
        gpt: the same on all ranks, which have to call this.
        make: builds a GPT of the same config.
        keep: True where this rank needs the weights; the copy is on the meta device otherwise.

    Returns:
        The GPT or its copy.
    """
    weights = gpt.state_dict()
    if not any(isinstance(tensor, DTensor) for tensor in weights.values()):
        return gpt
    with torch.device("meta"):
        copy = make()
    weights = gather_full(weights, keep)
    if keep:
        copy.load_state_dict(weights, assign=True)
    return copy
