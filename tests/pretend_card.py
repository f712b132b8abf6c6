"""A card that is not there: tensors keep their numbers on the CPU and say that they are on cuda:7.

Within `pretend_card()` what is computed from a tensor on the card is on the card too, whatever mixes both places or
reads the card's memory unmoved raises as CUDA would, and each time a GPU would be waited for is counted. PyTorch's
FakeTensorMode checks places as well, but knows no numbers: neither a boolean index nor a sampled token goes through it,
and a build without CUDA has neither views nor a backward for its tensors on `cuda`.

The attention kernels of CUDA are done by matrix products, after the checks that the kernels themselves make. A graph is
a list of operators, which are done again into the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
import torch.utils.checkpoint
from pretend_kernels import KERNELS
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD, CPU = torch.device("cuda", 7), torch.device("cpu")  # no real one: what is kept for each device stays apart
aten = torch.ops.aten

# What copies between places, or only compares them, and what takes its indices from either
MOVES = {aten.copy_.default, aten._to_copy.default, aten._has_compatible_shallow_copy_type.default}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor}
# No scalar on the CPU joins others in these
LISTS = {aten.cat.default, aten.stack.default}
FROM_LISTS = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
WAITED_FOR = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default}


# Where each storage is, by its address; for longer than a card, as what a function keeps lives longer
_PLACES: dict[int, tuple[StorageWeakRef, torch.device | None]] = {}


@dataclass
class Card:
    """Where tensors are, and what a GPU would have been waited for; tensors from before it are on the CPU."""

    real: bool = False
    waits: list[str] = field(default_factory=list)
    recording: Graph | None = None

    def wait(self, reason: str) -> None:
        """Counts that the card is waited for; RuntimeError while a graph is captured."""
        if self.recording is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {reason}")
        self.waits.append(reason)

    def place(self, x: Tensor) -> torch.device | None:
        """Its device; None for what C++ made of no tensor, which goes with anything."""
        if x.device.type == "meta":
            return x.device
        return _PLACES.get(x.untyped_storage()._cdata, (None, CPU))[1]

    def put(self, x: Tensor, place: torch.device | None) -> None:
        """Says where a tensor's memory is."""
        if x.device.type != "meta":
            storage = x.untyped_storage()
            _PLACES[storage._cdata] = StorageWeakRef(storage), place  # the reference keeps the address from reuse

    def known(self, x: Tensor) -> bool:
        """Whether its memory has a place yet."""
        return x.device.type == "meta" or x.untyped_storage()._cdata in _PLACES


class Graph:
    """torch.cuda.CUDAGraph, but that what is captured is also done."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, Any, Any, Any]] = []  # operator, what it was given, what it gave

    def replay(self) -> None:
        """Does all again; what was made anew goes to where it was."""
        for func, args, kwargs, out in self.done:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage()._cdata != new.untyped_storage()._cdata:
                    old.copy_(new)

    def pool(self) -> None:
        """Its memory."""


class _Calls(TorchFunctionMode):
    """Devices as they are asked for and given in Python."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card = card

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if isinstance(func, torch._ops.OpOverload):  # `_Operators` calls it
            return func(*args, **kwargs)
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, *args, **kwargs)
        attribute = getattr(func, "__self__", None)
        if attribute is Tensor.device:
            return self.card.place(args[0]) or CPU
        if attribute is Tensor.is_cuda:
            return self.card.place(args[0]) == CARD
        if func in (Tensor.numpy, Tensor.__array__) and self.card.place(args[0]) == CARD:
            raise TypeError("can't convert cuda device type tensor to numpy. Use Tensor.cpu() first")
        if func in (torch.autograd.grad, Tensor.backward):
            # This mode is off in here; backward functions written in Python ask for devices too
            with mock.patch("torch.autograd.has_torch_function", _no), \
                    mock.patch("torch._tensor.has_torch_function_unary", _no), self:  # fmt: skip
                return func(*args, **kwargs)
        if "device" not in kwargs and func.__name__.startswith("new_"):
            kwargs["device"] = self.card.place(args[0])
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            kwargs["device"] = CPU
        out = func(*args, **kwargs)
        made = not any(isinstance(x, Tensor) for x in tree_leaves((args, kwargs)))
        if isinstance(out, Tensor) and (made or device is not None):
            self.card.put(out, _place(device or CPU))
            if func in FROM_LISTS and _place(device or CPU) == CARD:
                self.card.wait(f"{func.__name__} there")
        return out

    def _moved(self, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        asked, kept = {Tensor.cpu: CPU, Tensor.cuda: CARD}.get(func, kwargs.pop("device", None)), []
        for value in args:
            if isinstance(value, Tensor):
                asked, value = self.card.place(value), value.dtype
            if isinstance(value, str | torch.device):
                asked = value
            elif isinstance(value, torch.dtype):
                kept.append(value)
        out = x.to(*kept, **kwargs) if kept or kwargs else x
        here = self.card.place(x)
        if asked is None or _place(asked) == here:
            return out
        if not kwargs.get("non_blocking"):
            self.card.wait(f"from {here} to {asked}")
        out = out.clone() if out.untyped_storage()._cdata == x.untyped_storage()._cdata else out
        self.card.put(out, _place(asked))
        return out


class _Operators(TorchDispatchMode):
    """Places of what operators take and give, forward and backward."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        place = self._common(func, args, inputs)
        work: Callable[..., Any] = KERNELS.get(func, func)
        out = work(*args, **kwargs)
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and (not self.card.known(x) or self.card.place(x) is None):
                self.card.put(x, place)
        if self.card.recording is not None:
            self.card.recording.done.append((work, args, kwargs, out))
        return out

    def _common(self, func: Any, args: Any, inputs: list[Tensor]) -> torch.device | None:
        """The place of the inputs; RuntimeError when there are two and the operator does not move or index."""
        places = [self.card.place(x) for x in inputs]
        there = {place for place in places if place is not None}
        if func in KERNELS and CPU in there:
            raise RuntimeError(f"{func} is CUDA's, its inputs are on {there}")
        found = func in INDEXED and any(isinstance(x, Tensor) and x.dtype == torch.bool for x in args[1])
        if CARD in there and (found or func in WAITED_FOR):
            self.card.wait(str(func))
        if func in MOVES:
            return places[0] if func is aten._to_copy.default else None
        if func in INDEXED:  # indices may be on the CPU all the same
            places = [places[0], *(p for p, x in zip(places[1:], inputs[1:]) if p == CARD or x.is_floating_point())]
        elif func not in LISTS and CARD in there:
            places = [place for place, x in zip(places, inputs) if x.dim() or place == CARD]
        there = {place for place in places if place is not None}
        if len(there) > 1:
            shapes = [(tuple(x.shape), str(place)) for x, place in zip(inputs, map(self.card.place, inputs))]
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, got {shapes}")
        return next(iter(there), None)


def _no(*_: Any) -> bool:
    return False


def _place(device: Any) -> torch.device:
    device = torch.device(device)
    return CARD if device.type == "cuda" else device


@contextmanager
def pretend_card() -> Iterator[Card]:
    """A card, `cuda`, of compute capability 9.0."""
    card = Card()

    @contextmanager
    def capture(graph: Graph, pool: None = None) -> Iterator[None]:
        card.recording = graph
        try:
            yield
        finally:
            card.recording = None

    there = {
        "get_device_capability": lambda *_: (9, 0), "Stream": mock.MagicMock(), "current_stream": mock.MagicMock(),
        "stream": nullcontext, "CUDAGraph": Graph, "graph": capture,
    }  # fmt: skip
    with ExitStack() as stack:
        for name, value in there.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        # Hooks that are called within an operator see no pretended places
        alike = {"default": lambda x: (x.shape, x.dtype)}
        stack.enter_context(mock.patch.dict(torch.utils.checkpoint._allowed_determinism_checks_to_fns, alike))
        for mode in (_Operators(card), _Calls(card)):
            stack.enter_context(mode)
        yield card
