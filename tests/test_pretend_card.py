"""The pretended card catches what CUDA would, and its kernels give what PyTorch says that CUDA's give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pretend_card import CARD, CPU, Card, pretend_card
from pretend_kernels import KERNELS
from torch import Tensor, nn

aten = torch.ops.aten
HERE = [1.0, 2.0, 3.0]


def there() -> Tensor:
    return torch.tensor(HERE, device="cuda")


WRONG: dict[str, Callable[[], Any]] = {
    "both in a sum": lambda: there() + torch.ones(3),
    "both in a product": lambda: there() @ torch.ones(3),
    "a weight that was left behind": lambda: nn.Linear(3, 2)(there()),
    "a mask that was left behind": lambda: there().masked_fill(torch.tensor([True, False, True]), 0),
    "indices on the card": lambda: torch.ones(3)[torch.tensor([0], device="cuda")],
    "a scalar in a list": lambda: torch.stack([there().sum(), torch.tensor(1.0)]),
    "a table looked up from elsewhere": lambda: nn.Embedding(3, 2).to("cuda")(torch.tensor([0])),
    "an array": lambda: there().numpy(),
    "an array by numpy": lambda: np.asarray(there()),
    "a result where numbers were": lambda: there().copy_(torch.ones(3)) + torch.ones(3),
    "the card's kernel elsewhere": lambda: aten._scaled_dot_product_flash_attention(*[torch.ones(1, 1, 8, 8)] * 3),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_cuda_would_refuse_is_refused(wrong):
    with pretend_card(), pytest.raises((RuntimeError, TypeError), match=r"same device|can't convert cuda|is CUDA's"):
        wrong()


RIGHT: dict[str, Callable[[], Tensor]] = {
    "moved": lambda: torch.tensor(HERE).to("cuda"),
    "moved with a type": lambda: torch.tensor([1, 2, 3]).to("cuda", torch.float32),
    "moved beside another": lambda: torch.tensor(HERE).to(there()),
    "moved by name": lambda: torch.tensor(HERE).cuda(),
    "made there": there,
    "made beside it": lambda: there().new_tensor(HERE),
    "made like it": lambda: torch.zeros_like(there()) + there(),
    "a view": lambda: there()[None].squeeze(0),
    "a scalar joins": lambda: there() * torch.tensor(1.0),
    "a number joins": lambda: torch.where(there() > 0, there(), 7.0),
    "indexed from elsewhere": lambda: there()[torch.arange(3)],
    "written from elsewhere": lambda: torch.zeros(3, device="cuda").copy_(torch.tensor(HERE)),
    "its device asked for": lambda: torch.arange(1.0, 4, device=there().device),
    "autograd's": lambda: torch.autograd.grad((x := there().requires_grad_()).square().sum() / 2, x)[0],
    "a parameter's": lambda: (m := nn.Linear(3, 1, False).to("cuda"), m(there()).backward(), m.weight.grad[0])[2],  # type: ignore[index]
}


@pytest.mark.parametrize("made", RIGHT.values(), ids=RIGHT)
def test_what_cuda_would_do_is_done_with_the_numbers(made):
    with pretend_card():
        x = made()
        assert x.device == CARD
        assert x.is_cuda
        assert x.cpu().device == CPU
        assert x.tolist() == HERE
        assert np.array_equal(x.detach().cpu().numpy(), HERE)


def test_nothing_is_left_of_it():
    with pretend_card():
        x = there()
    assert x.device == CPU
    assert x.numpy().tolist() == HERE


def test_what_is_waited_for_is_counted():
    def waits(card: Card, work: Callable[[Tensor], Any]) -> int:
        x = there()
        card.waits.clear()
        work(x)
        return len(card.waits)

    with pretend_card() as card:
        assert waits(card, lambda x: (x + 1).sum() * 2) == 0
        assert waits(card, lambda x: float(x[0])) == 1
        assert waits(card, lambda x: bool((x > 0).all())) == 1
        assert waits(card, lambda x: x[x > 1]) == 1
        assert waits(card, lambda x: x.cpu()) == 1
        assert waits(card, lambda x: x.nonzero()) == 1
        assert waits(card, lambda x: torch.ones(3).to("cuda")) == 1
        assert waits(card, lambda x: torch.ones(3).to("cuda", non_blocking=True)) == 0
        assert waits(card, lambda x: torch.tensor([1.0], device="cuda")) == 1
        assert waits(card, lambda x: torch.ones(3, device="cuda")) == 0
        assert waits(card, lambda x: x[torch.arange(2, device="cuda")]) == 0


def test_a_graph_does_again_what_it_was_shown_with_the_numbers_of_now():
    with pretend_card() as card:
        x, kept, graph = there(), torch.zeros(3, device="cuda"), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = (2 * x)[1:]
            kept[1:] = y
        x.copy_(torch.tensor([0.0, 10, 20], device="cuda"))
        graph.replay()
        assert y.tolist() == [20, 40]
        assert kept.tolist() == [0, 20, 40]
        with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(torch.cuda.CUDAGraph()):
            float(x.sum())
        assert card.recording is None


def forward_and_backward(kernel: str, device: str) -> list[tuple[Any, ...]]:
    """Shapes and types of what a kernel gives."""
    q, k, v, grad = (
        torch.zeros(2, 3, 40, 16, dtype=torch.bfloat16 if kernel == "flash" else torch.float32, device=device)
        for _ in range(4)
    )
    if kernel == "flash":
        out, lse, *kept = aten._scaled_dot_product_flash_attention(q, k, v, 0.0, True, False)
        backward = aten._scaled_dot_product_flash_attention_backward
        grads = backward(grad, q, k, v, out, lse, *kept[:4], 0.0, True, *kept[4:6])
    else:
        bias = torch.zeros(40, 48, device=device)[:, :40].expand(2, 3, 40, 40)
        out, lse, *kept = aten._scaled_dot_product_efficient_attention(q, k, v, bias, True)
        backward = aten._scaled_dot_product_efficient_attention_backward
        grads = backward(grad, q, k, v, bias, out, lse, *kept, 0.0, [True, True, True, False])
    return [(tuple(x.shape), x.dtype) for x in (out, lse, *grads) if x is not None]


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["flash", "efficient"])
def test_kernels_give_tensors_as_pytorch_says_that_cudas_do(kernel):
    told = forward_and_backward(kernel, "meta")
    with pretend_card():
        assert forward_and_backward(kernel, "cuda") == told


def test_the_kernels_are_those_that_attention_calls():
    assert {str(op) for op in KERNELS} == {
        f"aten._scaled_dot_product_{name}_attention{way}.default"
        for name in ("flash", "efficient") for way in ("", "_backward")
    }  # fmt: skip
