"""An exponential moving average of the weights, in fp32. Knows nothing of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average of ``module``'s trained parameters.

    Args:
        module: whose parameters are followed.
        decay: share of the average that is kept in each step, once training is under way.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.params = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().float().clone() for name, p in self.params.items()}

    def decay_at(self, step: int) -> float:
        """Decay at ``step`` (from 0): small at first, so that the random start is soon forgotten."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """``average <- decay * average + (1 - decay) * weights``."""
        weights = [p.detach().float() for p in self.params.values()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1 - self.decay_at(step))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averaged weights inside, and its own again after."""
        own = [p.detach().clone() for p in self.params.values()]
        self._write(list(self.average.values()))
        try:
            yield
        finally:
            self._write(own)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the averages back from a checkpoint; a missing name raises ``KeyError``."""
        for name, average in self.average.items():
            average.copy_(tensors[name])

    @torch.no_grad()
    def _write(self, values: list[Tensor]) -> None:
        for p, value in zip(self.params.values(), values, strict=True):
            p.copy_(value)
