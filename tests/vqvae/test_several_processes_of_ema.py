"""Two processes with half of a batch each have one codebook, that of one process with all of it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from helicon.vqvae.quantizers import EMAQuantizer

STEPS, ITEMS = 8, 4


def batches() -> Tensor:
    """Latents [STEPS, ITEMS, D, x] of all processes."""
    return torch.randn(STEPS, ITEMS, 3, 20, generator=torch.Generator().manual_seed(0))


def settled() -> EMAQuantizer:
    """One that has begun, and late in a training: nothing in it is random."""
    quantizer = EMAQuantizer(8, 3, decay=0.8)
    quantizer.codebook.copy_(torch.randn(8, 3, generator=torch.Generator().manual_seed(1)))
    quantizer.sizes.fill_(1)
    quantizer.embed_avg.copy_(quantizer.codebook)
    quantizer.progress = 1.0
    return quantizer


def learn(rank: int, folder: Path) -> None:
    """One of two processes; leaves the states of a quantizer that is settled and of one that starts."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    both = settled(), EMAQuantizer(8, 3, decay=0.5)
    for z_BDx in batches():
        for quantizer in both:
            quantizer(z_BDx[rank::2])
    assert both[1].started
    torch.save([quantizer.state_dict() for quantizer in both], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_have_one_codebook(tmp_path):
    mp.spawn(learn, (tmp_path,), nprocs=2)  # type: ignore[attr-defined]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for mine, other in zip(first, second):
        for name in ("codebook", "embed_avg", "sizes"):
            assert torch.equal(mine[name], other[name])
        assert not torch.equal(mine["latent_buffer"], other["latent_buffer"])  # each of its own latents
    one = settled()
    for z_BDx in batches():
        one(z_BDx)
    for name in ("codebook", "embed_avg", "sizes"):
        torch.testing.assert_close(first[0][name], one.state_dict()[name])
    # Started, too, with the sizes of a batch of both
    assert float(first[1]["sizes"].sum()) > ITEMS * 20 * 0.9
