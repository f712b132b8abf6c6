"""What mutators of files share: numbers, bytes, fields, lists of parts and trees of JSON, edited at random.

A mutator knows how a kind of file is built: it takes a seed apart, edits the parts, and puts them together with lengths
and checksums that are right again, so that what was changed is read and not refused for these alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Any, TypeVar

Part = TypeVar("Part")
Mutator = Callable[[Random, Sequence[bytes]], bytes]

WORDS = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\0\0",
    b"\xff\xff",
    b"\0\0",
)
ROUNDS = (1, 1, 1, 2, 2, 3, 5)  # edits of one file
BROKEN = 0.1  # share of the files of which some bytes are changed after all


def number(rng: Random, old: int, bits: int) -> int:
    """A number of so many bits near the limits, near the old one, or any; never negative, but -1 is its bits."""
    most = (1 << bits) - 1
    match rng.randrange(8):
        case 0:
            return rng.choice((0, 1, 2, most, most - 1, most >> 1, (most >> 1) + 1))
        case 1 | 2:
            return old + rng.choice((-1, 1)) & most
        case 3:
            return rng.choice((old * 2, old // 2, old * 256, -old)) & most
        case 4:
            return old ^ 1 << rng.randrange(bits)
        case 5:
            return rng.randrange(min(most, 32) + 1)
        case 6:
            return 1 << rng.randrange(bits)
    return rng.getrandbits(bits)


def blob(rng: Random, data: bytes, specials: Sequence[bytes] = WORDS) -> bytes:
    """One to four edits of bytes, half of them near the beginning: changed, cut, doubled, words put in or over."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at, to = sorted((rng.randrange(len(out) + 1), rng.randrange(len(out) + 1)))
        at = rng.randrange(min(64, len(out) + 1)) if rng.randrange(2) else at
        special = rng.choice(specials)
        match rng.randrange(6):
            case 0 | 1 if at < len(out):
                out[at] = number(rng, out[at], 8)
            case 2:
                del out[at : min(to, at + 40)]
            case 3:
                out[at:at] = out[at : min(to, at + 200)]
            case 4:
                out[at:at] = special
            case 5:
                out[at : at + len(special)] = special
    return bytes(out)


def fields(rng: Random, data: bytes, layout: str) -> bytes:
    """One number of the struct that the bytes begin with, edited; any edit where they are shorter."""
    size = struct.calcsize(layout)
    if len(data) < size:
        return blob(rng, data)
    values = list(struct.unpack_from(layout, data))
    which = rng.choice([i for i, value in enumerate(values) if isinstance(value, int)])
    codes = [code for code in layout.lstrip("<>=") if code.isalpha() and code != "x"]
    bits = 8 * struct.calcsize("<" + codes[which])
    values[which] = number(rng, values[which], bits)
    return struct.pack(layout, *values) + data[size:]


def rearranged(rng: Random, parts: list[Part], others: Sequence[Part], first: int = 0) -> list[Part]:
    """Parts from the place `first` on doubled, repeated, dropped, swapped, moved, or taken from another file."""
    parts = list(parts)
    if len(parts) <= first:
        return [*parts, *others[first:][:1]]
    i, j = (rng.randrange(first, len(parts)) for _ in range(2))
    match rng.randrange(7):
        case 0:
            parts.insert(j, parts[i])
        case 1:
            parts[i:i] = [parts[i]] * rng.choice((2, 10, 60))
        case 2:
            del parts[i]
        case 3:
            del parts[min(i, j) : max(i, j)]
        case 4:
            parts[i], parts[j] = parts[j], parts[i]
        case 5:
            parts[i : i + rng.randrange(2)] = [rng.choice(others)] if others else []
        case 6:
            begin = rng.randrange(len(others) + 1)
            parts[i : i + rng.randrange(3)] = others[begin : begin + rng.randrange(6)]
    return parts


def mutator(
    split: Callable[[bytes], list[Part]], edit: Callable[[Random, Part], Part], join: Callable[[list[Part]], bytes],
    first: int = 0, moves: float = 0.3,
) -> Mutator:  # fmt: skip
    """Takes a seed apart, edits or rearranges its parts, and joins them. moves: share of edits that rearrange."""
    split = lru_cache(maxsize=None)(split)

    def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
        parts = list(split(rng.choice(seeds)))
        for _ in range(rng.choice(ROUNDS)):
            if not parts or rng.random() < moves:
                parts = rearranged(rng, parts, split(rng.choice(seeds)), first)
            else:
                i = rng.randrange(len(parts))
                parts[i] = edit(rng, parts[i])
        data = join(parts)
        return blob(rng, data) if rng.random() < BROKEN else data

    return mutate


# --- JSON

NAMES = ("", "a", "file", "text", "__proto__", "\x1b[31m", "\u202e", "\ud800", "x" * 3000, "0", "__class__", "..")
NUMBERS = (0, 1, -1, 2, 3, 255, 2**31 - 1, -(2**31), 2**32, 2**53, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, 1e-320)
VALUES: tuple[Any, ...] = (None, True, False, "", [], {}, [[]], [None], {"": None}, float("nan"), float("inf"))
RAW = ("1e999", "9" * 5000, "-" + "9" * 400, '"\\ud800"', "[" * 40 + "]" * 40, "[" * 3000, "NaN", "-Infinity", "0x10")
PUNCTUATION = (b'"', b"{", b"}", b"[", b",", b":", b"\0", b"\xff", b"\\u")
PLACE = "@raw%d@"  # of a string that is replaced, with its quotes, by what Python would not write


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of all values of a tree."""
    found, left = [], [tree]
    while left:
        node = left.pop()
        for key in range(len(node)) if isinstance(node, list) else list(node):
            found.append((node, key))
            if isinstance(node[key], list | dict):
                left.append(node[key])
    return found


def value(rng: Random, old: Any) -> Any:
    """Something in place of a value: often of its type, sometimes of any."""
    if rng.random() < 0.2:
        return rng.choice(VALUES)
    if rng.random() < 0.08:
        return PLACE % rng.randrange(len(RAW))
    match old:
        case bool() | None:
            return rng.choice((True, False, None, 0, 1, "true"))
        case int() | float():
            near = (
                old + 1,
                old - 1,
                old * 2,
                -old,
                old // 2 if isinstance(old, int) else old / 2,
                float(old),
                str(old),
            )
            return rng.choice(near if rng.random() < 0.5 else NUMBERS)
        case str():
            return text(rng, old)
        case list():
            return rng.choice((old * 2, old[:-1], old[::-1], [*old, None], {"a": old}, [old], old * 30))
        case dict():
            return rng.choice(([old], list(old), {**old, rng.choice(NAMES): 1}, {"a": old}))
    return old


def text(rng: Random, old: str) -> str:
    """An edited string."""
    at = rng.randrange(len(old) + 1)
    match rng.randrange(6):
        case 0:
            return rng.choice(NAMES)
        case 1:
            return old[:at] + rng.choice((*NAMES, "-1", "0", "1", "9" * 20, ":", "[", "x", ",", " ", "@")) + old[at:]
        case 2:
            return old[:at] + old[at + 1 :]
        case 3:
            return old * rng.choice((2, 3, 50))
        case 4:
            return old[:at] + str(rng.choice(NUMBERS)) + old[at + 1 :]
    return old.swapcase() if rng.randrange(2) else old[::-1]


def tree(rng: Random, root: Any) -> Any:
    """A copy of a tree of JSON with one place edited: another value, dropped, renamed, nested, or that of another."""
    top = [json.loads(json.dumps(root))] if isinstance(root, dict | list) else [root]
    spots = places(top)
    node, key = rng.choice(spots)
    match rng.randrange(8):
        case 0 | 1 | 2 | 3:
            node[key] = value(rng, node[key])
        case 4:
            del node[key]
        case 5 if isinstance(node, dict):
            node[text(rng, key)] = node.pop(key)
        case 5:
            node.insert(key, node[key])
        case 6:
            other, its = rng.choice(spots)
            if (isinstance(other, dict) and its in other) or (isinstance(other, list) and its < len(other)):
                node[key] = json.loads(json.dumps(other[its]))
        case 7:
            nested = node[key]
            for _ in range(rng.choice((1, 3, 60))):
                nested = [nested] if rng.randrange(2) else {rng.choice(NAMES): nested}
            node[key] = nested
    return top[0] if top else None


def written(root: Any, ascii: bool = True) -> bytes:
    """JSON of a tree, with what only strangers write in place of its marks."""
    out = json.dumps(root, ensure_ascii=ascii)
    for i, raw in enumerate(RAW):
        out = out.replace(f'"{PLACE % i}"', raw)
    return out.encode("utf-8", "surrogatepass")


def json_file(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """A file that is one tree of JSON."""
    root = json.loads(rng.choice(seeds))
    for _ in range(rng.choice(ROUNDS)):
        root = tree(rng, root)
    data = written(root, bool(rng.randrange(2)))
    return blob(rng, data, PUNCTUATION) if rng.random() < BROKEN else data
