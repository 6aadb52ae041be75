"""The Muon optimiser for hidden matrices (Keller Jordan, 2024; analysed in arXiv 2502.16982).

The update is that of :class:`torch.optim.Muon` as it is by default. This one stacks matrices of equal
shape, so that a model of many layers costs a handful of kernels, and can be told on the device to leave a step out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from muomni_cli.layers.device import quick_dtype

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic that pushes all singular values towards 1 in few iterations."""


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """(N,R,C) -> (N,R,C) with all singular values near 1 and the same singular vectors; in bfloat16, which is precise
    enough, or in fp32 where the device is quicker at that."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.to(quick_dtype(matrices.device))
    x = x.mT if tall else x  # the Gram matrix is taken over the short side
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is orthogonalised before it is applied.

    Args:
        params: 2-D parameters only, or groups of them.
        lr: size of the update's singular values, times ``sqrt(max(1, rows / columns))``; 0.02 is a usual rate.
        momentum: of the Nesterov average.
        weight_decay: decoupled.
    """

    skip: Tensor | None = None
    """A scalar on the device; where it is true, :meth:`step` changes neither weights nor state."""

    def __init__(
        self,
        params: Sequence[Tensor] | Sequence[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        matrices = all(p.ndim == 2 for group in self.param_groups for p in group["params"])
        assert matrices, "Muon moves matrices only"

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Apply one update to every parameter that has a gradient."""
        assert closure is None, "gradients are computed before the step"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for params in by_shape.values():
                self._step_shape(params, group["lr"], group["momentum"], group["weight_decay"])

    def _step_shape(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        buffers = [self._buffer(p) for p in params]
        if self.skip is not None:  # a gradient that is not a number must reach neither the average nor the weights
            grads = [torch.where(self.skip, buffer, grad) for buffer, grad in zip(buffers, grads, strict=True)]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        updates = orthogonalise(torch.stack(torch._foreach_lerp(grads, buffers, momentum))).to(params[0].dtype)
        rows, columns = params[0].shape
        scale = lr * max(1.0, rows / columns) ** 0.5
        if self.skip is None:
            torch._foreach_mul_(params, 1 - lr * weight_decay)
            torch._foreach_add_(params, list(updates.unbind()), alpha=-scale)
            return
        go = (~self.skip).to(params[0].dtype)
        torch._foreach_mul_(params, 1 - go * (lr * weight_decay))
        torch._foreach_add_(params, list((updates * go).unbind()), alpha=-scale)

    def _buffer(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(param)
        buffer: Tensor = state["momentum"]
        return buffer
