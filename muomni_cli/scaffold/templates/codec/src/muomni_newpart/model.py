"""A codec with finite scalar quantization (FSQ, arXiv:2309.15505), which needs no learned codebooks.

Causal ConvNeXt blocks (arXiv:2201.03545) on both sides, for streaming.

Shapes: B batch, T code frames, M mel frames, F mel bins, Q codebooks, K codes, L dimensions of a code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muomni_cli.api import MelConfig, RequestError
from muomni_cli.nn.streaming import CausalStack, CausalStream, ConvNeXt
from muomni_newpart.config import NewpartConfig

MEAN, SCALE = -5.0, 4.0
"""Approximate mean and range of the log-mel of speech."""


class Unfold(nn.Module):
    """(B,T,W) -> (B, frame*T, F) log-mel, in nats."""

    def __init__(self, config: NewpartConfig) -> None:
        super().__init__()
        self.bins = config.mel.n_mels
        self.norm = nn.LayerNorm(config.width)
        self.proj = nn.Linear(config.width, config.frame * self.bins)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.proj(self.norm(x))
        return made.reshape(x.shape[0], -1, self.bins) * SCALE + MEAN


class Newpart(nn.Module):
    """A :class:`muomni_cli.api.Codec`."""

    levels: Tensor
    bases: Tensor

    def __init__(self, config: NewpartConfig) -> None:
        super().__init__()
        self.config = config
        bins, width = config.mel.n_mels, config.width
        inward = nn.Linear(config.frame * bins, width)
        self.encoder = CausalStack(
            [inward, *self._blocks(), nn.LayerNorm(width), nn.Linear(width, bins)], config.frame * bins
        )
        self.inward = nn.Linear(bins, config.codebooks * len(config.levels))
        self.outward = nn.Linear(config.codebooks * len(config.levels), bins)
        self.decoder = CausalStack([nn.Linear(bins, width), *self._blocks(), Unfold(config)], bins, factor=config.frame)
        levels = torch.tensor(config.levels)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("bases", torch.cat((levels.new_ones(1), levels.cumprod(0)[:-1])), persistent=False)

    def _blocks(self) -> list[ConvNeXt]:
        config = self.config
        return [ConvNeXt(config.width, kernel=config.kernel, scale=1 / config.layers) for _ in range(config.layers)]

    @property
    def mel(self) -> MelConfig:
        """Settings of the log-mel."""
        return self.config.mel

    @property
    def frame(self) -> int:
        """Mel frames per code frame."""
        return self.config.frame

    @property
    def codebooks(self) -> int:
        """Q."""
        return self.config.codebooks

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.config.codebook_size

    def windows(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> (B,T,F): one vector per code frame."""
        if mel.shape[1] % self.frame or mel.shape[2] != self.mel.n_mels:
            raise RequestError(
                f"log-mel of shape {tuple(mel.shape)} does not fit the codec",
                f"give a multiple of {self.frame} frames of {self.mel.n_mels} bins",
            )
        return self.seen(mel)

    def seen(self, mel: Tensor) -> Tensor:
        """:meth:`windows` without checking the shape."""
        frames, _ = self.encoder(((mel - MEAN) / SCALE).reshape(mel.shape[0], -1, self.frame * self.mel.n_mels))
        return frames  # type: ignore[no-any-return]

    def numbers(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B,T,Q,L) from 0 to levels - 1, before rounding."""
        raw = self.inward(frames).unflatten(-1, (self.codebooks, len(self.config.levels)))
        return (raw.tanh() + 1) / 2 * (self.levels - 1)  # type: ignore[no-any-return]

    def encode(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B,T,Q) codes, int64."""
        return (self.numbers(frames).round().long() * self.bases).sum(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B,T,F)."""
        digits = torch.div(codes[..., None], self.bases, rounding_mode="floor") % self.levels
        return self.frames_of(digits.to(self.outward.weight.dtype))

    def frames_of(self, numbers: Tensor) -> Tensor:
        """(B,T,Q,L) -> (B,T,F)."""
        centered = numbers * 2 / (self.levels - 1).clamp_min(1) - 1
        frames: Tensor = self.outward(centered.flatten(2))
        return frames

    def expand(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B, frame*T, F) log-mel."""
        return self.decoder.whole(frames)

    def stream(self, batch: int = 1) -> CausalStream:
        """:meth:`expand` for (B,T,F) that comes in pieces."""
        return self.decoder.stream(batch)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> its reconstruction, with straight-through gradients of the rounding."""
        numbers = self.numbers(self.windows(mel))
        rounded = numbers + (numbers.round() - numbers).detach()
        return self.expand(self.frames_of(rounded))
