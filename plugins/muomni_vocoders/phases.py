"""A first guess at phases from magnitudes alone: every peak is a sine that goes on.

Single pass spectrogram inversion (Beauregard, Harish and Wyse 2015). Griffin-Lim that begins there comes further in
16 iterations than in 32 from zeros.

Shapes: B batch, T frames, K frequencies.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def peak_frequencies(magnitudes: Tensor) -> Tensor:
    """(B,T,K) -> (B,T,K): of each bin, the frequency of the nearest peak in bins, from the parabola through its top;
    its own where there is no peak."""
    below, here, above = magnitudes[..., :-2], magnitudes[..., 1:-1], magnitudes[..., 2:]
    count = magnitudes.shape[-1]
    bins = torch.arange(count, dtype=magnitudes.dtype, device=magnitudes.device)
    inner = bins[1:-1]
    peak = (here > below) & (here >= above)
    bend = (below - 2 * here + above).clamp_max(-torch.finfo(magnitudes.dtype).tiny)
    tops = inner + ((below - above) / (2 * bend)).clamp(-0.5, 0.5)
    left = running_max(torch.where(peak, inner, -count))
    right = -running_max(torch.where(peak, -inner, -2 * count).flip(-1)).flip(-1)
    nearest = torch.where(inner - left <= right - inner, left, right)
    found = (nearest > 0) & (nearest < count)
    chosen = tops.gather(-1, torch.where(found, nearest, inner).long() - 1)
    return torch.cat(
        (bins[:1].expand_as(here[..., :1]), torch.where(found, chosen, inner), bins[-1:].expand_as(here[..., :1])),
        dim=-1,
    )


def predicted(magnitudes: Tensor, before: Tensor | None, hop: int, n_fft: int) -> Tensor:
    """(B,T,K) complex spectrum of frames whose first sample is time zero of their phases.

    Args:
        magnitudes: (B,T,K), T at least 1.
        before: (B,K) complex spectrum of the frame before the first, if there is one. Silence has phase zero.
        hop: samples from one frame to the next.
        n_fft: length of the transform.
    """
    phases = 2 * math.pi * turns(magnitudes, hop, n_fft).cumsum(1)
    if before is not None:
        phases = phases + torch.where(before == 0, 0, before.angle())[:, None]
    return torch.polar(magnitudes, phases)


def turns(magnitudes: Tensor, hop: int, n_fft: int) -> Tensor:
    """(B,T,K) -> (B,T,K): how far each phase is from that of the frame before, in turns, without whole ones."""
    moved = (hop / n_fft) * peak_frequencies(magnitudes)
    return moved - moved.floor()  # sums of whole turns would only cost digits


def running_max(x: Tensor) -> Tensor:
    """(...,K) -> (...,K): the largest value so far."""
    if not torch.compiler.is_exporting():
        return x.cummax(-1).values
    reach = 1
    while reach < x.shape[-1]:  # for exported graphs, which have no such operator: over 2, 4, 8 ... places
        before = F.pad(x[..., :-reach], (reach, 0), value=-math.inf)
        x, reach = torch.maximum(x, before), 2 * reach
    return x
