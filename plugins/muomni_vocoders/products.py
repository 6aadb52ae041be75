"""Short-time Fourier transforms as convolutions, for exported graphs: plain products, any number of frames.

A spectrum is (B,2K,T): real parts, then imaginary parts, of K = n_fft / 2 + 1 frequencies.

Shapes: B batch, T frames, W samples of a window, N samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.layers.waves import Waves
from muomni_vocoders.overlap import least_of


class Analysis(nn.Module):
    """(B,N) samples -> (B,2K,T) spectrum of every frame that fits; as ``torch.fft.rfft`` of windowed frames."""

    window: Tensor
    factors: Tensor

    def __init__(self, mel: MelConfig, window: Tensor) -> None:
        super().__init__()
        self.hop, self.waves = mel.hop, Waves(mel.n_fft, mel.window)
        ones = torch.ones(mel.n_fft // 2 + 1, 1)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("factors", torch.cat((ones, -ones)), persistent=False)

    def kernel(self) -> Tensor:
        """(2K,1,W): make it once, however often it is used."""
        kernel: Tensor = self.waves() * self.factors * self.window
        return kernel[:, None]

    def forward(self, samples: Tensor, kernel: Tensor) -> Tensor:
        """See above."""
        return F.conv1d(samples[:, None], kernel, stride=self.hop)


class Laying(nn.Module):
    """(B,2K,T) spectrum onto what the frames before left; as ``torch.fft.irfft``, the window, and
    :class:`muomni_vocoders.overlap.Overlap`."""

    window: Tensor
    factors: Tensor
    squares: Tensor

    def __init__(self, mel: MelConfig, window: Tensor, centre: int = 0) -> None:
        super().__init__()
        self.hop, self.least = mel.hop, least_of(window)
        self.waves = Waves(mel.n_fft, mel.window, centre)
        twice = torch.full((mel.n_fft // 2 + 1, 1), 2 / mel.n_fft)  # the other half of the spectrum
        twice[0] /= 2
        if mel.n_fft % 2 == 0:
            twice[-1] /= 2
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("factors", torch.cat((twice, -twice)), persistent=False)
        self.register_buffer("squares", window.square()[None, None], persistent=False)

    def kernel(self) -> Tensor:
        """(2K,1,W): make it once, however often it is used."""
        kernel: Tensor = self.waves() * self.factors * self.window
        return kernel[:, None]

    def sums(self, spectrum: Tensor, tail: Tensor, kernel: Tensor) -> Tensor:
        """(B,2K,T) and (B, W-hop) -> (B, (T-1)*hop + W): what all frames so far add to the samples there."""
        return self._on(F.conv_transpose1d(spectrum, kernel, stride=self.hop)[:, 0], tail)

    def weights(self, real: Tensor, weight: Tensor) -> Tensor:
        """(1,T) factors of frames and (1, W-hop) -> (1, (T-1)*hop + W) sums of squared windows."""
        return self._on(F.conv_transpose1d(real[:, None], self.squares, stride=self.hop)[:, 0], weight)

    def forward(
        self, spectrum: Tensor, real: Tensor, tail: Tensor, weight: Tensor, kernel: Tensor
    ) -> tuple[Tensor, ...]:
        """(B,2K,T), (1,T) factors, (B, W-hop) and (1, W-hop) that the frames before left -> (B, T*hop) samples that no
        later frame changes, (B, W-hop) samples after them if no more comes, and what is left for the next frames."""
        sums, weights = self.sums(spectrum * real[:, None], tail, kernel), self.weights(real, weight)
        done = real.shape[1] * self.hop
        samples = sums / weights.clamp_min(self.least)
        return samples[:, :done], samples[:, done:], sums[:, done:], weights[:, done:]

    def _on(self, added: Tensor, before: Tensor) -> Tensor:
        rest = added.shape[1] - before.shape[1]
        return added + torch.cat((before, before.new_zeros(before.shape[0], rest)), dim=1)
