"""Cross-entropy straight from hidden states, without ever holding all logits.

Knows a matrix of states, the output head's matrix and the targets; nothing of models or data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100
"""The target that counts for nothing."""

CHUNK_LOGITS = 1 << 23
"""Logits made at a time: 32 MiB in fp32."""


class _SummedCrossEntropy(torch.autograd.Function):
    """Loss and gradients chunk by chunk, both in the forward pass, as in Liger (arXiv:2410.10989)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        for part in _chunks(len(hidden), len(weight)):
            states = hidden[part]
            slope, loss = _slope_and_loss(F.linear(states, weight).float(), targets[part])
            total += loss
            slope = slope.to(states.dtype)
            grad_hidden[part] = slope @ weight.to(states.dtype)
            grad_weight += slope.t() @ states
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), grad_weight * grad.to(grad_weight.dtype), None


def _chunks(rows: int, vocab_size: int) -> Iterator[slice]:
    """Slices of so many rows that their logits stay below :data:`CHUNK_LOGITS`."""
    size = max(1, CHUNK_LOGITS // vocab_size)
    return (slice(start, start + size) for start in range(0, rows, size))


def _slope_and_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(N,V) logits and (N,) targets -> d loss / d logits (N,V), in the memory of the logits, and the summed loss."""
    counted = (targets != IGNORED)[:, None].to(logits.dtype)  # (N,1)
    index = targets.clamp_min(0)[:, None]
    chosen = logits.gather(1, index)
    peak = logits.amax(1, keepdim=True)
    shares = logits.sub_(peak).exp_()  # one exponential serves the loss and its gradient
    sums = shares.sum(1, keepdim=True)
    loss = ((peak + sums.log() - chosen) * counted).sum()
    slope = shares.mul_(counted / sums)
    return slope.scatter_add_(1, index, -counted), loss


def summed_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Loss in nats, summed over the targets that count, in fp32.

    Args:
        hidden: (..., D) states after the final norm.
        weight: (V,D) output head.
        targets: (...) ids; :data:`IGNORED` counts for nothing.
    """
    states, wanted = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    if torch.is_grad_enabled():
        total: Tensor = _SummedCrossEntropy.apply(states, weight, wanted)  # type: ignore[no-untyped-call]
        return total
    total = states.new_zeros((), dtype=torch.float32)
    for part in _chunks(len(states), len(weight)):
        logits = F.linear(states[part], weight).float()
        total += F.cross_entropy(logits, wanted[part], ignore_index=IGNORED, reduction="sum")
    return total
