"""Calls of an objective, whose mistakes are told in one line where it is somebody's own.

What it raises, and what it gives of another type or shape than it is to give, becomes a PluginError with the file and
line where it is registered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from helicon.objectives.base import Batch, Examples, Mean, Network, Objective, Referred, Rewarded, Rollouts
from helicon.objectives.registry import OBJECTIVES, name_of
from helicon.plugins.plugin import PluginError

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle
    from helicon.generation.ranking import Candidates


def build_network(objective: Objective, bundle: Bundle) -> Network:
    """`objective.build(bundle)`, which has what the objective keeps."""
    with _running(objective):
        network = objective.build(bundle)
    if not isinstance(network, Network):
        raise fault(objective, f"build gives {_kind(network)}; a helicon.Network is needed")
    if objective.examples not in get_args(Examples):
        raise fault(objective, f"examples is {objective.examples!r}; {', '.join(get_args(Examples))} are accepted")
    if objective.examples == "rollouts" and not (isinstance(objective, Rewarded) and isinstance(network, Referred)):
        raise fault(objective, "learns from rollouts: a helicon.Rewarded is needed, its network a helicon.Referred")
    children = [name for name, _ in network.named_children() if name != "gpt"]
    for name in objective.kept:
        if name not in children:
            there = ", ".join(children) or "none"
            raise fault(objective, f"kept names {name!r}; children of its network beside the GPT are: {there}")
    return network


def kept_parts(objective: Objective, network: Network) -> nn.ModuleDict:
    """What an objective keeps of its network, by name."""
    return nn.ModuleDict({name: network.get_submodule(name) for name in objective.kept})


def loss_of(objective: Objective, network: Network, batch: Batch | Rollouts) -> tuple[Tensor, dict[str, Mean]]:
    """`objective.loss(network, batch)`: a tensor of one number, with a gradient unless none are computed; figures."""
    with _running(objective):
        found = objective.loss(network, batch)
    if not isinstance(found, tuple) or len(found) != 2:
        raise fault(objective, f"loss gives {_kind(found)}; (loss, figures) are needed")
    loss, figures = found
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        raise fault(objective, f"its loss is {_kind(loss)}; a tensor of one number, of shape [], is accepted")
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise fault(objective, "its loss has no gradient: nothing would be learned")
    if not isinstance(figures, dict):
        raise fault(objective, f"its figures are {_kind(figures)}; a dict of helicon.Mean by name is needed")
    known = metrics_of(objective, network)
    for name, figure in figures.items():
        if name not in known:
            raise fault(objective, f"its loss gives a figure {name!r}, its metrics are {', '.join(known)}")
        if not _is_mean(figure):
            needed = "a helicon.Mean of a tensor of one number, of shape [], and a number is needed"
            raise fault(objective, f"its figure {name!r} is {_kind(figure)}; {needed}")
    return loss, figures


def rewards_of(objective: Rewarded, network: Network, made: Candidates) -> Tensor:
    """`objective.rewards(network, made)`: float32 [samples] on the CPU, finite, without a gradient."""
    with _running(objective):
        found = objective.rewards(network, made)
    count = len(made.ids)
    try:
        rewards = torch.as_tensor(found, dtype=torch.float32).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise fault(objective, f"rewards gives {_kind(found)}; {count} numbers are needed") from None
    if rewards.shape != (count,) or not rewards.isfinite().all():
        raise fault(objective, f"rewards gives {list(rewards.shape)}; {count} finite numbers are needed, one a piece")
    return rewards


def metrics_of(objective: Objective, network: Network) -> Sequence[str]:
    """`objective.metrics(network)`: names."""
    with _running(objective):
        found = objective.metrics(network)
    if not _are_texts(found):
        raise fault(objective, f"metrics gives {_kind(found)}; a list of names is needed")
    return found


def held_out_loss_of(objective: Objective, network: Network, means: Mapping[str, float]) -> float:
    """`objective.held_out_loss(network, means)`: a number."""
    with _running(objective):
        found = objective.held_out_loss(network, means)
    if not isinstance(found, Real) and not (isinstance(found, Tensor) and not found.dim()):
        raise fault(objective, f"held_out_loss gives {_kind(found)}; a number is needed")
    return float(found)


def report_of(objective: Objective, network: Network, batches: Iterable[Batch]) -> dict[str, Any]:
    """`objective.report(network, batches)`: JSON-able."""
    with _running(objective):
        found = objective.report(network, batches)
    if not isinstance(found, dict):
        raise fault(objective, f"report gives {_kind(found)}; a dict is needed")
    try:
        json.dumps(found)
    except (TypeError, ValueError) as error:
        raise fault(objective, f"report gives what is no JSON ({error})") from error
    return found


def table_of(objective: Objective, report: Mapping[str, Any]) -> Sequence[str]:
    """`objective.table(report)`: lines."""
    with _running(objective):
        found = objective.table(report)
    if not _are_texts(found):
        raise fault(objective, f"table gives {_kind(found)}; a list of lines is needed")
    return found


def drawing_of(objective: Objective, report: Mapping[str, Any], path: Path) -> str:
    """`objective.draw(report, path)`: a caption, and a picture unless it is empty."""
    with _running(objective):
        found = objective.draw(report, path)
    if not isinstance(found, str) or (found and not path.is_file()):
        given = "a caption and no picture" if isinstance(found, str) else _kind(found)
        raise fault(objective, f"draw gives {given}; what the PNG shows is needed, or an empty text")
    return found


def fault(objective: Objective | type[Objective], what: str) -> PluginError:
    """The error of an objective that gives what it is not to give."""
    return OBJECTIVES.fault(name_of(objective), what)


def _running(objective: Objective) -> AbstractContextManager[None]:
    return OBJECTIVES.running(name_of(objective))


def _is_mean(figure: Any) -> bool:
    if not isinstance(figure, Mean) or not isinstance(figure.number, Real):
        return False
    return isinstance(figure.total, Tensor) and not figure.total.dim()


def _are_texts(found: Any) -> bool:
    return isinstance(found, list | tuple) and all(isinstance(each, str) for each in found)


def _kind(value: Any) -> str:
    """What something is, for messages: the shape of a tensor, else the type."""
    if isinstance(value, Mean):
        return f"Mean({_kind(value.total)}, {_kind(value.number)})"
    if isinstance(value, Tensor):
        return f"{list(value.shape)}" if value.is_floating_point() else f"{list(value.shape)} of {value.dtype}"
    return type(value).__name__
