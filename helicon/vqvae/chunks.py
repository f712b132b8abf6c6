"""Rows of any length, long ones in chunks and several short ones in a batch, each as it would be alone and whole.

A code stands for `width` places of what it is made of and gives `made_width` places of what it is made into. It depends
on `halo` codes to either side at most.

Shapes: B rows of a batch, `n` places of a row, its last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LIKE = 7 / 8  # how long a row is at least, for the longest of its batch


class Chunk(NamedTuple):
    """Codes `first` up to `last` of an item, which are made of what is there from `start` up to `end`."""

    item: int
    start: int
    first: int
    last: int
    end: int

    @property
    def codes(self) -> int:
        """As many as are seen."""
        return self.end - self.start


def stretches(item: int, codes: int, size: int, halo: int) -> Iterator[Chunk]:
    """An item of so many codes in chunks of `size`."""
    for first in range(0, codes, size):
        last = min(first + size, codes)
        yield Chunk(item, max(0, first - halo), first, last, min(codes, last + halo))


def batches(parts: Iterable[Chunk], most: int) -> Iterator[list[Chunk]]:
    """The same, longest first: some of like length at a time, of `most` codes in all, padding included, or one."""
    batch: list[Chunk] = []
    for part in sorted(parts, key=lambda part: -part.codes):
        longest = batch[0].codes if batch else part.codes
        if batch and ((len(batch) + 1) * longest > most or part.codes < LIKE * longest):
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch


def together(
    items: Sequence[Tensor], work: Callable[[Tensor, Sequence[int] | None], Tensor], device: torch.device,
    size: int, halo: int, most: int, width: int = 1, made_width: int = 1,
) -> list[list[Tensor]]:  # fmt: skip
    """work(batch [B, ..., n] on a device, codes of each row if some are padded), in chunks of `size` of every item.

    The chunks' results of each item come back to where the first item is. most: codes that are worked on at a time.
    """
    parts = [part for i, item in enumerate(items) for part in stretches(i, item.shape[-1] // width, size, halo)]
    made: dict[Chunk, Tensor] = {}
    for batch in batches(parts, most):
        codes = [part.codes for part in batch]
        seen = [items[part.item][..., part.start * width : part.end * width] for part in batch]
        stacked = torch.stack([F.pad(x, (0, codes[0] * width - x.shape[-1])) for x in seen])
        rows = work(stacked.to(device), None if codes[-1] == codes[0] else codes).to(items[0].device)
        for part, row in zip(batch, rows):
            first, last = ((place - part.start) * made_width for place in (part.first, part.last))
            made[part] = row[..., first:last]
    found: list[list[Tensor]] = [[] for _ in items]
    for part in parts:
        found[part.item].append(made[part])
    return found


def joined(parts: Sequence[Tensor], none: Tensor) -> Tensor:
    """One row of its parts, or `none` where there are none."""
    return torch.cat(list(parts), -1) if len(parts) > 1 else next(iter(parts), none)


def blocks_of(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same along the last axis in blocks of `size`; the last one may be shorter."""
    held: Tensor | None = None
    for block in blocks:
        held = block if held is None else torch.cat([held, block], -1)
        while held.shape[-1] > size:
            yield held[..., :size]
            held = held[..., size:]
    if held is not None and held.shape[-1]:
        yield held


def chunks(
    blocks: Iterable[Tensor], size: int, halo: int, work: Callable[[Tensor, int, int], Tensor]
) -> Iterator[Tensor]:  # fmt: skip
    """work(chunk with its surroundings, first, last) for each stretch of `size`, seen with `halo` around it.

    The surroundings are what is really there: chunks are cut at the ends of the whole, nowhere else.
    """
    held: Tensor | None = None
    first = 0  # within `held`, where the next stretch begins
    for block in blocks:
        held = block if held is None else torch.cat([held, block], -1)
        while held.shape[-1] >= first + size + halo:
            yield work(held[..., : first + size + halo], first, first + size)
            drop = max(0, first + size - halo)
            held, first = held[..., drop:], first + size - drop
    while held is not None and first < held.shape[-1]:
        last = min(first + size, held.shape[-1])
        yield work(held[..., : last + halo], first, last)
        drop = max(0, last - halo)
        held, first = held[..., drop:], last - drop
