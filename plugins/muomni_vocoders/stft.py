"""Short-time spectra: magnitudes from a log-mel, overlap-add of windowed frames, and the transforms as convolutions
for exported graphs (plain matrix products, any number of frames).

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
"""Share of a window's largest square below which a sum of squares is not divided by."""


class Magnitudes(nn.Module):
    """(B,M,F) log-mel -> (B,M,K): by the pseudo-inverse of the filters, the smallest power that they hear as the mel,
    where that is one at all.

    Raises:
        RequestError: a filter hears nothing, so nothing can be told from it.
    """

    inverse: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.floor = mel.mel_floor
        inverse = torch.linalg.pinv(torch.from_numpy(mel_filters(mel)))  # (F,K)
        self.register_buffer("inverse", inverse.float(), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) -> (B,M,K)."""
        return self.power(mel).clamp_min(0).sqrt()

    def power(self, mel: Tensor) -> Tensor:
        """(B,M,F) -> (B,M,K); where the filters cannot have heard such a mel it may be negative."""
        return (mel.float().exp() - self.floor) @ self.inverse


def least_of(window: Tensor) -> float:
    """The least that sums of squares of this window are divided by."""
    return float(window.max().item() ** 2 * LEAST)


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(B,T,W) -> (B, (T-1)*hop + W): the sum of frames that begin ``hop`` samples after each other."""
    count, window = frames.shape[1:]
    size = (1, (count - 1) * hop + window)
    return F.fold(frames.transpose(1, 2), size, (1, window), stride=(1, hop))[:, 0, 0]


class OverlapAddStream:
    """Samples of a sound whose frames come in pieces. Frame t lies around sample ``t * hop``, as in a log-mel.

    The inverse of a short-time Fourier transform (Griffin and Lim 1984): each sample is the sum of what its windowed
    frames say, divided by the sum of their squared windows.

    Args:
        window: (W,) analysis and synthesis window, W even and at least ``hop``.
        hop: samples from one frame to the next.
        batch: B.
    """

    def __init__(self, window: Tensor, hop: int, batch: int) -> None:
        self._squares, self._hop = window.square()[None, None], hop
        self._tail = window.new_zeros(batch, window.numel() - hop)  # of the frames so far, beyond what is done
        self._weight = window.new_zeros(1, window.numel() - hop)
        self._before = window.numel() // 2  # samples of the next frame that lie before the sound
        self._after = window.numel() // 2  # samples from the last frame's centre to the end of its window
        self.least = least_of(window)
        """What sums of squares are at least divided by."""

    def resume(self, tail: Tensor, weight: Tensor) -> None:
        """Go on in the middle of a sound, after frames that left (B, W-hop) sums and (1, W-hop) sums of squares."""
        self._tail, self._weight, self._before = tail, weight, 0

    @property
    def left(self) -> tuple[Tensor, Tensor]:
        """What :meth:`resume` takes to go on from here."""
        return self._tail, self._weight

    def laid(self, frames: Tensor) -> Tensor:
        """(B,T,W) windowed frames that might come next -> (B, (T-1)*hop + W) what they add to the samples there."""
        sums = overlap_add(frames, self._hop)
        sums[:, : self._tail.shape[1]] += self._tail
        return sums

    def weights(self, count: int) -> Tensor:
        """What :meth:`laid` of ``count`` frames is divided by, (1, (count-1)*hop + W); no sample is blown up that only
        the feet of windows reach."""
        return self._counted(count).clamp_min(self.least)

    def push(self, frames: Tensor) -> Tensor:
        """(B,T,W) windowed frames -> samples that no later frame changes."""
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
        """The samples that are left: with them there are ``hop`` for each frame."""
        samples = self._tail / self._weight.clamp_min(self.least)
        wanted = self._after - self._before
        rest = samples[:, self._before : self._after]
        return F.pad(rest, (0, wanted - rest.shape[1]))

    def _counted(self, count: int) -> Tensor:
        counted = overlap_add(self._squares.expand(1, count, -1), self._hop)
        counted[:, : self._weight.shape[1]] += self._weight
        return counted


class DftAnalysis(nn.Module):
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


class OverlapAdd(nn.Module):
    """(B,2K,T) spectrum onto what the frames before left; as ``torch.fft.irfft``, the window, and
    :class:`muomni_vocoders.stft.OverlapAddStream`."""

    window: Tensor
    factors: Tensor
    squares: Tensor

    def __init__(self, mel: MelConfig, window: Tensor, center: int = 0) -> None:
        super().__init__()
        self.hop, self.least = mel.hop, least_of(window)
        self.waves = Waves(mel.n_fft, mel.window, center)
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
