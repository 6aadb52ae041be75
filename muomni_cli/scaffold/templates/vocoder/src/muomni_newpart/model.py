"""A vocoder: blocks at the mel frame rate, then one inverse Fourier transform per frame with overlap-add.

It is one stack of causal layers, whose states are input and output tensors, for streaming and export.

Shapes: B batch, M mel frames, F mel bins, W width, H samples per mel frame, K = H + 1 frequencies.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.nn.streaming import Causal, CausalConv, CausalStack, ConvNeXt, joined
from muomni_newpart.config import NewpartConfig

LOUDEST = 5.0
"""Upper limit of log-magnitudes, to avoid clipping."""


class Frames(nn.Module):
    """(B,M,W) -> (B,M,2H) windowed frames, from magnitudes and phases."""

    waves: Tensor

    def __init__(self, width: int, hop: int) -> None:
        super().__init__()
        self.spectrum = nn.Linear(width, 2 * (hop + 1))
        real, imag = (
            np.fft.irfft(np.eye(hop + 1)),
            np.fft.irfft(1j * np.eye(hop + 1)),
        )  # (K,2H): the transform as a matrix
        window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
        waves = torch.from_numpy(np.concatenate((real, imag)) * window * math.sqrt(hop))
        self.register_buffer("waves", waves.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        size, phase = self.spectrum(x).float().chunk(2, dim=-1)
        size = size.clamp_max(LOUDEST).exp()
        return torch.cat((size * phase.cos(), size * phase.sin()), dim=-1) @ self.waves


class Overlap(Causal):
    """(B,M,2H) frames -> (B,M,H): overlap-add."""

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop, self.memory = hop, (1, hop)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        ends, past = joined(x[..., self.hop :], past, 1)
        return x[..., : self.hop] + ends[:, : x.shape[1]], past


class Newpart(nn.Module):
    """A :class:`muomni_cli.api.Vocoder`."""

    def __init__(self, config: NewpartConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        self.silence = mel.silent_level
        blocks = [ConvNeXt(config.width, kernel=config.kernel, scale=1 / config.layers) for _ in range(config.layers)]
        self.stack = CausalStack(
            [
                CausalConv(mel.n_mels, config.kernel, config.width),
                *blocks,
                nn.LayerNorm(config.width),
                Frames(config.width, mel.hop),
                Overlap(mel.hop),
            ],
            mel.n_mels,
            lookahead=config.lookahead,
        )

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, H*M) samples."""
        return self.stack.whole(self.normal(mel)).flatten(1)

    def stream(self, batch: int = 1) -> VocoderStream:
        """:meth:`forward` for (B,M,F) that comes in pieces."""
        return VocoderStream(self, batch)

    def normal(self, mel: Tensor) -> Tensor:
        """Normalize so that silence is 0, the padding before the start and after the end."""
        return (mel - self.silence) / 8


class VocoderStream:
    """A :class:`muomni_cli.contract.speech.TensorStream`; reusable after :meth:`finish`."""

    def __init__(self, vocoder: Newpart, batch: int) -> None:
        self._vocoder, self._stream = vocoder, vocoder.stack.stream(batch)

    def push(self, piece: Tensor) -> Tensor:
        """Feed (B,M,F) and return the samples that are now final."""
        return self._stream.push(self._vocoder.normal(piece)).flatten(1)

    def finish(self) -> Tensor:
        """Return the remaining samples."""
        return self._stream.finish().flatten(1)
