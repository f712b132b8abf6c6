"""The codec as a network: shapes, no item that depends on another, dropped codes, likelihoods, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Laplace, SigmoidTransform, TransformedDistribution

from helicon.evaluation.losses import codebook_figures
from helicon.vqvae.codec import ImageCodec, make_quantizer
from helicon.vqvae.config import ImageCodecConfig, QuantizerLearning
from helicon.vqvae.likelihoods import LIKELIHOODS
from helicon.vqvae.quantizers import EMAQuantizer, GumbelQuantizer

QUANTIZERS = ["ema", "gumbel", "fsq"]
LEVELS = (4, 2, 2)  # 16 codes


def small(seed: int = 0, **options) -> ImageCodec:
    """Sixteen codes, untrained; of ema they are drawn at random."""
    torch.manual_seed(seed)
    codec = ImageCodec(
        ImageCodecConfig(**{"width": 16, "blocks": 1, "codes": 16, "code_width": 4, "levels": LEVELS, **options})
    )
    if isinstance(codec.quantizer, EMAQuantizer):
        codec.quantizer.codebook.normal_()
        codec.quantizer.sizes.fill_(1)
        codec.quantizer.embed_avg.copy_(codec.quantizer.codebook)
    return codec.eval()


def pictures(count: int, height: int = 32, width: int = 32) -> Tensor:
    """Noise in [-1, 1]."""
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_shapes(factor, likelihood):
    codec, media = small(factor=factor, likelihood=likelihood), pictures(2, 32, 48)
    codes = codec.encode(media)
    assert (codes.shape, codes.dtype) == ((2, 32 // factor, 48 // factor), torch.int64)
    assert 0 <= int(codes.min()) <= int(codes.max()) < codec.codebook_size == 16
    decoded = codec.decode(codes)
    assert decoded.shape == media.shape
    assert -1 <= float(decoded.min()) <= float(decoded.max()) <= 1
    seen = codec(media)
    assert (seen.media.shape, seen.loss.shape) == (media.shape, ())
    assert torch.equal(seen.codes, codes)
    torch.testing.assert_close(seen.media.clamp(-1, 1), decoded, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("width", "factor"), [(8, 16), (24, 4), (40, 16)])
def test_any_width_that_is_a_multiple_of_8(width, factor):
    codec = small(width=width, factor=factor)
    assert codec.decode(codec.encode(pictures(1))).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1}, "factor 1: a whole number from 2 to"),
        ({"factor": 6}, "factor must be .* got 6"),
        ({"width": 12}, "width must be a multiple of 8"),
        ({"width": 0}, "width 0: a whole number from 1 to"),
        ({"codes": 1}, "codes 1: a whole number from 2 to"),
        ({"code_width": 0}, "code_width 0: a whole number from 1 to"),
        ({"blocks": -1}, "blocks -1: a whole number from 0 to"),
        ({"quantizer": "lfq"}, "unknown quantizer 'lfq'; nearest: fsq"),
        ({"likelihood": "l3"}, "likelihood 'l3' is not one of l2, l1, logit-laplace"),
    ],
)
def test_shapes_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImageCodecConfig(**options)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_picture_alone_has_the_codes_it_has_among_others(quantizer):
    codec, media = small(quantizer=quantizer, factor=4), pictures(5)
    codes = codec.encode(media)
    alone = torch.cat([codec.encode(picture[None]) for picture in media])
    assert torch.equal(alone, codes)
    decoded = torch.cat([codec.decode(grid[None]) for grid in codes])
    torch.testing.assert_close(decoded, codec.decode(codes), atol=1e-5, rtol=0)


def test_no_network_mixes_pictures_in_training_either():
    codec, media = small(factor=4).double().train(), pictures(4).double()
    latents = torch.randn(4, 4, 8, 8).double()
    for network, given in ((codec.encoder, media), (codec.decoder, latents)):
        alone = torch.cat([network(item[None]) for item in given])
        torch.testing.assert_close(network(given), alone, atol=1e-12, rtol=0)
        given = given.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(given)[0].sum(), given)
        assert slope[0].any()
        assert not slope[1:].any()


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_dropped_codes_go_to_the_nearest_that_is_kept(quantizer):
    codec, media = small(quantizer=quantizer, factor=4), pictures(3)
    before = codec.encode(media)
    rows = codec.quantizer.decode(torch.arange(16)).detach()
    used = torch.zeros(16, dtype=torch.bool)
    used[[1, 4, 5, 11, 15]] = True
    codec.keep(used)
    assert codec.codebook_size == 5
    assert torch.equal(codec.quantizer.decode(codec.kept[torch.arange(5)]), rows[[1, 4, 5, 11, 15]])
    distances = (rows[:, None] - rows[[1, 4, 5, 11, 15]]).square().sum(-1)
    torch.testing.assert_close(  # of equally near ones (fsq has some) either will do
        distances.gather(1, codec.renumbered[:, None])[:, 0], distances.min(1).values
    )
    assert codec.renumbered[[1, 4, 5, 11, 15]].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(codec.encode(media), codec.renumbered[before])

    codec.keep(torch.tensor([False, True, False, True, True]))  # of what is left: 4, 11 and 15
    assert codec.kept.tolist() == [4, 11, 15]
    assert codec.encode(media).max() < 3
    assert torch.equal(codec.quantizer.decode(codec.kept[codec.renumbered[4:5]]), rows[4:5])


@pytest.mark.parametrize("used", [torch.zeros(16).bool(), torch.ones(15).bool()])
def test_some_code_must_be_left(used):
    with pytest.raises(ValueError, match="used must be 16 booleans, some of them true"):
        small().keep(used)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_bfloat16_around_it(quantizer, likelihood):
    codec, media = small(quantizer=quantizer, likelihood=likelihood).train(), pictures(4, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = codec(media)
        codes = codec.encode(media)
        decoded = codec.decode(codes)
        latents = codec.encoder(media)
    assert latents.dtype == torch.bfloat16
    assert seen.loss.dtype == decoded.dtype == torch.float32
    seen.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in codec.parameters())
    assert torch.equal(codes, codec.quantizer.encode(latents))


def test_logit_laplace_is_that_of_torch_distributions():
    torch.manual_seed(0)
    media, out = pictures(2, 4, 4), torch.randn(2, 6, 4, 4)
    location, log_scale = out[:, :3], out[:, 3:]
    density = TransformedDistribution(Laplace(location, log_scale.exp()), [SigmoidTransform()])
    expected = -density.log_prob(0.1 + 0.8 * (media + 1) / 2).mean()
    torch.testing.assert_close(LIKELIHOODS["logit-laplace"].loss(out, media), expected)


def test_means_are_what_the_outputs_stand_for():
    media = torch.linspace(-1, 1, 11).view(1, 1, 11).expand(1, 3, 11)
    logits = torch.cat([torch.logit(0.1 + 0.4 * (media + 1)), torch.randn(1, 3, 11)], dim=1)
    torch.testing.assert_close(LIKELIHOODS["logit-laplace"].mean(logits), media)
    for name in ("l1", "l2"):
        assert torch.equal(LIKELIHOODS[name].mean(media), media)
    two = torch.zeros(1, 3, 11)
    assert float(LIKELIHOODS["l2"].loss(two + 0.5, two)) == 0.25
    assert float(LIKELIHOODS["l1"].loss(two + 0.5, two)) == 0.5


def stripes() -> Tensor:
    """Sixteen pictures of 16 x 16: two colours, split somewhere, across or down."""
    generator = torch.Generator().manual_seed(0)
    media = torch.empty(16, 3, 16, 16)
    for number, picture in enumerate(media):
        colours = torch.randint(2, (2, 3, 1, 1), generator=generator) * 1.6 - 0.8
        picture[:] = colours[0]
        where = 4 * (1 + number % 3)
        (picture[:, :where] if number % 2 else picture[:, :, :where])[:] = colours[1]
    return media


def trained(quantizer: str, likelihood: str, steps: int) -> tuple[ImageCodec, float, float]:
    """A codec of the stripes, its loss at the first step and at the last."""
    torch.manual_seed(0)
    codec = ImageCodec(
        ImageCodecConfig(
            factor=4,
            width=16,
            blocks=1,
            quantizer=quantizer,
            codes=16,
            code_width=4,
            levels=LEVELS,
            likelihood=likelihood,
        ),  # type: ignore[arg-type]
        EMAQuantizer(16, 4, decay=0.9) if quantizer == "ema" else None,
    )
    optimizer = torch.optim.Adam(codec.parameters(), 4e-3)
    losses = []
    for step in range(steps):
        codec.quantizer.progress = step / steps
        loss = codec(stripes()).loss
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return codec.eval(), losses[0], losses[-1]


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_codec_learns_and_uses_its_codes(quantizer):
    codec, media = trained(quantizer, "l2", 100)[0], stripes()
    codes = codec.encode(media)
    left = F.mse_loss(codec.decode(codes), media) / F.mse_loss(media.mean(0).expand_as(media), media)
    usage, perplexity = codebook_figures(torch.bincount(codes.flatten(), minlength=16))
    assert float(left) < 0.15
    assert usage > 0.8
    assert perplexity > 8


def test_logit_laplace_learns():
    _, first, last = trained("fsq", "logit-laplace", 60)
    assert last < first - 0.7  # nats a channel of a pixel


def test_a_quantizer_learns_as_it_is_told():
    shape = ImageCodecConfig(quantizer="ema", codes=8, code_width=4)
    learning = QuantizerLearning(decay=0.9, commitment=0.3, kl=0.5, rare=0.2)
    quantizer = make_quantizer(shape, learning)
    assert isinstance(quantizer, EMAQuantizer)
    assert (quantizer.decay, quantizer.commitment, quantizer.dead_code_threshold) == (0.9, 0.3, 0.2)
    assert tuple(quantizer.codebook.shape) == (8, 4)
    gumbel = make_quantizer(replace(shape, quantizer="gumbel"), learning)
    assert isinstance(gumbel, GumbelQuantizer)
    assert gumbel.kl == 0.5
