"""Cosines and sines of a Fourier transform, looked up in a table of one turn.

A matrix of them takes megabytes in an exported graph, and its recipe some hundred bytes: whoever opens the graph makes
the matrix again, once. Angles are whole steps of a turn, so nothing is lost.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Waves(nn.Module):
    """() -> (2K,W): the cosines, then the sines, of K = n_fft / 2 + 1 frequencies at W samples.

    Args:
        n_fft: samples of one turn of frequency 1.
        count: W.
        centre: the sample that is time zero.
    """

    turn: Tensor
    times: Tensor
    frequencies: Tensor
    offsets: Tensor

    def __init__(self, n_fft: int, count: int, centre: int = 0) -> None:
        super().__init__()
        self.n_fft = n_fft
        angles = 2 * math.pi / n_fft * torch.arange(n_fft, dtype=torch.float64)
        frequencies = torch.arange(n_fft // 2 + 1)
        tables = {
            "turn": torch.cat((angles.cos(), angles.sin())).float(),
            "times": (torch.arange(count) - centre) % n_fft,
            "frequencies": torch.cat((frequencies, frequencies))[:, None],
            "offsets": torch.arange(2).repeat_interleave(len(frequencies))[:, None] * n_fft,
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self) -> Tensor:
        """See above."""
        return self.turn[self.frequencies * self.times % self.n_fft + self.offsets]
