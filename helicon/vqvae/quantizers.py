"""Quantizers: continuous latents to one of K codes at each place of a grid, trained in one of several ways.

Shapes: B batch, D latent channels, `x` any number of grid axes, N = B x places, K codes.
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
    """latents [B, D, x] for the decoder, codes int64 [B, x], and the quantizer's own loss, a scalar."""

    latents: Tensor
    codes: Tensor
    loss: Tensor


class Quantizer(nn.Module, ABC):
    """What a codec asks of a quantizer.

    codebook_size: codes there are. inputs: channels it takes from the encoder. outputs: channels it gives the decoder.
    progress: share of the training that is done, which the trainer keeps up to date.
    TRANSIENT: names of the buffers that only training needs, which are not kept with a codec.
    """

    TRANSIENT: ClassVar[tuple[str, ...]] = ()

    def __init__(self, codebook_size: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.codebook_size, self.inputs, self.outputs, self.progress = codebook_size, inputs, outputs, 0.0

    @property
    def started(self) -> bool:
        """Whether there is a codebook yet; until then codes mean nothing."""
        return True

    @abstractmethod
    def forward(self, z_BDx: Tensor) -> Quantized:
        """Latents through the bottleneck, with a gradient; in training mode it learns."""

    @abstractmethod
    def encode(self, z_BDx: Tensor) -> Tensor:
        """Codes int64 [B, x]."""

    @abstractmethod
    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Latents [B, outputs, x] of codes."""


MakeQuantizer = Callable[["QuantizerConfig", "QuantizerLearning"], Quantizer]
QUANTIZERS: Registry[MakeQuantizer] = Registry("quantizer")


def register_quantizer(name: str) -> Callable[[MakeQuantizer], MakeQuantizer]:
    """Decorates what makes a quantizer, `--model.quantizer NAME`.

    Args:
        name: of the quantizer.

    Returns:
        A decorator of a class, or of a function: `make(config, learning)` with the QuantizerConfig of a codec and the
        QuantizerLearning of its training gives a Quantizer.

    Raises:
        PluginError: for a name that another one has.
    """
    return lambda make: QUANTIZERS.register(name, make)


@register_quantizer("ema")
def _ema(config: QuantizerConfig, learning: QuantizerLearning) -> Quantizer:
    return EMAQuantizer(config.codes, config.code_width, learning.decay, learning.commitment, learning.rare)


class EMAQuantizer(Quantizer):
    """A codebook that follows the mean of the latents it is nearest to (appendix A.1, arXiv:1711.00937).

    Begins with k-means on latents gathered over several batches (until then latents pass as they are), and moves codes
    that hardly any latent is nearest to onto latents seen lately, until the last fifth of the training, so that codes
    stand still for the model that learns them. In float32 whatever the precision around it.
    """

    START, ROUNDS, LAPLACE = 20, 10, 1e-5  # latents a code and rounds of k-means to begin with; Laplace's epsilon
    SETTLED = 0.8  # progress from which no code moves
    TRANSIENT = ("sums", "recent", "seen")

    def __init__(
        self, codes: int, width: int, decay: float = 0.99, commitment: float = 0.25, rare: float = 0.1
    ) -> None:  # fmt: skip
        """rare: share of the mean size below which a code moves; more of it makes codes more equally used."""
        super().__init__(codes, width, width)
        self.decay, self.commitment, self.rare = decay, commitment, rare
        self.codebook: Tensor
        self.sums: Tensor
        self.sizes: Tensor
        self.recent: Tensor
        self.seen: Tensor
        self.register_buffer("codebook", torch.zeros(codes, width))
        self.register_buffer("sums", torch.zeros(codes, width))
        self.register_buffer("sizes", torch.zeros(codes))
        self.register_buffer("recent", torch.zeros(self.START * codes, width))  # a ring of latents
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))  # latents put into it so far
        self._started = False  # as far as one knows: once it has, no GPU is waited for to tell

    @property
    def started(self) -> bool:
        """Whether there is a codebook yet."""
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
            if not self.started and int(self.seen) >= len(self.recent):
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
        """Nearest codes int64 [B, x]."""
        z_BxD = rearrange(z_BDx.float(), "b d ... -> b ... d")
        return nearest(z_BxD.flatten(0, -2), self.codebook).view(z_BxD.shape[:-1])

    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Rows of the codebook, [B, D, x]."""
        return rearrange(self.codebook[codes_Bx], "b ... d -> b d ...")

    @torch.no_grad()
    def _remember(self, z_ND: Tensor) -> None:
        """Puts latents into the ring; of a large batch as many as a quarter of it holds, chosen at random."""
        room = len(self.recent) // 4
        z_ND = z_ND[torch.randperm(len(z_ND), device=z_ND.device)[:room]]
        places = (self.seen + torch.arange(len(z_ND), device=z_ND.device)) % len(self.recent)
        self.recent[places] = z_ND
        self.seen += len(z_ND)

    @torch.no_grad()
    def _start(self, latents: int) -> None:
        """K-means. Sizes are those that a batch of so many latents, on each process, has, as the averages will be."""
        found = kmeans(self.recent, random_rows(self.recent, self.codebook_size), rounds=self.ROUNDS)
        batch = found.mass.new_tensor(latents / len(self.recent))
        _over_processes(batch)
        self.codebook.copy_(_from_first(found.centroids))
        self.sizes.copy_(_from_first(found.mass.clamp(min=1)) * batch)
        self.sums.copy_(self.codebook * self.sizes[:, None])

    @torch.no_grad()
    def _follow(self, z_ND: Tensor, codes_N: Tensor) -> None:
        """One step of the moving averages, then rare codes are moved: in this order, or the step would undo it."""
        counts_K = torch.zeros_like(self.sizes).index_add_(0, codes_N, torch.ones_like(codes_N, dtype=torch.float32))
        sums_KD = torch.zeros_like(self.sums).index_add_(0, codes_N, z_ND)
        for statistic in (counts_K, sums_KD):
            _over_processes(statistic)
        self.sizes.lerp_(counts_K, 1 - self.decay)
        self.sums.lerp_(sums_KD, 1 - self.decay)
        if self.progress < self.SETTLED:
            mean = counts_K.sum() / self.codebook_size
            rare_K = self.sizes < self.rare * mean
            picked = torch.randint(len(self.recent), (self.codebook_size,), device=self.recent.device)
            fresh_KD = _from_first(self.recent[picked])
            self.sizes.copy_(torch.where(rare_K, mean, self.sizes))
            self.sums.copy_(torch.where(rare_K[:, None], fresh_KD * mean, self.sums))
        total = self.sizes.sum()
        smoothed_K = (self.sizes + self.LAPLACE) / (total + self.codebook_size * self.LAPLACE) * total
        self.codebook.copy_(self.sums / smoothed_K[:, None])


@register_quantizer("gumbel")
def _gumbel(config: QuantizerConfig, learning: QuantizerLearning) -> Quantizer:
    return GumbelQuantizer(config.codes, config.code_width, learning.kl)


class GumbelQuantizer(Quantizer):
    """DALL·E's discrete VAE (arXiv:2102.12092, section 2.1): a relaxed one-hot choice, ever harder; codes by argmax.

    tau falls from 1 to 1/16 by a cosine over the training; the divergence from uniform codes rises to weight `kl`
    over the first fifth. It is a mean over places, whatever the batch. Nothing in it makes the encoder use more than a
    few codes, so what a whole batch lacks of using all of them equally counts too, as in wav2vec 2.0 (arXiv:2006.11477,
    eq. 4).
    """

    COLDEST, RAMP = 1 / 16, 0.2
    SHARP = 5.0  # logits an output of 1 stands for: a fresh encoder's would drown in Gumbel noise, and learn slowly

    def __init__(self, codes: int, width: int, kl: float = 1e-3, diversity: float = 0.02) -> None:
        super().__init__(codes, codes, width)
        self.kl, self.diversity = kl, diversity
        self.codebook = nn.Parameter(torch.randn(codes, width) / width**0.5)

    @property
    def tau(self) -> float:
        """Temperature of the relaxation."""
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
        """Likeliest codes int64 [B, x]."""
        return z_BDx.argmax(1)

    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Rows of the codebook, [B, D, x]."""
        return rearrange(self.codebook[codes_Bx], "b ... d -> b d ...")


@register_quantizer("fsq")
def _fsq(config: QuantizerConfig, learning: QuantizerLearning) -> Quantizer:
    return FSQuantizer(config.levels)


class FSQuantizer(Quantizer):
    """Finite scalar quantization (arXiv:2309.15505): each channel rounded to one of its levels; nothing to collapse."""

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
        """Digits 0 .. level-1 with a straight-through gradient, and the halves they are centred by; [B, D, x]."""
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
        """Codes int64 [B, x]: the digits in mixed radix, first channel least."""
        return self._codes(self._digits(z_BDx)[0])

    def decode(self, codes_Bx: Tensor) -> Tensor:
        """Digits scaled to [-1, 1], [B, D, x]."""
        digits_BxD = codes_Bx[..., None] // self.strides % self.levels
        return rearrange(digits_BxD / ((self.levels - 1) / 2) - 1, "b ... d -> b d ...")


def _over_processes(statistic: Tensor) -> None:
    """Sums over all processes, in place."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(statistic)


def _from_first(tensor: Tensor) -> Tensor:
    """The first process' tensor on every process."""
    if dist.is_available() and dist.is_initialized():
        dist.broadcast(tensor, 0)
    return tensor
