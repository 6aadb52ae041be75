"""One optimiser step: forward and backward over micro-batches, clipping, the guard against NaN, update.

Everything here stays on the device; nothing waits for it. The loop reads the results when it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from muomni_cli.contract.training import Batch, Objective
from muomni_cli.layers.device import autocast
from muomni_cli.training.ema import Ema
from muomni_cli.training.optimizers import Optimizers
from muomni_cli.training.prefetch import to_device

if TYPE_CHECKING:
    from muomni_cli.recipe import TrainSettings


def recompute(block: nn.Module) -> None:
    """Let ``block`` forget its activations and compute them again in the backward pass (arXiv 1604.06174)."""
    forward: Callable[..., Any] = block.forward

    @wraps(forward)
    def forgetful(*args: Any, **kwargs: Any) -> Any:
        if block.training and torch.is_grad_enabled():
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        return forward(*args, **kwargs)

    block.forward = forgetful


class Stepper:
    """The weights of a stage and everything that moves them.

    Args:
        objective: what is trained; its module is moved to ``device``.
        settings: how.
        device: where.

    Attributes:
        bad_step: on the device, the first step (from 0) whose loss or gradient was not finite, or -1. From then on no
            step changes the weights or the optimiser's state.
        window: sums of the loss, the gradient norm and the objective's logs over the last ``count`` steps.
    """

    def __init__(self, objective: Objective, settings: TrainSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        module = objective.module.to(device)
        module.train()
        if settings.checkpoint_activations:
            for block in objective.blocks:
                recompute(block)
        self._loss = objective.loss
        if settings.compile:  # layer by layer: quick to compile, and hand-written gradients of a loss stay as they are
            for block in objective.blocks or [module]:
                block.compile()
        self.optimizers = Optimizers(module, settings, frozenset(objective.adam_only))
        self.ema = Ema(module, settings.ema) if settings.ema else None
        self.bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self.window: dict[str, Tensor] = {}
        self.count = 0

    def step(self, step: int, batches: Sequence[Batch]) -> None:
        """Train on the micro-batches of ``step`` (from 0)."""
        # The whole step's weight is known before its first backward pass, so micro-batches of unequal weight add up
        # to exactly what one large batch gives.
        weight = sum(batch.weight for batch in batches) or 1.0
        sums: dict[str, Tensor] = {}
        for batch in batches:
            with autocast(self.device, self.settings.precision):
                loss = self._loss(to_device(batch, self.device))
            scaled = loss.total / weight
            scaled.backward()  # type: ignore[no-untyped-call]
            for name, value in {"loss": scaled, **{k: v / weight for k, v in loss.logs.items()}}.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        norm = self._clip()
        bad = ~(torch.isfinite(sums["loss"]) & torch.isfinite(norm))
        self.bad_step = torch.where((self.bad_step < 0) & bad, step, self.bad_step)
        self.optimizers.step(step, self.bad_step >= 0)
        self.optimizers.zero_grad()
        if self.ema is not None:
            self.ema.update(step)
        self._add({**sums, "grad_norm": norm})

    def read_window(self) -> tuple[list[str], Tensor]:
        """Names, and ``bad_step`` followed by their means over the window (n+1,) in float64. Starts a new window."""
        names = list(self.window)
        means = torch.stack([value.double() for value in self.window.values()]) / self.count
        self.window, self.count = {}, 0
        return names, torch.cat([self.bad_step.double().reshape(1), means])

    def _clip(self) -> Tensor:
        """Scale gradients down to the recipe's norm; gives the norm before."""
        grads = [p.grad for p in self.optimizers.params if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if self.settings.clip > 0:
            torch._foreach_mul_(grads, (self.settings.clip / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def _add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.window[name] = self.window[name] + value.float() if name in self.window else value.float()
        self.count += 1
