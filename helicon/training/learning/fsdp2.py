"""Strategy of `--trainer.strategy fsdp2`: Lightning's ModelParallelStrategy with checkpoints like any other run's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ModelParallelStrategy, StrategyRegistry
from pytorch_lightning.strategies.strategy import Strategy
from torch import Tensor
from torch.optim import Optimizer

from helicon.training.learning.optimizers import MuonAdamW
from helicon.training.learning.sharding import distribute_like, gather_full
from helicon.training.settings.lightning_options import FSDP2


class FullyShard(ModelParallelStrategy):
    """FSDP2 strategy over all processes; `GPTModule.configure_model` shards the GPT.

    Checkpoints are full, not sharded: rank 0 gathers one tensor after the other. They are read and written by the same
    CheckpointIO as those of a single process, so a run may be resumed on another number of processes.
    """

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.lightning_module is not None
        return gather_full(self.lightning_module.state_dict(), self.is_global_zero)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        inner = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return gather_full(inner.state_dict(), self.is_global_zero)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        Strategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        parameters, full = dict(self.lightning_module.state_dict()), checkpoint["state_dict"]
        sharded = {name: distribute_like(tensor, parameters.get(name, tensor)) for name, tensor in full.items()}
        self.lightning_module.load_state_dict(sharded, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"]):
            optimizer.load_state_dict(distribute_optimizer_state(state, optimizer))


def distribute_optimizer_state(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """Shard the full state of an optimizer: tensors of a parameter's shape are distributed as the parameter is.

    Args:
        state: full state_dict of the optimizer, on all ranks.
        optimizer: `Optimizer` whose parameters are sharded.

    Returns:
        state_dict for `optimizer.load_state_dict`.
    """
    if isinstance(optimizer, MuonAdamW):
        return {name: distribute_optimizer_state(part, getattr(optimizer, name)) for name, part in state.items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def sharded(value: Any, parameter: Tensor) -> Any:
        return (
            distribute_like(value, parameter) if isinstance(value, Tensor) and value.shape == parameter.shape else value
        )

    states = {
        i: {name: sharded(value, parameters[i]) for name, value in values.items()}
        for i, values in state["state"].items()
    }
    return {**state, "state": states}


StrategyRegistry.register(FSDP2, FullyShard, description="FSDP2 over all processes")
