"""Quantizers: latents to codes and back, and how each of them learns.

Shapes: B batch, D latent channels, `x` grid axes, K codes.
"""

from __future__ import annotations

from math import cosh, log, tanh

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.vqvae.quantizers import EMAQuantizer, FSQuantizer, GumbelQuantizer


def ema_of(codebook_KD: Tensor, sizes: list[float] | float = 1.0, **options: float) -> EMAQuantizer:
    """One that has started, with a size for each code."""
    quantizer = EMAQuantizer(*codebook_KD.shape, **options)
    quantizer.codebook.copy_(codebook_KD)
    quantizer.sizes.copy_(torch.as_tensor(sizes, dtype=torch.float32))
    quantizer.embed_avg.copy_(quantizer.codebook * quantizer.sizes[:, None])
    return quantizer


def test_ema_follows_as_vector_quantize_pytorch_does():
    library = pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(0)
    theirs = library.VectorQuantize(
        dim=4, codebook_size=16, decay=0.9, commitment_weight=0.25, kmeans_init=False, threshold_ema_dead_code=0,
        sync_codebook=False, use_cosine_sim=False, rotation_trick=False, accept_image_fmap=True,
    )  # fmt: skip
    ours = ema_of(theirs.codebook.clone(), decay=0.9, commitment=0.25)
    ours.progress = 1.0  # theirs moves no codes
    for _ in range(6):
        z_BDx = torch.randn(3, 4, 5, 6)
        found, (latents, codes, loss) = ours(z_BDx), theirs(z_BDx)
        assert torch.equal(found.codes, codes)
        torch.testing.assert_close(found.latents, latents, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.loss, loss.squeeze(), atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.codebook, theirs.codebook, atol=1e-5, rtol=0)
        assert torch.equal(ours.encode(z_BDx), theirs.eval()(z_BDx)[1])
        theirs.train()


def test_an_ema_step_in_numbers():
    quantizer = ema_of(torch.tensor([[0.0], [10.0]]), [4.0, 4.0], decay=0.5)
    quantizer.progress = 1.0
    found = quantizer(torch.tensor([1.0, 2.0, 12.0]).view(1, 1, 3))
    assert found.codes.tolist() == [[0, 0, 1]]
    assert found.latents.tolist() == [[[0.0, 0.0, 10.0]]]  # of the codebook before the step
    assert float(found.loss) == pytest.approx(0.25 * (1 + 4 + 4) / 3)
    assert quantizer.sizes.tolist() == [3.0, 2.5]  # halfway to 2 and 1
    assert quantizer.embed_avg.flatten().tolist() == [1.5, 26.0]  # halfway to 3 and 12
    torch.testing.assert_close(quantizer.codebook.flatten(), torch.tensor([0.5, 10.4]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize(("progress", "moves"), [(0.0, True), (0.79, True), (0.8, False), (1.0, False)])
def test_rare_codes_move_after_the_step_until_the_last_fifth(times, progress, moves):
    """Sizes of 1.9 and 2.1 fall to .95 and 1.05 in the step; a tenth of the mean of 10 is 1, whatever the batch."""
    sizes = [12.0 * times, 12.0 * times, 1.9 * times, 2.1 * times]
    quantizer = ema_of(torch.tensor([[0.0], [10.0], [20.0], [30.0]]), sizes, decay=0.5)
    quantizer.progress = progress
    quantizer.latent_buffer.fill_(7.0)
    quantizer(torch.tensor([0.0, 10.0]).repeat(20 * times).view(1, 1, -1))
    seen = {round(x, 3) for x in quantizer.latent_buffer.flatten().tolist()}
    assert seen == {0.0, 7.0, 10.0}
    zero, ten, rare, less_rare = quantizer.codebook.flatten().tolist()
    assert [zero, ten, less_rare] == pytest.approx([0, 10, 30], abs=1e-3)
    if moves:
        assert round(rare, 3) in seen
        assert float(quantizer.sizes[2]) == 10 * times  # as much as the others, so that it is not rare at once
        assert float(quantizer.embed_avg[2]) == pytest.approx(10 * times * rare, rel=1e-4, abs=1e-4)
    else:
        assert rare == pytest.approx(20, abs=1e-3)
        assert float(quantizer.sizes[2]) == pytest.approx(0.95 * times)


def test_starts_by_k_means_once_there_are_twenty_latents_a_code():
    torch.manual_seed(0)
    quantizer = EMAQuantizer(8, 3)
    centres = 10 * torch.randn(8, 3)
    batches = [centres.repeat(5, 1)[torch.randperm(40)] for _ in range(4)]  # 40 of the 160 that are needed
    for z_ND in batches[:3]:
        z_BDx = z_ND.T[None]
        found = quantizer(z_BDx)
        assert not quantizer.started
        assert torch.equal(found.latents, z_BDx)  # as they are
        assert (found.codes.tolist(), float(found.loss)) == ([[0] * 40], 0.0)
    found = quantizer(batches[3].T[None])
    assert quantizer.started
    assert torch.equal(quantizer.latent_buffer.sort(0).values, torch.cat(batches).sort(0).values)
    # From random rows Lloyd's rounds may join two of the eight
    assert found.codes.unique().numel() >= 6
    assert int((torch.cdist(quantizer.codebook, centres).min(1).values < 1e-3).sum()) >= 5


@pytest.mark.parametrize("latents", [16, 160, 16_000])
def test_sizes_at_the_start_are_those_of_a_batch(latents):
    """Or in a large batch all of them would be rare at once."""
    torch.manual_seed(0)
    quantizer = EMAQuantizer(16, 4)
    while not quantizer.started:
        quantizer(torch.randn(1, 4, latents))
    assert float(quantizer.sizes.sum()) == pytest.approx(latents, rel=1e-4)
    before = quantizer.codebook.clone()
    quantizer(torch.randn(1, 4, latents))
    moved = (quantizer.codebook - before).norm(dim=1) > 0.5
    assert int(moved.sum()) <= 2


def test_nothing_is_learned_out_of_training():
    quantizer = ema_of(torch.tensor([[0.0], [10.0]])).eval()
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    assert quantizer(torch.full((1, 1, 5), 3.0)).codes.tolist() == [[0] * 5]
    assert all(torch.equal(tensor, before[name]) for name, tensor in quantizer.state_dict().items())


def test_all_that_ema_has_learned_is_in_its_state():
    torch.manual_seed(0)
    quantizer, batches = EMAQuantizer(8, 3), torch.randn(12, 4, 3, 10)
    for z_BDx in batches[:6]:
        quantizer(z_BDx)
    assert quantizer.state_dict().keys() == {"codebook", "embed_avg", "sizes", "latent_buffer", "latents_seen"}
    assert not [name for name, value in vars(quantizer).items() if isinstance(value, Tensor)]
    again = EMAQuantizer(8, 3)
    again.load_state_dict(quantizer.state_dict())
    for number, z_BDx in enumerate(batches[6:]):
        for each in (quantizer, again):
            torch.manual_seed(number)
            each(z_BDx)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in quantizer.state_dict().items())


def test_straight_through_gradients():
    ema = ema_of(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), commitment=0.5)
    z_BDx = torch.tensor([[[1.0], [1.0]]], requires_grad=True)
    found, back_BDx = ema(z_BDx), torch.tensor([[[5.0], [7.0]]])
    (through,) = torch.autograd.grad(found.latents, z_BDx, back_BDx, retain_graph=True)
    assert torch.equal(through, back_BDx)
    (pull,) = torch.autograd.grad(found.loss, z_BDx)
    assert pull.tolist() == [[[0.5], [0.5]]]  # .5 * 2 (1 - 0) / 2 channels

    z_BDx = torch.tensor([[[0.3]]], requires_grad=True)
    (slope,) = torch.autograd.grad(FSQuantizer([5])(z_BDx).latents.sum(), z_BDx)
    assert float(slope) == pytest.approx(1 / cosh(0.3) ** 2)  # of tanh, as if nothing were rounded

    gumbel, z_BDx = GumbelQuantizer(4, 2), torch.randn(1, 4, 3, requires_grad=True)
    gumbel(z_BDx).latents.sum().backward()
    assert z_BDx.grad is not None
    assert gumbel.codebook.grad is not None
    assert z_BDx.grad.any()
    assert gumbel.codebook.grad.any()


@pytest.mark.parametrize(("progress", "tau"), [(0, 1), (0.4, 0.53125), (0.8, 0.0625), (1, 0.0625)])
def test_gumbel_temperature_is_a_function_of_the_progress(progress, tau):
    quantizer = GumbelQuantizer(4, 2)
    quantizer.progress = progress
    for _ in range(5):  # however many steps that takes
        quantizer(torch.randn(1, 4, 3))
        assert quantizer.tau == pytest.approx(tau)


@pytest.mark.parametrize(("progress", "share"), [(0, 0), (0.05, 0.25), (0.1, 0.5), (0.2, 1), (0.9, 1)])
def test_gumbel_divergence_rises_over_the_first_fifth(progress, share):
    quantizer = GumbelQuantizer(4, 2, kl=0.3, diversity=0.0)
    quantizer.progress = progress
    sure = 50 * torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1)
    assert float(quantizer(sure).loss) == pytest.approx(0.3 * share * log(4))
    assert float(quantizer(torch.zeros(1, 4, 1)).loss) == pytest.approx(0, abs=1e-6)


def test_gumbel_loss_does_not_depend_on_the_size_of_a_batch():
    torch.manual_seed(0)
    quantizer, z_BDx = GumbelQuantizer(8, 2, kl=0.3, diversity=0.2), torch.randn(2, 8, 3, 3)
    quantizer.progress = 1.0
    one, many = quantizer(z_BDx).loss, quantizer(z_BDx.repeat(7, 1, 1, 1)).loss
    torch.testing.assert_close(one, many)
    torch.testing.assert_close(one, quantizer(z_BDx.repeat(1, 1, 2, 1)).loss)
    assert float(one) > 0


def test_gumbel_diversity_is_of_the_whole_batch():
    quantizer = GumbelQuantizer(4, 2, kl=0.0, diversity=0.2)
    same, each = 50 * torch.eye(4)[:1].repeat(4, 1), 50 * torch.eye(4)
    assert float(quantizer(same[:, :, None]).loss) == pytest.approx(0.2 * log(4))
    assert float(quantizer(each[:, :, None]).loss) == pytest.approx(0, abs=1e-6)


def test_gumbel_codes_are_the_likeliest():
    torch.manual_seed(0)
    quantizer, z_BDx = GumbelQuantizer(8, 3), torch.randn(2, 8, 4, 5)
    found = quantizer(z_BDx)
    assert torch.equal(found.codes, z_BDx.argmax(1))
    assert torch.equal(quantizer.encode(z_BDx), found.codes)
    assert torch.equal(quantizer.eval()(z_BDx).latents, quantizer.decode(found.codes))


def test_fsq_in_numbers():
    """Three levels and two: digits in mixed radix, the first channel least."""
    quantizer = FSQuantizer([3, 2])
    assert quantizer.codebook_size == 6
    z_BDx = torch.tensor([[-9.0, -9.0], [0.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [0.1, 0.1], [9.0, 9.0]]).T[None]
    found = quantizer(z_BDx)
    assert found.codes.tolist() == [[0, 1, 2, 3, 4, 5]]
    scaled = [[-1, -1], [0, -1], [1, -1], [-1, 1], [0, 1], [1, 1]]
    assert quantizer.decode(found.codes)[0].T.tolist() == scaled
    torch.testing.assert_close(found.latents, quantizer.decode(found.codes))
    assert float(found.loss) == 0
    edge = 0.5493  # tanh of it is .5: digit (.5 + 1) / 2 * 2 = 1.5
    assert tanh(edge) == pytest.approx(0.5, abs=1e-4)
    assert quantizer.encode(torch.tensor([[[edge - 0.01, edge + 0.01], [-9, -9]]])).tolist() == [[1, 2]]


@pytest.mark.parametrize("levels", [[], [1], [4, 0]])
def test_levels_that_quantize_nothing_are_refused(levels):
    with pytest.raises(ValueError, match="levels must be numbers of 2 or more"):
        FSQuantizer(levels)


def meaning(quantizer: nn.Module, codes: Tensor) -> Tensor:
    """Latents of an encoder that mean these codes."""
    if isinstance(quantizer, GumbelQuantizer):
        return F.one_hot(codes, quantizer.codebook_size).float().movedim(-1, 1)
    latents = quantizer.decode(codes)  # type: ignore[operator]
    return torch.atanh(latents * 0.999) if isinstance(quantizer, FSQuantizer) else latents


@pytest.mark.parametrize(
    "make",
    [
        lambda: ema_of(torch.randn(240, 4)),
        lambda: GumbelQuantizer(240, 4),
        *(lambda levels=levels: FSQuantizer(levels) for levels in ([8, 6, 5], [2], [3, 2, 4, 2, 5])),
    ],
)
def test_every_code_comes_back(make):
    torch.manual_seed(0)
    quantizer = make().eval()
    codes = torch.arange(quantizer.codebook_size).view(1, 2, -1)
    latents = quantizer.decode(codes)
    assert latents.shape == (1, quantizer.outputs, *codes.shape[1:])
    z_BDx = meaning(quantizer, codes)
    assert z_BDx.shape[1] == quantizer.inputs
    assert torch.equal(quantizer.encode(z_BDx), codes)
    found = quantizer(z_BDx)
    assert torch.equal(found.codes, codes)
    torch.testing.assert_close(found.latents, latents)
