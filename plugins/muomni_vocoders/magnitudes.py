"""What a log-mel says of the magnitudes of single frequencies.

Shapes: B batch, M mel frames, F mel bins, K = n_fft / 2 + 1 frequencies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.sound.log_mel import mel_filters


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
