"""A step of sampling of one's own: locally typical tokens (arXiv:2202.00666, section 4).

helicon generate runs/text-1 --sampler typical:0.9 --plugin own_sampler_step.py
"""

from dataclasses import dataclass

from torch import Tensor

import helicon


@helicon.register_sampler_step("typical")
@dataclass(frozen=True)
class Typical:
    """Keeps the tokens whose surprise is nearest to the entropy, as many as make up `p` of the probability.

    Shapes: B batch, V tokens.
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"above 0 and at most 1 is accepted, got {self.p:g}")

    def __call__(self, logits_BV: Tensor, seen_BV: Tensor) -> Tensor:
        log_p_BV = logits_BV.log_softmax(-1)
        p_BV = log_p_BV.exp()
        entropy_B1 = -(p_BV * log_p_BV.clamp(min=-1e9)).sum(-1, keepdim=True)
        order = (log_p_BV + entropy_B1).abs().argsort(dim=-1, stable=True)
        ordered = p_BV.gather(-1, order)
        late = ordered.cumsum(-1) - ordered >= self.p
        return logits_BV.masked_fill(late.gather(-1, order.argsort(-1)), float("-inf"))
