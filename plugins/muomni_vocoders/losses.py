"""How far a sound that was made lies from the true one, as ears compare them. Knows waveforms, no vocoder.

Shapes: B batch, N samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.sound.mel import LogMel

FACTORS = (0.5, 1.0, 2.0)
"""Lengths of the transforms, relative to the mel's own."""

OVERLAP = 4
"""Frames over each sample."""


class Spectra(nn.Module):
    """Magnitudes of one sound at several resolutions (arXiv:1910.11480)."""

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.sizes = [max(2 * OVERLAP, round(mel.n_fft * factor)) for factor in FACTORS]
        self.floor = mel.mel_floor
        for size in self.sizes:
            self.register_buffer(f"window{size}", torch.hann_window(size), persistent=False)

    def forward(self, waves: Tensor) -> list[Tensor]:
        """(B,N) -> magnitudes, (B, frequencies, frames) each."""
        return [self._magnitudes(waves, size) for size in self.sizes]

    def _magnitudes(self, waves: Tensor, size: int) -> Tensor:
        window = self.get_buffer(f"window{size}")
        found = torch.stft(
            waves, size, size // OVERLAP, window=window, center=True, pad_mode="constant", return_complex=True
        )
        return (found.real.square() + found.imag.square() + self.floor).sqrt()


class SpectralLoss(nn.Module):
    """Spectral convergence and distance of log-magnitudes at several resolutions, and distance of log-mels.

    Each row's loss is its own, so that a batch cut into shares is the same batch.
    """

    def __init__(self, mel: MelConfig, mel_weight: float) -> None:
        super().__init__()
        self.spectra, self.mel, self.mel_weight = Spectra(mel), LogMel(mel), mel_weight

    def forward(self, made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """(B,N), (B,N) -> (B,) loss, and (B,) mean distance of log-mels, in nats."""
        total = made.new_zeros(made.shape[0])
        pairs = list(zip(self.spectra(made), self.spectra(true), strict=True))
        for one, other in pairs:
            convergence = (one - other).norm(dim=(1, 2)) / other.norm(dim=(1, 2))
            total = total + (convergence + (one.log() - other.log()).abs().mean((1, 2))) / len(pairs)
        distance = (self.mel(made) - self.mel(true)).abs().mean((1, 2))
        return total + self.mel_weight * distance, distance
