"""Frames of a spectrogram back to samples: windowed, laid over each other, and divided by how often each was counted.

Shapes: B batch, T frames, W samples of a window, N samples.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LEAST = 1e-3
"""Share of a window's largest square below which a sum of squares is not divided by."""


def least_of(window: Tensor) -> float:
    """The least that sums of squares of this window are divided by."""
    return float(window.max().item() ** 2 * LEAST)


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(B,T,W) -> (B, (T-1)*hop + W): the sum of frames that begin ``hop`` samples after each other."""
    count, window = frames.shape[1:]
    size = (1, (count - 1) * hop + window)
    return F.fold(frames.transpose(1, 2), size, (1, window), stride=(1, hop))[:, 0, 0]


class Overlap:
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
