"""The ConvNeXt block (arXiv:2201.03545) over time: one convolution a channel, then an MLP a frame, added to the input.

Shapes: B batch, T frames, C channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.layers.streaming import Causal, CausalConv


class ConvNeXt(Causal):
    """Depthwise convolution, LayerNorm, pointwise up, GELU, pointwise down, layer scale, residual.

    Args:
        channels: C.
        hidden: width between the two pointwise layers; four times C by default.
        kernel: frames that a channel sees, its own and those before it.
        scale: what the branch is scaled by at first; 1 / number of blocks is a good choice for few of them.
    """

    def __init__(self, channels: int, hidden: int | None = None, *, kernel: int = 7, scale: float = 0.1) -> None:
        super().__init__()
        hidden = 4 * channels if hidden is None else hidden
        self.conv = CausalConv(channels, kernel, depthwise=True)
        self.memory = self.conv.memory
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up = nn.Linear(channels, hidden)
        self.down = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))
        for layer in (self.up, self.down):
            nn.init.trunc_normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B,T,C) -> (B,T,C); see :class:`muomni_cli.layers.streaming.Causal`."""
        mixed, past = self.conv(x, past)
        return self._add(x, mixed), past

    def centred(self, x: Tensor) -> Tensor:
        """(B,T,C) -> (B,T,C), looking both ways."""
        return self._add(x, self.conv.centred(x))

    def _add(self, x: Tensor, mixed: Tensor) -> Tensor:
        hidden = F.gelu(self.up(self.norm(mixed)))
        return torch.addcmul(x, self.down(hidden), self.scale.to(hidden.dtype))
