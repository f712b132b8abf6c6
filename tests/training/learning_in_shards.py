"""A GPT learns in two processes, each with a part of its weights; imports little, for each process imports it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from helicon.gpt.model import GPT, GPTConfig
from helicon.sequence.layout import PatternContext
from helicon.training.learning.optimizers import MuonAdamW
from helicon.training.learning.sharding import full_tensor, gather_full, shard, unsharded

SHAPES = [
    GPTConfig(layers=2, width=12, heads=2),
    GPTConfig(layers=3, width=12, heads=3, mlp="swiglu", norm="rms", tied=False, bias=False, qk_norm=True),
]
ROWS, PLACES = 17, 5  # odd: the processes' parts differ in size


def make(shape: GPTConfig) -> GPT:
    torch.manual_seed(0)
    gpt = GPT(shape, ROWS, PLACES).double()
    gpt.checkpoint = not shape.tied
    return gpt


def learn(gpt: GPT, share: slice = slice(None)) -> list[float]:
    """Gradient norms of three steps, on batches of which a process has a share."""
    matrices = [p for name, p in gpt.named_parameters() if name.startswith("layers") and p.dim() == 2]
    rest = [p for name, p in gpt.named_parameters() if not name.startswith("layers") or p.dim() < 2]
    optimizer, norms = MuonAdamW(matrices, rest, lr=0.01, weight_decay=0.1, beta2=0.98), []
    for step in range(3):
        draw = torch.Generator().manual_seed(step)
        ids = torch.randint(0, ROWS, (4, 9), generator=draw)[share]
        places = torch.randint(0, PLACES, (4, 8, 2), generator=draw)[share]
        logits = gpt.logits(gpt(ids[:, :-1], places, PatternContext()), slice(0, ROWS))
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        norms.append(float(full_tensor(torch.nn.utils.clip_grad_norm_(gpt.parameters(), 1.0))))
        optimizer.step()
        optimizer.zero_grad()
    return norms


def one_of_two(rank: int, folder: Path) -> None:
    """Learns with whole weights, which is the oracle, and with a process' part of them."""
    torch.set_num_threads(1)
    alone = [make(shape) for shape in SHAPES]
    expected = [learn(gpt) for gpt in alone]
    dist.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=2)
    for shape, oracle, norms in zip(SHAPES, alone, expected):
        gpt = make(shape)
        shard(gpt, init_device_mesh("cpu", (2,)))
        assert all(len(part.to_local()) < len(part) for part in cast(Any, gpt.parameters()))
        torch.testing.assert_close(learn(gpt, slice(rank, None, 2)), norms, atol=1e-6, rtol=0)
        torch.testing.assert_close(
            gather_full(gpt.state_dict(), keep=True), dict(oracle.state_dict()), atol=1e-6, rtol=0
        )
        copy = unsharded(gpt, lambda: make(shape), keep=rank == 0)  # noqa: B023
        if rank == 0:
            torch.testing.assert_close(copy.state_dict(), oracle.state_dict(), atol=1e-6, rtol=0)
    dist.destroy_process_group()
    (folder / f"passed-{rank}").touch()
