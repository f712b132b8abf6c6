"""Checker of a checkpoint's pickle, run before `torch.load`: plain values and tensors alone, within bounds.

`torch.load(weights_only=True)` runs no code, but it hashes keys of any size, walks a shared object as often as it is
referenced, and trusts the sizes of tensors. So each instruction is interpreted here first, without building an object.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

# Limits against hostile files, far above what a checkpoint of the largest model has
MAX_INSTRUCTIONS = 600_000
MAX_VALUES = 2_000_000  # a shared value counts once for each reference, as readers walk it each time
MAX_DEPTH = 100  # levels of nesting, below Python's recursion limit
MAX_DIMS = 16  # of a tensor
MAX_NUMBER = 1 << 53  # of a size, stride or offset: products of these stay cheap Python ints
PLAIN_TYPES = (str, int, float, bool, type(None))
ELEMENT_BYTES = {  # by storage class of PyTorch
    "DoubleStorage": 8, "LongStorage": 8, "FloatStorage": 4, "IntStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
ORDERED, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"  # called in pickles
GLOBALS = {ORDERED, TENSOR, *(f"torch {name}" for name in ELEMENT_BYTES)}  # accepted names, as pickletools spells them
# Opcodes by pickletools' names
LITERAL_OPCODES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
CONSTANT_OPCODES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}  # opcode -> value that it pushes
TUPLE_OPCODES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}  # opcode -> length of the tuple


class UnsafeError(ValueError):
    """Pickle that asks for an object which could run code."""


class Global(NamedTuple):
    """Stand-in of a class or function, by its pickled name."""

    name: str


class Storage(NamedTuple):
    """Stand-in of a tensor's memory."""

    elements: int


class Tuple(NamedTuple):
    """Stand-in of a tuple, with its number of values (`weight`) and levels of nesting (`depth`)."""

    items: list[Any]
    weight: int = 1
    depth: int = 1


@dataclass(eq=False, kw_only=True)
class Container:
    """Stand-in of a list or mapping.

    Attributes:
        mapping: whether it is a mapping, else a list.
        weight: number of values in it, nested ones included.
        depth: levels of nesting.
        closed: whether it is part of another container, and may not grow any more.
        keys: the first two keys of a mapping.
    """

    mapping: bool
    weight: int = 1
    depth: int = 1
    closed: bool = False
    keys: tuple[Any, ...] = ()


TENSOR_RESULT = object()  # stand-in of every tensor


def check_pickle(content: bytes, storages: Mapping[str, int]) -> None:
    """Interpret a pickle to its end, without building an object.

    Args:
        content: bytes of the pickle.
        storages: size in bytes of each tensor storage of the archive, by its key, the digits of its name.

    Raises:
        UnsafeError: the pickle names anything but tensors and plain values.
        ValueError: the pickle is damaged, or exceeds the bounds of this module.
    """
    machine, ended = _Machine(storages), False
    for number, (operation, value, _) in enumerate(pickletools.genops(content)):
        if number >= MAX_INSTRUCTIONS:
            raise ValueError(f"more than {MAX_INSTRUCTIONS:,} instructions")
        ended = operation.name == "STOP"
        machine.follow(operation.name, value)
    if not ended or len(machine.stack) != 1 or machine.marks:
        raise ValueError("its pickle does not end")


class _Machine:
    """Pickle machine whose stack holds stand-ins instead of objects."""

    def __init__(self, storages: Mapping[str, int]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, value: Any) -> None:
        stack = self.stack
        if name in LITERAL_OPCODES:
            stack.append(value)
        elif name in CONSTANT_OPCODES:
            stack.append(CONSTANT_OPCODES[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[value] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[value])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append(Container(mapping=name == "EMPTY_DICT"))
        elif name == "EMPTY_TUPLE":
            stack.append(Tuple([]))
        elif name in TUPLE_OPCODES:
            stack.append(_tuple(self._pop(TUPLE_OPCODES[name])))
        elif name == "TUPLE":
            stack.append(_tuple(self._pop_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self._pop(1) if name == "APPEND" else self._pop_mark()
            _add_items(stack[-1], items, mapping=False)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if name == "SETITEM" else self._pop_mark()
            if not all(type(key) in PLAIN_TYPES for key in items[::2]) or len(items) % 2:
                raise ValueError("a key that is no plain value")
            _add_items(stack[-1], items, mapping=True)
        elif name == "GLOBAL":
            if value not in GLOBALS:
                raise UnsafeError(value)
            stack.append(Global(value))
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            stack.append(_reduce(function, arguments))
        elif name == "BINPERSID":
            (identity,) = self._pop(1)
            stack.append(self._storage(identity))
        elif name == "BUILD":  # an attribute of a mapping: the versions of a module's state
            (state,) = self._pop(1)
            if not isinstance(state, Container) or state.keys != ("_metadata",):
                raise UnsafeError(name)
            _add_items(stack[-1], [state], mapping=True)
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
        """Return the stand-in of a storage; ValueError unless the archive has a storage of that key and size."""
        match identity:
            case Tuple(["storage", Global(name), str(key), str(), int(elements)]) if name.startswith("torch "):
                size = ELEMENT_BYTES.get(name.removeprefix("torch "), 0)
                if size and elements >= 0 and self.storages.get(key) == elements * size:
                    return Storage(elements)
        raise ValueError("a tensor that the file does not hold")


def _tuple(items: list[Any]) -> Tuple:
    weight, depth = _measure(items)
    return Tuple(items, 1 + weight, 1 + depth)


def _add_items(box: Any, items: list[Any], mapping: bool) -> None:
    """Add items to a list or mapping; ValueError if it is part of another container already, or of itself."""
    if not isinstance(box, Container) or box.mapping != mapping or box.closed or any(item is box for item in items):
        raise ValueError("its pickle is damaged, or holds something that holds itself")
    weight, depth = _measure(items)
    box.weight, box.depth = box.weight + weight, max(box.depth, 1 + depth)
    box.keys = (*box.keys, *items[: 4 if mapping else 0 : 2])[:2]
    if box.weight > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} values")


def _measure(items: list[Any]) -> tuple[int, int]:
    """Return the number of values and the depth of items, and close the containers among them."""
    weight, depth = 0, 0
    for item in items:
        if isinstance(item, Container):
            item.closed = True
        values, levels = (item.weight, item.depth) if isinstance(item, Container | Tuple) else (1, 0)
        weight, depth = weight + values, max(depth, levels)
    if weight > MAX_VALUES or depth >= MAX_DEPTH:
        raise ValueError(f"more than {MAX_VALUES:,} values, or {MAX_DEPTH} within each other")
    return weight, depth


def _reduce(function: Any, arguments: Any) -> Any:
    """Return the stand-in of a call's result: an empty mapping, or a tensor that lies within its storage."""
    match function, arguments:
        case Global(name), Tuple([]) if name == ORDERED:
            return Container(mapping=True)
        case Global(name), Tuple([Storage(), int(), Tuple(), Tuple(), bool(), Container(weight=1)]) if name == TENSOR:
            (elements,), first, (size, *_), (stride, *_), *_ = arguments.items
            numbers = [first, *size[: MAX_DIMS + 1], *stride[: MAX_DIMS + 1]]
            plain = all(type(number) is int and 0 <= number <= MAX_NUMBER for number in numbers)
            if not plain or len(size) != len(stride) or len(size) > MAX_DIMS:
                raise ValueError("a tensor of an impossible shape")
            last = first + sum((length - 1) * step for length, step in zip(size, stride))
            # Also from its first element on: kernels of optimizers take tensors as they lie, whatever the strides
            if first + prod(size) > elements or (0 not in size and last >= elements):
                raise ValueError("a tensor larger than what the file holds of it")
            return TENSOR_RESULT
    raise UnsafeError("a call")
