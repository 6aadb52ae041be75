"""Whether a module learns: one step, and one batch by heart. Knows no loss but as a function. Imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from muomni_cli.contract.conformance import Number, require

STEPS = 200
"""In which a batch must be known by heart."""

RATES = (3e-3, 1e-2)
"""Of AdamW, one after the other: what one is too slow for, another is not."""

LEFT = 0.2
"""Share of its first loss that a batch that is known by heart may have left."""

Loss = Callable[[nn.Module], Tensor]
"""The loss of one batch, a scalar."""


def one_step(make: Callable[[], nn.Module], loss: Loss) -> Sequence[Number]:
    """A step of AdamW: gradients reach weights, all of them finite, and the loss falls."""
    module = make().train()
    first = loss(module)
    require(
        first.ndim == 0 and math.isfinite(first.item()), f"the loss is {first.item() if first.ndim == 0 else first}"
    )
    first.backward()  # type: ignore[no-untyped-call]
    weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    require(bool(weights), "it has no weights to train")
    got = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    require(bool(got), "no gradient reaches any weight")
    wild = [name for name, gradient in got.items() if not gradient.isfinite().all()]
    require(not wild, f"the gradient of {wild[0] if wild else ''} is not finite")
    moved = [name for name, gradient in got.items() if gradient.abs().max() > 0]
    require(bool(moved), "every gradient is zero")
    torch.optim.AdamW(weights.values(), 1e-3).step()
    after = loss(module.eval()).item()
    require(math.isfinite(after), f"the loss is {after} after one step")
    return [Number("weights without a gradient", len(weights) - len(moved))]


def by_heart(make: Callable[[], nn.Module], loss: Loss) -> Sequence[Number]:
    """How much of its first loss a batch has left when it has been learned."""
    best = math.inf
    for rate in RATES:
        module = make().train()
        optimizer = torch.optim.AdamW((w for w in module.parameters() if w.requires_grad), rate, weight_decay=0.0)
        first = loss(module).item()
        for step in range(STEPS):
            value = loss(module)
            best = min(best, value.item() / first)
            if best <= LEFT / 2:
                return [Number("loss left", best, LEFT, f"after {step} steps, of {first:.3g}")]
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if best <= LEFT:
            break
    return [Number("loss left", best, LEFT, f"after {STEPS} steps, of {first:.3g}")]
