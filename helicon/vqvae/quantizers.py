"""Quantizers: continuous latents to one of K codes at each position of a grid; EMA, Gumbel and finite scalar.

Shapes: B batch, D latent channels, `x` any number of grid axes, N = B x grid positions, K codes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import log, prod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from helicon.plugins.registry import Registry
from helicon.vqvae.kmeans import kmeans, nearest, random_rows

if TYPE_CHECKING:
    from helicon.vqvae.config import QuantizerConfig, QuantizerLearning


class Quantized(NamedTuple):
    """Output of a quantizer in training.

    Attributes:
        latents: quantized latents [B, D, x], the input of the decoder.
        codes: int64 [B, x].
        loss: of the quantizer, a scalar; 0 where it has none.
    """

    latents: Tensor
    codes: Tensor
    loss: Tensor


class Quantizer(nn.Module, ABC):
    """Base class of quantizers.

    Attributes:
        codebook_size: number of codes.
        inputs: channels of the latents from the encoder.
        outputs: channels of the quantized latents for the decoder.
        progress: share of the training that is done, 0 to 1; set by the trainer.
        TRANSIENT: names of the buffers that only training needs; they are not stored with a codec.
    """

    TRANSIENT: ClassVar[tuple[str, ...]] = ()

    def __init__(self, codebook_size: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.codebook_size, self.inputs, self.outputs, self.progress = codebook_size, inputs, outputs, 0.0

    @property
    def started(self) -> bool:
        """True once there is a codebook; until then codes are meaningless."""
        return True

    @abstractmethod
    def forward(self, z_BDx: Tensor) -> Quantized:
        """Quantize latents [B, inputs, x] on any grid axes `x` to a `Quantized`, with a gradient.

        In training mode the codebook is updated, too.
        """

    @abstractmethod
    def encode(self, z_BDx: Tensor) -> Tensor:
        """Encode latents [B, inputs, x] on any grid axes `x` to codes int64 [B, x], below `codebook_size`."""

    @abstractmethod
    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Look up the quantized latents [B, outputs, x] of codes int64 [B, x] on any grid axes `x`."""


MakeQuantizer = Callable[["QuantizerConfig", "QuantizerLearning"], Quantizer]
# Name, a value of --model.quantizer -> function (config, learning) -> quantizer
QUANTIZERS: Registry[MakeQuantizer] = Registry("quantizer")


def register_quantizer(name: str) -> Callable[[MakeQuantizer], MakeQuantizer]:
    """Register a quantizer, for `--model.quantizer NAME`.

    Args:
        name: of the quantizer, as typed after `--model.quantizer`.

    Returns:
        A decorator of a class or function, called as `make(config, learning)` with the QuantizerConfig of a codec and
        the QuantizerLearning of its training; it returns a Quantizer.

    Raises:
        PluginError: the name is taken.
    """
    return lambda make: QUANTIZERS.register(name, make)


@register_quantizer("ema")
def _ema(config: QuantizerConfig, learning: QuantizerLearning) -> Quantizer:
    return EMAQuantizer(config.codes, config.code_width, learning.decay, learning.commitment, learning.rare)


class EMAQuantizer(Quantizer):
    """Vector quantizer with a codebook of moving averages (appendix A.1, arXiv:1711.00937), in float32 throughout.

    Deviations: the codebook starts by k-means on the latents of several batches, which until then pass unquantized; and
    dead codes are replaced by recent latents, until SETTLED, so that the codebook has converged when training ends.
    """

    START, ROUNDS = 20, 10  # latents a code gathered for the first k-means, and its rounds
    LAPLACE = 1e-5  # epsilon of the smoothed cluster sizes, as in the reference implementation (Sonnet)
    SETTLED = 0.8  # progress from which dead codes are no longer replaced
    TRANSIENT = ("embed_avg", "latent_buffer", "latents_seen")

    def __init__(
        self, codes: int, codebook_dim: int, decay: float = 0.99, commitment: float = 0.25,
        dead_code_threshold: float = 0.1,
    ) -> None:  # fmt: skip
        """Make a quantizer without a codebook yet.

        Args:
            codes: K.
            codebook_dim: D.
            decay: of the moving averages, for each batch.
            commitment: weight of the commitment loss (beta of eq. 3, arXiv:1711.00937).
            dead_code_threshold: share of the mean cluster size below which a code is replaced; the higher, the more
                equally codes are used.
        """
        super().__init__(codes, codebook_dim, codebook_dim)
        self.decay, self.commitment, self.dead_code_threshold = decay, commitment, dead_code_threshold
        self.codebook: Tensor
        self.embed_avg: Tensor
        self.sizes: Tensor
        self.latent_buffer: Tensor
        self.latents_seen: Tensor
        self.register_buffer("codebook", torch.zeros(codes, codebook_dim))
        self.register_buffer("embed_avg", torch.zeros(codes, codebook_dim))  # moving sum of each code's latents
        # Moving count of each code's latents: elsewhere `cluster_size`, here the name that stored codecs have
        self.register_buffer("sizes", torch.zeros(codes))
        self.register_buffer("latent_buffer", torch.zeros(self.START * codes, codebook_dim))  # ring of recent latents
        self.register_buffer("latents_seen", torch.zeros((), dtype=torch.int64))  # latents written to the ring so far
        self._started = False  # cached once true, since reading the sizes waits for the GPU

    @property
    def started(self) -> bool:
        """True once k-means has made the codebook."""
        self._started = self._started or bool(self.sizes.sum() > 0)
        return self._started

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._started = False

    def forward(self, z_BDx: Tensor) -> Quantized:
        z_BxD = rearrange(z_BDx.float(), "b d ... -> b ... d")
        z_ND = z_BxD.flatten(0, -2)
        if self.training:
            self._remember(z_ND.detach())
            if not self.started and int(self.latents_seen) >= len(self.latent_buffer):
                self._start(len(z_ND))
        if not self.started:
            codes_Bx = torch.zeros_like(z_BxD[..., 0], dtype=torch.int64)
            return Quantized(z_BDx, codes_Bx, z_BDx.new_zeros(()))
        codes_N = nearest(z_ND.detach(), self.codebook)
        codes_Bx = codes_N.view(z_BxD.shape[:-1])
        chosen_BDx = self.decode(codes_Bx)
        if self.training:
            self._follow(z_ND.detach(), codes_N)
        loss = self.commitment * F.mse_loss(z_BDx.float(), chosen_BDx)
        through_BDx = z_BDx + (chosen_BDx - z_BDx.float()).detach().to(z_BDx.dtype)  # straight-through, eq. 2
        return Quantized(through_BDx, codes_Bx, loss)

    def encode(self, z_BDx: Tensor) -> Tensor:
        """Encode latents [B, D, x], D channels on any grid axes `x`, to the nearest codes, int64 [B, x]."""
        z_BxD = rearrange(z_BDx.float(), "b d ... -> b ... d")
        return nearest(z_BxD.flatten(0, -2), self.codebook).view(z_BxD.shape[:-1])

    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Look up codes int64 [B, x] on any grid axes `x` in the codebook: [B, D, x], D channels."""
        return rearrange(self.codebook[codes_Bx], "b ... d -> b d ...")

    @torch.no_grad()
    def _remember(self, z_ND: Tensor) -> None:
        """Write latents to the ring: a random choice, so that one batch fills a quarter of it at most."""
        limit = len(self.latent_buffer) // 4
        z_ND = z_ND[torch.randperm(len(z_ND), device=z_ND.device)[:limit]]
        indices = (self.latents_seen + torch.arange(len(z_ND), device=z_ND.device)) % len(self.latent_buffer)
        self.latent_buffer[indices] = z_ND
        self.latents_seen += len(z_ND)

    @torch.no_grad()
    def _start(self, latents: int) -> None:
        """Make the codebook by k-means, with the cluster sizes of a batch of `latents` latents on each process."""
        clusters = kmeans(self.latent_buffer, random_rows(self.latent_buffer, self.codebook_size), rounds=self.ROUNDS)
        batch = clusters.mass.new_tensor(latents / len(self.latent_buffer))
        _over_processes(batch)
        self.codebook.copy_(_from_first(clusters.centroids))
        self.sizes.copy_(_from_first(clusters.mass.clamp(min=1)) * batch)
        self.embed_avg.copy_(self.codebook * self.sizes[:, None])

    @torch.no_grad()
    def _follow(self, z_ND: Tensor, codes_N: Tensor) -> None:
        """Update the moving averages, then replace dead codes: the other way round the update would undo it."""
        counts_K = torch.zeros_like(self.sizes).index_add_(0, codes_N, torch.ones_like(codes_N, dtype=torch.float32))
        sums_KD = torch.zeros_like(self.embed_avg).index_add_(0, codes_N, z_ND)
        for statistic in (counts_K, sums_KD):
            _over_processes(statistic)
        self.sizes.lerp_(counts_K, 1 - self.decay)
        self.embed_avg.lerp_(sums_KD, 1 - self.decay)
        if self.progress < self.SETTLED:
            mean = counts_K.sum() / self.codebook_size
            dead_K = self.sizes < self.dead_code_threshold * mean
            indices = torch.randint(len(self.latent_buffer), (self.codebook_size,), device=self.latent_buffer.device)
            fresh_KD = _from_first(self.latent_buffer[indices])
            self.sizes.copy_(torch.where(dead_K, mean, self.sizes))
            self.embed_avg.copy_(torch.where(dead_K[:, None], fresh_KD * mean, self.embed_avg))
        total = self.sizes.sum()
        smoothed_K = (self.sizes + self.LAPLACE) / (total + self.codebook_size * self.LAPLACE) * total
        self.codebook.copy_(self.embed_avg / smoothed_K[:, None])


@register_quantizer("gumbel")
def _gumbel(config: QuantizerConfig, learning: QuantizerLearning) -> Quantizer:
    return GumbelQuantizer(config.codes, config.code_width, learning.kl)


class GumbelQuantizer(Quantizer):
    """Gumbel-softmax quantizer of DALL·E's discrete VAE (arXiv:2102.12092, section 2.1); codes by argmax.

    The temperature tau falls from 1 to COLDEST by a cosine; the weight of the KL divergence from uniform codes rises to
    `kl` over RAMP. Deviations: the divergence is a mean over grid positions, not a sum; and since nothing in it makes
    the encoder use many codes, a diversity loss counts, too: how far a batch's mean distribution is from uniform
    (wav2vec 2.0, arXiv:2006.11477, eq. 4).
    """

    COLDEST = 1 / 16  # last temperature, as DALL·E's (appendix A.2)
    RAMP = 0.2  # share of the training over which the KL weight rises
    SHARP = 5.0  # logits an output of 1 stands for: a fresh encoder's would drown in Gumbel noise, and learn slowly

    def __init__(self, codes: int, codebook_dim: int, kl: float = 1e-3, diversity: float = 0.02) -> None:
        """Make a quantizer with a random codebook.

        Args:
            codes: K, also the channels of the encoder's output.
            codebook_dim: D.
            kl: final weight of the KL divergence.
            diversity: weight of the diversity loss.
        """
        super().__init__(codes, codes, codebook_dim)
        self.kl, self.diversity = kl, diversity
        self.codebook = nn.Parameter(torch.randn(codes, codebook_dim) / codebook_dim**0.5)

    @property
    def tau(self) -> float:
        """Temperature of the relaxation, from 1 down to COLDEST; constant over the last fifth of the training."""
        warm = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(1.0, self.progress / 0.8)))).item()
        return self.COLDEST + (1 - self.COLDEST) * warm

    def forward(self, z_BDx: Tensor) -> Quantized:
        logits_BxK = self.SHARP * rearrange(z_BDx.float(), "b k ... -> b ... k")
        codes_Bx = logits_BxK.argmax(-1)
        if self.training:
            weights_BxK = F.gumbel_softmax(logits_BxK, tau=self.tau)
        else:
            weights_BxK = F.one_hot(codes_Bx, self.codebook_size).to(logits_BxK.dtype)
        log_q_BxK = logits_BxK.log_softmax(-1)
        q_BxK, most = log_q_BxK.exp(), log(self.codebook_size)
        divergence = most + (q_BxK * log_q_BxK).sum(-1).mean()
        mean_K = q_BxK.flatten(0, -2).mean(0)
        unused = most + (mean_K * mean_K.clamp(min=1e-12).log()).sum()
        latents_BDx = rearrange(weights_BxK @ self.codebook, "b ... d -> b d ...")
        loss = self.kl * min(1.0, self.progress / self.RAMP) * divergence + self.diversity * unused
        return Quantized(latents_BDx.to(z_BDx.dtype), codes_Bx, loss)

    def encode(self, z_BDx: Tensor) -> Tensor:
        """Encode logits [B, K, x] of K codes on any grid axes `x` to the likeliest codes, int64 [B, x]."""
        return z_BDx.argmax(1)

    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Look up codes int64 [B, x] on any grid axes `x` in the codebook: [B, D, x], D channels."""
        return rearrange(self.codebook[codes_Bx], "b ... d -> b d ...")


@register_quantizer("fsq")
def _fsq(config: QuantizerConfig, learning: QuantizerLearning) -> Quantizer:
    return FSQuantizer(config.levels)


class FSQuantizer(Quantizer):
    """Finite scalar quantizer (arXiv:2309.15505): each channel is rounded to one of its levels.

    There is no codebook to learn, so none can collapse.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        if not levels or any(level < 2 for level in levels):
            raise ValueError(f"levels must be numbers of 2 or more, got {list(levels)}")
        super().__init__(prod(levels), len(levels), len(levels))
        self.levels: Tensor
        self.strides: Tensor
        self.register_buffer("levels", torch.tensor(levels))
        strides = [prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides))

    def _digits(self, z_BDx: Tensor) -> tuple[Tensor, Tensor]:
        """Digits 0 .. level-1 [B, D, x] with a straight-through gradient, and half of each top digit, for centring."""
        shape = (1, -1, *[1] * (z_BDx.dim() - 2))
        top = (self.levels - 1).view(shape)
        bounded = (torch.tanh(z_BDx.float()) + 1) / 2 * top
        return bounded + (bounded.round() - bounded).detach(), top / 2

    def forward(self, z_BDx: Tensor) -> Quantized:
        digits, half = self._digits(z_BDx)
        codes = self._codes(digits)
        return Quantized((digits / half - 1).to(z_BDx.dtype), codes, z_BDx.new_zeros(()))

    def _codes(self, digits_BDx: Tensor) -> Tensor:
        return (rearrange(digits_BDx.detach().round().long(), "b d ... -> b ... d") * self.strides).sum(-1)

    def encode(self, z_BDx: Tensor) -> Tensor:
        """Encode latents [B, D, x], D channels on any grid axes `x`, to codes int64 [B, x].

        The rounded channels are mixed-radix digits of the code, the first channel least significant.
        """
        return self._codes(self._digits(z_BDx)[0])

    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Decode codes int64 [B, x] on any grid axes `x` to their digits, one a channel, [B, D, x] in [-1, 1]."""
        digits_BxD = codes_Bx[..., None] // self.strides % self.levels
        return rearrange(digits_BxD / ((self.levels - 1) / 2) - 1, "b ... d -> b d ...")


def _over_processes(statistic: Tensor) -> None:
    """Sum a statistic over all processes, in place."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(statistic)


def _from_first(tensor: Tensor) -> Tensor:
    """Broadcast the first process' tensor to all, in place."""
    if dist.is_available() and dist.is_initialized():
        dist.broadcast(tensor, 0)
    return tensor
