"""A vocoder that learns: blocks at the rate of the mel, and one Linear that makes all samples of a frame.

ConvNeXt blocks (arXiv:2201.03545) as in Vocos (arXiv:2306.00814), with a Linear in the place of its Fourier transform.
It is causal but for a short look-ahead, so that sound comes as soon as mel does.

Shapes: B batch, M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.layers.convnext import ConvNeXt
from muomni_cli.layers.streaming import CausalConv, CausalStack, State, Stream
from muomni_newpart.config import NewpartConfig

MEAN, SCALE = -5.0, 4.0
"""Of the log-mel of speech, about."""


class Samples(nn.Module):
    """(B,M,W) -> (B, hop*M)."""

    def __init__(self, width: int, hop: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, hop)

    def forward(self, x: Tensor) -> Tensor:
        """Each frame its own samples."""
        samples: Tensor = self.proj(x)
        return samples.flatten(1)


class Newpart(nn.Module):
    """A :class:`muomni_cli.api.Vocoder`."""

    def __init__(self, config: NewpartConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        width = config.channels
        blocks = [ConvNeXt(width, kernel=config.kernel, scale=1 / config.layers) for _ in range(config.layers)]
        layers = [CausalConv(mel.n_mels, config.kernel, width), *blocks, nn.LayerNorm(width), Samples(width, mel.hop)]
        self.stack = CausalStack(layers, mel.n_mels)
        self.late = config.lookahead * mel.hop
        """Samples that come out before the first that counts."""

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, hop*M) samples."""
        made, _ = self.step(torch.cat((mel, self.silence(len(mel))), dim=1))
        return made[:, self.late :]

    def step(self, mel: Tensor, past: Sequence[Tensor] | None = None) -> tuple[Tensor, State]:
        """(B,M,F) and what is remembered of the mel before -> (B, hop*M) samples, late by the look-ahead, and that."""
        samples, state = self.stack((mel - MEAN) / SCALE, past)
        return samples, state

    def stream(self, batch: int = 1) -> Stream:
        """The same of (B,M,F) that comes in pieces."""
        return Stream(self.step, self.silence(batch), self.late)

    def silence(self, batch: int) -> Tensor:
        """What follows the end of a sound."""
        like = next(self.parameters())
        return like.new_full((batch, self.config.lookahead, self.mel.n_mels), math.log(self.mel.mel_floor))


def build(config: NewpartConfig, mel: MelConfig) -> Newpart:
    """Fresh weights, for the mel of a codec."""
    return Newpart(config, mel)
