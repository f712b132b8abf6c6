"""Checked calls of an objective, which may be a plugin's.

Exceptions, and outputs of a wrong type or shape, become a PluginError that names the file and line of the registration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from helicon.objectives.base import Batch, Examples, Mean, Network, Objective, Referred, Rewarded, Rollouts
from helicon.objectives.registry import OBJECTIVES, name_of
from helicon.plugins.errors import in_one_line
from helicon.plugins.plugin import PluginError

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle
    from helicon.generation.ranking import Candidates


def build_network(objective: Objective, bundle: Bundle) -> Network:
    """Call `objective.build` and check the network.

    Args:
        objective: the `Objective`.
        bundle: `Bundle` of GPT, layouts, tokenizers and labels.

    Returns:
        `Network` with all the modules that the objective keeps.

    Raises:
        PluginError: no such network, or an exception.
    """
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
    """Return the modules that a bundle stores beside the GPT.

    Args:
        objective: `Objective` that names them in `kept`.
        network: `Network`, result of `build_network`.

    Returns:
        The modules by name.
    """
    return nn.ModuleDict({name: network.get_submodule(name) for name in objective.kept})


def parts_left_out(objective: Objective, network: Network) -> list[str]:
    """Return the names of parts of a network with weights that a bundle does not store.

    Args:
        objective: `Objective` that names in `kept` those which are stored.
        network: `Network`, result of `build_network`.

    Returns:
        Names of child modules, parameters and buffers.
    """
    names = dict.fromkeys(key.partition(".")[0] for key in network.state_dict())
    return [name for name in names if name not in ("gpt", *objective.kept)]


def try_report(objective: Objective, network: Network, batch: Batch) -> None:
    """Try the report on a network as it will be in the bundle, without the parts that are left out.

    Args:
        objective: the `Objective`.
        network: `Network`, result of `build_network`; not changed.
        batch: any `Batch` that the objective learns from.

    Raises:
        PluginError: the report needs a part that the bundle will not have.
    """
    if type(objective).report is Objective.report or not (absent := parts_left_out(objective, network)):
        return
    alone = copy(network)
    alone.__dict__ |= {group: dict(vars(network)[group]) for group in ("_modules", "_parameters", "_buffers")}
    for name in absent:
        delattr(alone, name)
    modes = {module: module.training for module in network.modules()}
    try:
        report_of(objective, alone.eval(), [batch])
    except PluginError as error:
        try:
            report_of(objective, network.eval(), [batch])
        except PluginError:
            return  # it fails of something else, perhaps of so small a batch
        cause = in_one_line(error.__cause__ or error)
        what = f"report fails without {', '.join(absent)}, which the bundle lacks ({cause})"
        raise fault(objective, f"{what}; name what it needs in kept") from error
    finally:
        for module, training in modes.items():
            module.training = training


def loss_of(objective: Objective, network: Network, batch: Batch | Rollouts) -> tuple[Tensor, dict[str, Mean]]:
    """Call `objective.loss` and check its output.

    Args:
        objective: the `Objective`.
        network: `Network`, result of `build_network`.
        batch: `Batch` or `Rollouts`, as the objective learns from.

    Returns:
        Loss, a scalar tensor (with a gradient where gradients are enabled), and figures by name, a `Mean` each.

    Raises:
        PluginError: another output, or an exception.
    """
    with _running(objective):
        output = objective.loss(network, batch)
    if not isinstance(output, tuple) or len(output) != 2:
        raise fault(objective, f"loss gives {_kind(output)}; (loss, figures) are needed")
    loss, figures = output
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        raise fault(objective, f"its loss is {_kind(loss)}; a tensor of one number, of shape [], is accepted")
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise fault(objective, "its loss has no gradient: nothing would be learned")
    if not isinstance(figures, dict):
        raise fault(objective, f"its figures are {_kind(figures)}; a dict of helicon.Mean by name is needed")
    known = metrics_of(objective, network)
    if known and not figures:
        raise fault(objective, f"its loss gives no figure, its metrics are {', '.join(known)}; one or more are needed")
    for name, figure in figures.items():
        if name not in known:
            raise fault(objective, f"its loss gives a figure {name!r}, its metrics are {', '.join(known)}")
        if not _is_mean(figure):
            needed = "a helicon.Mean of a tensor of one number, of shape [], and a number is needed"
            raise fault(objective, f"its figure {name!r} is {_kind(figure)}; {needed}")
    return loss, figures


def rewards_of(objective: Rewarded, network: Network, candidates: Candidates) -> Tensor:
    """Call `objective.rewards` and check its output.

    Args:
        objective: the `Rewarded` objective.
        network: `Network`, result of `build_network`.
        candidates: `Candidates`: sequences sampled under the same conditions.

    Returns:
        Rewards, a tensor float32 [samples], finite, on the CPU, without gradient.

    Raises:
        PluginError: another output, or an exception.
    """
    with _running(objective):
        output = objective.rewards(network, candidates)
    count = len(candidates.ids)
    try:
        rewards = torch.as_tensor(output, dtype=torch.float32).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise fault(objective, f"rewards gives {_kind(output)}; {count} numbers are needed") from None
    if rewards.shape != (count,) or not rewards.isfinite().all():
        raise fault(objective, f"rewards gives {list(rewards.shape)}; {count} finite numbers are needed, one a piece")
    return rewards


def metrics_of(objective: Objective, network: Network) -> Sequence[str]:
    """Call `objective.metrics` and check its output.

    Args:
        objective: the `Objective`.
        network: `Network`, result of `build_network`.

    Returns:
        Names of the figures that `loss` may give.

    Raises:
        PluginError: another output, or an exception.
    """
    with _running(objective):
        names = objective.metrics(network)
    if not _are_texts(names):
        raise fault(objective, f"metrics gives {_kind(names)}; a list of names is needed")
    return names


def val_loss_of(objective: Objective, network: Network, means: Mapping[str, float]) -> float:
    """Call `objective.val_loss` and check its output.

    Args:
        objective: the `Objective`.
        network: `Network`, result of `build_network`.
        means: mean of each figure over the validation part, by name.

    Returns:
        Validation loss, a float; lower is better.

    Raises:
        PluginError: another output, or an exception, also where it asks for a figure that `loss` did not give.
    """
    with _running(objective):
        loss = objective.val_loss(network, _Means(means))
    if not isinstance(loss, Real) and not (isinstance(loss, Tensor) and not loss.dim()):
        raise fault(objective, f"val_loss gives {_kind(loss)}; a number is needed")
    return float(loss)


class _Means(dict[str, float]):
    """Means by name, whose KeyError says which there are."""

    def __missing__(self, name: object) -> float:
        raise KeyError(f"no figure {name!r} in the validation; its loss gave {', '.join(self) or 'none'}")


def report_of(objective: Objective, network: Network, batches: Iterable[Batch]) -> dict[str, Any]:
    """Call `objective.report` and check its output.

    Args:
        objective: the `Objective`.
        network: `Network`, result of `build_network`.
        batches: `Batch`es of windows of all examples.

    Returns:
        JSON-able figures by name.

    Raises:
        PluginError: another output, or an exception.
    """
    with _running(objective):
        report = objective.report(network, batches)
    if not isinstance(report, dict):
        raise fault(objective, f"report gives {_kind(report)}; a dict is needed")
    try:
        json.dumps(report)
    except (TypeError, ValueError) as error:
        raise fault(objective, f"report gives what is no JSON ({error})") from error
    return report


def table_of(objective: Objective, report: Mapping[str, Any]) -> Sequence[str]:
    """Call `objective.table` and check its output.

    Args:
        objective: the `Objective`.
        report: result of `report_of`.

    Returns:
        Lines for people.

    Raises:
        PluginError: another output, or an exception.
    """
    with _running(objective):
        lines = objective.table(report)
    if not _are_texts(lines):
        raise fault(objective, f"table gives {_kind(lines)}; a list of lines is needed")
    return lines


def drawing_of(objective: Objective, report: Mapping[str, Any], path: Path) -> str:
    """Call `objective.draw` and check its output.

    Args:
        objective: the `Objective`.
        report: result of `report_of`.
        path: PNG file to write.

    Returns:
        Caption; empty if no picture was drawn.

    Raises:
        PluginError: another output, a caption without a picture, or an exception.
    """
    with _running(objective):
        caption = objective.draw(report, path)
    if not isinstance(caption, str) or (caption and not path.is_file()):
        output = "a caption and no picture" if isinstance(caption, str) else _kind(caption)
        raise fault(objective, f"draw gives {output}; what the PNG shows is needed, or an empty text")
    return caption


def fault(objective: Objective | type[Objective], what: str) -> PluginError:
    """Make the error of an objective with a wrong output.

    Args:
        objective: the `Objective`, or its class.
        what: text that says the fault and what is needed instead.

    Returns:
        The error, to be raised, which names the registration.
    """
    return OBJECTIVES.fault(name_of(objective), what)


def _running(objective: Objective) -> AbstractContextManager[None]:
    return OBJECTIVES.running(name_of(objective))


def _is_mean(figure: Any) -> bool:
    if not isinstance(figure, Mean) or not isinstance(figure.number, Real):
        return False
    return isinstance(figure.total, Tensor) and not figure.total.dim()


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)


def _kind(value: Any) -> str:
    """Describe a value for messages: shape of a tensor, else type."""
    if isinstance(value, Mean):
        return f"Mean({_kind(value.total)}, {_kind(value.number)})"
    if isinstance(value, Tensor):
        return f"{list(value.shape)}" if value.is_floating_point() else f"{list(value.shape)} of {value.dtype}"
    return type(value).__name__
