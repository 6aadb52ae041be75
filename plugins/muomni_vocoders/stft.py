"""Short-time spectra: magnitudes from a log-mel, overlap-add of windowed frames, and both transforms as convolutions
for exported graphs (matrix products, any number of frames).

A spectrum of a graph is (B,2K,T): real parts, then imaginary parts, of K = n_fft / 2 + 1 frequencies.

Shapes: B batch, T frames, M mel frames, F mel bins, W samples of a window, N samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.audio.dsp import mel_filters
from muomni_cli.audio.mel import Waves

LEAST = 1e-3
"""Lower bound of a divisor, as a share of the window's largest square."""


class Magnitudes(nn.Module):
    """(B,M,F) log-mel -> (B,M,K) magnitudes by the pseudo-inverse of the filters: the least power with this mel, where
    there is one. RequestError if a filter is empty."""

    inverse: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.floor = mel.mel_floor
        inverse = torch.linalg.pinv(torch.from_numpy(mel_filters(mel)))  # (F,K)
        self.register_buffer("inverse", inverse.float(), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        return self.power(mel).clamp_min(0).sqrt()

    def power(self, mel: Tensor) -> Tensor:
        """(B,M,F) -> (B,M,K); possibly negative where no power has this mel."""
        return (mel.float().exp() - self.floor) @ self.inverse


def least_of(window: Tensor) -> float:
    """The minimum divisor in place of small sums of squares of this window."""
    return float(window.max().item() ** 2 * LEAST)


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(B,T,W) -> (B, (T-1)*hop + W): the sum of frames that start ``hop`` samples apart."""
    count, window = frames.shape[1:]
    size = (1, (count - 1) * hop + window)
    return F.fold(frames.transpose(1, 2), size, (1, window), stride=(1, hop))[:, 0, 0]


class OverlapAddStream:
    """Streaming inverse short-time Fourier transform (Griffin and Lim 1984): each sample is the sum of its windowed
    frames over the sum of their squared windows. Frame t is centered on sample ``t * hop``, as in a log-mel.

    Args:
        window: (W,) analysis and synthesis window, W even and at least ``hop``.
        hop: samples from one frame to the next.
        batch: B.
    """

    def __init__(self, window: Tensor, hop: int, batch: int) -> None:
        self._squares, self._hop = window.square()[None, None], hop
        self._tail = window.new_zeros(batch, window.numel() - hop)  # sums beyond the final samples
        self._weight = window.new_zeros(1, window.numel() - hop)
        self._before = window.numel() // 2  # samples of the next frame before the start
        self._after = window.numel() // 2  # samples from the last frame's center to the end of its window
        self.least = least_of(window)

    def resume(self, tail: Tensor, weight: Tensor) -> None:
        """Continue after frames that left (B, W-hop) sums and (1, W-hop) sums of squares."""
        self._tail, self._weight, self._before = tail, weight, 0

    @property
    def left(self) -> tuple[Tensor, Tensor]:
        """The arguments of :meth:`resume` to continue from here."""
        return self._tail, self._weight

    def laid(self, frames: Tensor) -> Tensor:
        """(B,T,W) windowed frames that could come next -> (B, (T-1)*hop + W) sums of samples."""
        sums = overlap_add(frames, self._hop)
        sums[:, : self._tail.shape[1]] += self._tail
        return sums

    def weights(self, count: int) -> Tensor:
        """(1, (count-1)*hop + W) divisors of :meth:`laid` for ``count`` frames; bounded below, so that samples under
        the feet of windows are not amplified."""
        return self._counted(count).clamp_min(self.least)

    def push(self, frames: Tensor) -> Tensor:
        """(B,T,W) windowed frames -> the samples that no later frame changes."""
        count = frames.shape[1]
        if not count:
            return self._tail[:, :0]
        sums, weights = self.laid(frames), self._counted(count)
        done = count * self._hop
        samples = sums[:, :done] / weights[:, :done].clamp_min(self.least)
        self._tail, self._weight = sums[:, done:], weights[:, done:]
        outside = min(self._before, done)
        self._before -= outside
        return samples[:, outside:]

    def finish(self) -> Tensor:
        """The rest of the samples: in all ``hop`` per frame."""
        samples = self._tail / self._weight.clamp_min(self.least)
        wanted = self._after - self._before
        rest = samples[:, self._before : self._after]
        return F.pad(rest, (0, wanted - rest.shape[1]))

    def _counted(self, count: int) -> Tensor:
        counted = overlap_add(self._squares.expand(1, count, -1), self._hop)
        counted[:, : self._weight.shape[1]] += self._weight
        return counted


class _Dft(nn.Module):
    """A windowed transform as a convolution; ``factors`` (K,1) scale its real and imaginary parts."""

    window: Tensor
    factors: Tensor

    def __init__(self, mel: MelConfig, window: Tensor, factors: Tensor, center: int = 0) -> None:
        super().__init__()
        self.hop, self.waves = mel.hop, Waves(mel.n_fft, mel.window, center)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("factors", torch.cat((factors, -factors)), persistent=False)

    def kernel(self) -> Tensor:
        """(2K,1,W): compute it once per graph."""
        kernel: Tensor = self.waves() * self.factors * self.window
        return kernel[:, None]


class DftAnalysis(_Dft):
    """(B,N) samples -> (B,2K,T) spectrum of every whole frame, as ``torch.fft.rfft`` of windowed frames."""

    def __init__(self, mel: MelConfig, window: Tensor) -> None:
        super().__init__(mel, window, torch.ones(mel.n_fft // 2 + 1, 1))

    def forward(self, samples: Tensor, kernel: Tensor) -> Tensor:
        return F.conv1d(samples[:, None], kernel, stride=self.hop)


class OverlapAdd(_Dft):
    """(B,2K,T) spectrum onto the sums of the frames before, as ``torch.fft.irfft``, window and
    :class:`OverlapAddStream`."""

    squares: Tensor

    def __init__(self, mel: MelConfig, window: Tensor, center: int = 0) -> None:
        twice = torch.full((mel.n_fft // 2 + 1, 1), 2 / mel.n_fft)  # the other half of the spectrum
        twice[0] /= 2
        if mel.n_fft % 2 == 0:
            twice[-1] /= 2
        super().__init__(mel, window, twice, center)
        self.least = least_of(window)
        self.register_buffer("squares", window.square()[None, None], persistent=False)

    def sums(self, spectrum: Tensor, tail: Tensor, kernel: Tensor) -> Tensor:
        """(B,2K,T) and (B, W-hop) -> (B, (T-1)*hop + W) sums of all frames so far."""
        return self._on(F.conv_transpose1d(spectrum, kernel, stride=self.hop)[:, 0], tail)

    def weights(self, real: Tensor, weight: Tensor) -> Tensor:
        """(1,T) factors of frames and (1, W-hop) -> (1, (T-1)*hop + W) sums of squared windows."""
        return self._on(F.conv_transpose1d(real[:, None], self.squares, stride=self.hop)[:, 0], weight)

    def forward(
        self, spectrum: Tensor, real: Tensor, tail: Tensor, weight: Tensor, kernel: Tensor
    ) -> tuple[Tensor, ...]:
        """(B,2K,T), (1,T) factors, and the (B, W-hop) and (1, W-hop) sums of the frames before -> (B, T*hop) final
        samples, (B, W-hop) samples after them if no frame follows, and the sums for the next frames."""
        sums, weights = self.sums(spectrum * real[:, None], tail, kernel), self.weights(real, weight)
        done = real.shape[1] * self.hop
        samples = sums / weights.clamp_min(self.least)
        return samples[:, :done], samples[:, done:], sums[:, done:], weights[:, done:]

    def _on(self, added: Tensor, before: Tensor) -> Tensor:
        rest = added.shape[1] - before.shape[1]
        return added + torch.cat((before, before.new_zeros(before.shape[0], rest)), dim=1)
