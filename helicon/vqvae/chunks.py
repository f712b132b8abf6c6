"""Networks on items of any length: long items in chunks, short ones batched, each with the result it has alone.

A code covers `width` positions of the input and gives `output_width` positions of the output. It depends on `halo`
codes to either side at most (the receptive field).

Shapes: B items of a batch, `n` positions of an item, its last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LIKE = 7 / 8  # length of an item as a share of the longest in its batch, at least: bounds the padding to 1/8


class Chunk(NamedTuple):
    """Part of an item: codes `first` up to `last` are computed from the codes `start` up to `end`.

    Attributes:
        item: index of the item.
        start: first code that is seen, `halo` before `first` or the item's beginning.
        first: first code of the result.
        last: end of the result, exclusive.
        end: end of what is seen, exclusive: `halo` after `last`, or the item's end.
    """

    item: int
    start: int
    first: int
    last: int
    end: int

    @property
    def codes(self) -> int:
        """Number of codes that are seen, the halo included."""
        return self.end - self.start


def split_item(item: int, codes: int, size: int, halo: int) -> Iterator[Chunk]:
    """Split an item into chunks with overlapping surroundings.

    Args:
        item: index of the item.
        codes: its length in codes.
        size: number of codes of a chunk's result.
        halo: number of codes that are seen to either side, where the item has them.

    Yields:
        `Chunk`s in order; the last one may be shorter.
    """
    for first in range(0, codes, size):
        last = min(first + size, codes)
        yield Chunk(item, max(0, first - halo), first, last, min(codes, last + halo))


def batch_by_length(chunks: Iterable[Chunk], max_codes: int) -> Iterator[list[Chunk]]:
    """Group chunks of similar length into batches.

    Args:
        chunks: `Chunk`s in any order.
        max_codes: number of codes of a batch, padding included; a longer chunk is a batch of its own.

    Yields:
        Batches, lists of `Chunk`s, the longest chunks first.
    """
    batch: list[Chunk] = []
    for chunk in sorted(chunks, key=lambda chunk: -chunk.codes):
        longest = batch[0].codes if batch else chunk.codes
        if batch and ((len(batch) + 1) * longest > max_codes or chunk.codes < LIKE * longest):
            yield batch
            batch = []
        batch.append(chunk)
    if batch:
        yield batch


def map_batches(
    items: Sequence[Tensor], work: Callable[[Tensor, Sequence[int] | None], Tensor], device: torch.device,
    size: int, halo: int, max_codes: int, width: int = 1, output_width: int = 1,
) -> list[list[Tensor]]:  # fmt: skip
    """Apply a network to many items, in batches of chunks of similar length.

    Args:
        items: tensors [..., n] of n positions, a multiple of `width`; lengths may differ.
        work: (batch [B, ..., n] on `device`, B ints, the codes of each item, or None if none is padded) -> [B, ..., m],
            m = codes x `output_width`.
        device: where batches are processed.
        size: number of codes of a chunk's result.
        halo: number of codes that are seen to either side of a chunk.
        max_codes: number of codes of a batch, padding included.
        width: input positions of a code.
        output_width: output positions of a code.

    Returns:
        A list for each item: tensors [..., m], the results of its chunks in order, on the device of the first item.
    """
    chunks = [chunk for i, item in enumerate(items) for chunk in split_item(i, item.shape[-1] // width, size, halo)]
    results: dict[Chunk, Tensor] = {}
    for batch in batch_by_length(chunks, max_codes):
        codes = [chunk.codes for chunk in batch]
        seen = [items[chunk.item][..., chunk.start * width : chunk.end * width] for chunk in batch]
        stacked = torch.stack([F.pad(x, (0, codes[0] * width - x.shape[-1])) for x in seen])
        outputs = work(stacked.to(device), None if codes[-1] == codes[0] else codes).to(items[0].device)
        for chunk, output in zip(batch, outputs):
            first, last = ((code - chunk.start) * output_width for code in (chunk.first, chunk.last))
            results[chunk] = output[..., first:last]
    by_item: list[list[Tensor]] = [[] for _ in items]
    for chunk in chunks:
        by_item[chunk.item].append(results[chunk])
    return by_item


def concatenate(parts: Sequence[Tensor], empty: Tensor) -> Tensor:
    """Concatenate tensors along the last axis.

    Args:
        parts: list of tensors [..., positions], possibly empty; a single one is returned as it is.
        empty: tensor to return where there are no parts.

    Returns:
        Tensor [..., n], n the positions of all parts together.
    """
    return torch.cat(list(parts), -1) if len(parts) > 1 else next(iter(parts), empty)


def rechunk(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Cut a stream of tensors anew along the last axis.

    Args:
        blocks: tensors [..., n], n any number of positions each.
        size: number of positions of an output.

    Yields:
        Tensors [..., size]; the last one may be shorter, but not empty.
    """
    pending: Tensor | None = None
    for block in blocks:
        pending = block if pending is None else torch.cat([pending, block], -1)
        while pending.shape[-1] > size:
            yield pending[..., :size]
            pending = pending[..., size:]
    if pending is not None and pending.shape[-1]:
        yield pending


def map_chunks(
    blocks: Iterable[Tensor], size: int, halo: int, work: Callable[[Tensor, int, int], Tensor]
) -> Iterator[Tensor]:  # fmt: skip
    """Apply a network to a stream, in chunks that see the neighbouring positions.

    The surroundings are those of the stream: nothing is padded but at the stream's two ends.

    Args:
        blocks: consecutive parts of the stream, tensors [..., n], n any number of positions each.
        size: number of positions of a chunk.
        halo: number of positions that are seen to either side.
        work: (chunk with its surroundings [..., positions], first, last) -> result tensor for positions `first` up to
            `last` of it, exclusive.

    Yields:
        Result tensors in order, one a chunk.
    """
    pending: Tensor | None = None
    first = 0  # where the next chunk begins within `pending`
    for block in blocks:
        pending = block if pending is None else torch.cat([pending, block], -1)
        while pending.shape[-1] >= first + size + halo:
            yield work(pending[..., : first + size + halo], first, first + size)
            drop = max(0, first + size - halo)
            pending, first = pending[..., drop:], first + size - drop
    while pending is not None and first < pending.shape[-1]:
        last = min(first + size, pending.shape[-1])
        yield work(pending[..., : last + halo], first, last)
        drop = max(0, last - halo)
        pending, first = pending[..., drop:], last - drop
