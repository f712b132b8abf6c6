"""What CUDA's attention kernels ask of their inputs and give, by matrix products: for `pretend_card`.

From PyTorch's sources, aten/src/ATen/native/transformers/cuda: attention.cu, attention_backward.cu,
flash_attn/flash_api.cpp and mem_eff_attention/kernel_backward.h.

Shapes: N batch, H heads, R query rows, K keys, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
GRID = 65535


def _scores(q: Tensor, k: Tensor, scale: float | None) -> Tensor:
    return q.float() @ k.float().mT * (q.shape[-1] ** -0.5 if scale is None else scale)


def _forward(scores_NHRK: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    lse_NHR = scores_NHRK.logsumexp(-1)
    return ((scores_NHRK - lse_NHR[..., None]).exp() @ v.float()).to(v.dtype), lse_NHR


def _backward(
    scores_NHRK: Tensor, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse_NHR: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The weights are made of the scores and the log-sum-exp that is given, whatever the scores' own is."""
    weights_NHRK = (scores_NHRK - lse_NHR[..., None]).exp()
    delta_NHR1 = (grad.float() * out.float()).sum(-1, keepdim=True)
    of_scores = weights_NHRK * (grad.float() @ v.float().mT - delta_NHR1) * q.shape[-1] ** -0.5
    found = of_scores @ k.float(), of_scores.mT @ q.float(), weights_NHRK.mT @ grad.float()
    return tuple(x.to(q.dtype) for x in found)  # type: ignore[return-value]


def _aligned_at_the_end(scores_NHRK: Tensor) -> Tensor:
    """Flash's causal: the last query sees all keys."""
    rows, keys = scores_NHRK.shape[-2:]
    return scores_NHRK.masked_fill(~torch.ones(rows, keys, dtype=torch.bool).tril(keys - rows), -torch.inf)


def _aligned_at_the_start(scores_NHRK: Tensor) -> Tensor:
    """The memory-efficient kernel's causal: the first query sees the first key."""
    return scores_NHRK.masked_fill(~torch.ones(scores_NHRK.shape[-2:], dtype=torch.bool).tril(), -torch.inf)


def _check_flash(*tensors: Tensor) -> None:
    q = tensors[0]
    assert all(x.dtype in (torch.float16, torch.bfloat16) and x.dtype == q.dtype for x in tensors)
    assert all(x.stride(-1) == 1 for x in tensors)
    assert q.shape[-1] % 8 == 0
    assert q.shape[-1] <= 256
    assert 0 < len(q) <= GRID


def flash(
    q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0, causal: bool = False, debug: bool = False, *,
    scale: float | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """aten::_scaled_dot_product_flash_attention."""
    _check_flash(q, k, v)
    scores = _scores(q, k, scale)
    out, lse = _forward(_aligned_at_the_end(scores) if causal else scores, v)
    seed, offset = torch.empty(2, dtype=torch.uint64), torch.empty((), dtype=torch.uint64)
    return out, lse, None, None, q.shape[2], k.shape[2], seed, offset, q.new_empty(0)


def flash_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, starts_q: None, starts_k: None,
    most_q: int, most_k: int, dropout: float, causal: bool, seed: Tensor, offset: Tensor, *,
    scale: float | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """aten::_scaled_dot_product_flash_attention_backward, which reads the log-sum-exp as if it had no strides."""
    _check_flash(q, k, v)
    assert lse.is_contiguous()
    assert lse.shape == q.shape[:3]
    assert lse.dtype == torch.float32
    assert starts_q is starts_k is None
    assert seed.shape == (2,)
    scores = _scores(q, k, scale)
    return _backward(_aligned_at_the_end(scores) if causal else scores, grad, q, k, v, out, lse)


def _check_efficient(q: Tensor, bias: Tensor | None, *others: Tensor) -> None:
    """Pointers and strides are multiples of 16 bytes."""
    assert q.dtype in (torch.float16, torch.bfloat16, torch.float32)
    unit = 16 // q.element_size()
    if bias is not None:
        assert bias.shape == (*q.shape[:3], others[0].shape[2])
        assert bias.dtype == q.dtype
    for x in (q, *others, *([] if bias is None else [bias])):
        assert x.stride(-1) == 1
        assert x.storage_offset() % unit == 0
        assert all(x.shape[axis] == 1 or x.stride(axis) % unit == 0 for axis in range(3))


def efficient(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, with_lse: bool, dropout: float = 0.0, causal: bool = False, *,
    scale: float | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """aten::_scaled_dot_product_efficient_attention; 32 rows of the log-sum-exp at a time."""
    _check_efficient(q, bias, k, v)
    assert with_lse
    scores = _scores(q, k, scale) + (0 if bias is None else bias.float())
    out, lse = _forward(_aligned_at_the_start(scores) if causal else scores, v)
    whole = torch.full((*lse.shape[:2], -(-lse.shape[2] // 32) * 32), torch.inf)
    whole[..., : lse.shape[2]] = lse
    out = out.transpose(1, 2).contiguous().transpose(1, 2)
    return out, whole, torch.empty((), dtype=torch.int64), torch.empty((), dtype=torch.int64)


def efficient_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, out: Tensor, lse: Tensor, seed: Tensor,
    offset: Tensor, dropout: float, wanted: list[bool], causal: bool = False, *, scale: float | None = None,
) -> tuple[Any, ...]:  # fmt: skip
    """aten::_scaled_dot_product_efficient_attention_backward; of the output it knows the strides of N and H alone."""
    _check_efficient(q, bias, k, v)
    assert out.transpose(1, 2).is_contiguous()
    assert lse.shape[2] == -(-q.shape[2] // 32) * 32
    assert lse.stride(2) == 1
    assert not lse[..., q.shape[2] :].isfinite().any()
    assert list(wanted) == [True, True, True, False]
    scores = _scores(q, k, scale) + (0 if bias is None else bias.float())
    scores = _aligned_at_the_start(scores) if causal else scores
    return *_backward(scores, grad, q, k, v, out, lse[..., : q.shape[2]]), None


KERNELS: dict[Any, Callable[..., Any]] = {
    aten._scaled_dot_product_flash_attention.default: flash,
    aten._scaled_dot_product_flash_attention_backward.default: flash_backward,
    aten._scaled_dot_product_efficient_attention.default: efficient,
    aten._scaled_dot_product_efficient_attention_backward.default: efficient_backward,
}
