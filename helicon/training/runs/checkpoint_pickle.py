"""The pickle of a checkpoint, checked before PyTorch reads it: plain values and tensors alone, and not too many.

PyTorch's own check lets nothing run, but hashes keys of any size, walks what is shared as often as it is named, and
takes the sizes of tensors as they are. So every instruction is followed here first, nothing being made of it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

MOST_STEPS, MOST_VALUES = 600_000, 2_000_000  # instructions; values, of what is shared each time
DEEPEST = 100  # values within values
MOST_AXES, LARGEST = 16, 1 << 53  # of a tensor; of the numbers that say its shape
WORDS = (str, int, float, bool, type(None))
STORAGES = {  # bytes of an element
    "DoubleStorage": 8, "LongStorage": 8, "FloatStorage": 4, "IntStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
ORDERED, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
GLOBALS = {ORDERED, TENSOR, *(f"torch {name}" for name in STORAGES)}
PUSHED = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class UnsafeError(ValueError):
    """A pickle that asks for an object which could run code."""


class Global(NamedTuple):
    name: str


class Storage(NamedTuple):
    elements: int


class Tuple(NamedTuple):
    items: list[Any]
    weight: int = 1
    depth: int = 1


@dataclass(eq=False, kw_only=True)
class Box:
    """A list or a mapping, of so many values. closed: it is part of another, and grows no more. keys: the first two."""

    mapping: bool
    weight: int = 1
    depth: int = 1
    closed: bool = False
    keys: tuple[Any, ...] = ()


TENSOR_MADE = object()


def check_pickle(content: bytes, storages: Mapping[str, int]) -> None:
    """Follows a pickle to its end. storages: bytes of each by its key.

    Raises:
        UnsafeError: when it names anything but tensors and plain values.
        ValueError: when it is damaged, or more than a checkpoint of ours has.
    """
    machine, ended = _Machine(storages), False
    for number, (operation, value, _) in enumerate(pickletools.genops(content)):
        if number >= MOST_STEPS:
            raise ValueError(f"more than {MOST_STEPS:,} instructions")
        ended = operation.name == "STOP"
        machine.follow(operation.name, value)
    if not ended or len(machine.stack) != 1 or machine.marks:
        raise ValueError("its pickle does not end")


class _Machine:
    """The stack of a pickle, with what stands for each value on it."""

    def __init__(self, storages: Mapping[str, int]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, value: Any) -> None:
        stack = self.stack
        if name in PUSHED:
            stack.append(value)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[value] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[value])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append(Box(mapping=name == "EMPTY_DICT"))
        elif name == "EMPTY_TUPLE":
            stack.append(Tuple([]))
        elif name in TUPLES:
            stack.append(_tuple(self._pop(TUPLES[name])))
        elif name == "TUPLE":
            stack.append(_tuple(self._pop_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self._pop(1) if name == "APPEND" else self._pop_mark()
            _put(stack[-1], items, mapping=False)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if name == "SETITEM" else self._pop_mark()
            if not all(type(key) in WORDS for key in items[::2]) or len(items) % 2:
                raise ValueError("a key that is no plain value")
            _put(stack[-1], items, mapping=True)
        elif name == "GLOBAL":
            if value not in GLOBALS:
                raise UnsafeError(value)
            stack.append(Global(value))
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            stack.append(_made(function, arguments))
        elif name == "BINPERSID":
            (identity,) = self._pop(1)
            stack.append(self._storage(identity))
        elif name == "BUILD":  # an attribute of a mapping: the versions of a module's state
            (state,) = self._pop(1)
            if not isinstance(state, Box) or state.keys != ("_metadata",):
                raise UnsafeError(name)
            _put(stack[-1], [state], mapping=True)
        elif name not in ("PROTO", "STOP"):
            raise UnsafeError(name)

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle is damaged")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def _pop_mark(self) -> list[Any]:
        return self._pop(len(self.stack) - self.marks.pop())

    def _storage(self, identity: Any) -> Storage:
        """What a tensor's numbers are in; ValueError unless the file has as many bytes."""
        match identity:
            case Tuple(["storage", Global(name), str(key), str(), int(elements)]) if name.startswith("torch "):
                size = STORAGES.get(name.removeprefix("torch "), 0)
                if size and elements >= 0 and self.storages.get(key) == elements * size:
                    return Storage(elements)
        raise ValueError("a tensor that the file does not hold")


def _tuple(items: list[Any]) -> Tuple:
    weight, depth = _size(items)
    return Tuple(items, 1 + weight, 1 + depth)


def _put(box: Any, items: list[Any], mapping: bool) -> None:
    """Adds to a list or a mapping; ValueError for one that is part of another already, or of itself."""
    if not isinstance(box, Box) or box.mapping != mapping or box.closed or any(item is box for item in items):
        raise ValueError("its pickle is damaged, or holds something that holds itself")
    weight, depth = _size(items)
    box.weight, box.depth = box.weight + weight, max(box.depth, 1 + depth)
    box.keys = (*box.keys, *items[: 4 if mapping else 0 : 2])[:2]
    if box.weight > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")


def _size(items: list[Any]) -> tuple[int, int]:
    """How many values some items, which become parts of another, hold in all, and how deep."""
    weight, depth = 0, 0
    for item in items:
        if isinstance(item, Box):
            item.closed = True
        held, within = (item.weight, item.depth) if isinstance(item, Box | Tuple) else (1, 0)
        weight, depth = weight + held, max(depth, within)
    if weight > MOST_VALUES or depth >= DEEPEST:
        raise ValueError(f"more than {MOST_VALUES:,} values, or {DEEPEST} within each other")
    return weight, depth


def _made(function: Any, arguments: Any) -> Any:
    """What a call gives: an empty mapping, or a tensor that lies within its storage."""
    match function, arguments:
        case Global(name), Tuple([]) if name == ORDERED:
            return Box(mapping=True)
        case Global(name), Tuple([Storage(), int(), Tuple(), Tuple(), bool(), Box(weight=1)]) if name == TENSOR:
            (elements,), first, (size, *_), (stride, *_), *_ = arguments.items
            numbers = [first, *size[: MOST_AXES + 1], *stride[: MOST_AXES + 1]]
            plain = all(type(number) is int and 0 <= number <= LARGEST for number in numbers)
            if not plain or len(size) != len(stride) or len(size) > MOST_AXES:
                raise ValueError("a tensor of an impossible shape")
            last = first + sum((length - 1) * step for length, step in zip(size, stride))
            # Also from its first element on: kernels of optimizers take tensors as they lie, whatever the strides
            if first + prod(size) > elements or (0 not in size and last >= elements):
                raise ValueError("a tensor larger than what the file holds of it")
            return TENSOR_MADE
    raise UnsafeError("a call")
