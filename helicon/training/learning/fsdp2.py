"""`--trainer.strategy fsdp2`: Lightning's ModelParallelStrategy as FSDP2, with checkpoints like any other run's."""

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
    """Shares a GPT out over all processes, whatever their number, as `GPTModule.configure_model` does it.

    Checkpoints are whole, one tensor after the other gathered by the first process. They go through the CheckpointIO,
    so they are read and written as those of one process are, and by as many processes as there are then.
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
        own, kept = dict(self.lightning_module.state_dict()), checkpoint["state_dict"]
        shared = {name: distribute_like(tensor, own.get(name, tensor)) for name, tensor in kept.items()}
        self.lightning_module.load_state_dict(shared, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"]):
            optimizer.load_state_dict(distribute_optimizer_state(state, optimizer))


def distribute_optimizer_state(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The whole state of an optimizer, with what has a parameter's shape shared out as the parameter is."""
    if isinstance(optimizer, MuonAdamW):
        return {name: distribute_optimizer_state(part, getattr(optimizer, name)) for name, part in state.items()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def shared(value: Any, parameter: Tensor) -> Any:
        return (
            distribute_like(value, parameter) if isinstance(value, Tensor) and value.shape == parameter.shape else value
        )

    states = {
        i: {name: shared(value, parameters[i]) for name, value in kept.items()} for i, kept in state["state"].items()
    }
    return {**state, "state": states}


StrategyRegistry.register(FSDP2, FullyShard, description="FSDP2 over all processes")
