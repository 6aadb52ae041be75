"""The channel vocoder (H. Dudley, "Remaking speech", 1939): bands of a carrier, as loud as the mel says.

Shapes: B batch, M mel frames, F mel bins, L mel frames of the carrier, H samples of a mel frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_dudley.carriers import carriers, gains
from muomni_dudley.config import DudleyConfig


class Dudley(nn.Module):
    """A :class:`muomni_cli.api.Vocoder` that learns nothing: it has no weights, only tables."""

    carriers: Tensor
    gains: Tensor
    fade: Tensor

    def __init__(self, config: DudleyConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        tables = {"carriers": carriers(config, mel), "gains": gains(mel)}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)
        self.register_buffer("fade", torch.arange(mel.hop) / mel.hop, persistent=False)
        self.loudest = 2 * math.log(mel.window / 2)  # of a full-scale constant; no sound has more in one band

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, H*M) samples."""
        return self.between(torch.cat((mel, mel[:, -1:]), dim=1), torch.zeros(1, dtype=torch.long, device=mel.device))

    def stream(self, batch: int = 1) -> Sounds:
        """The same of (B,M,F) that comes in pieces."""
        return Sounds(self, batch)

    def between(self, mel: Tensor, place: Tensor) -> Tensor:
        """(B,M+1,F) log-mel and (1,) the number of its first frame -> (B, H*M) samples from its first frame to its
        last. A mel frame lies at the first of its samples; on the way to the next one, amplitudes change evenly."""
        power = (mel.float().clamp_max(self.loudest).exp() - self.mel.mel_floor).clamp_min(0)
        loud = (power * self.gains).sqrt()[..., None]  # (B,M+1,F,1)
        numbers = torch.arange(mel.shape[1] - 1, device=mel.device) + place
        bands = self.carriers[numbers % len(self.carriers)]  # (M,H,F)
        here, there = (bands @ loud[:, :-1])[..., 0], (bands @ loud[:, 1:])[..., 0]
        return (here + (there - here) * self.fade).flatten(1)


class Sounds:
    """A sound on its way through :class:`Dudley`, one frame late; a :class:`muomni_cli.contract.speech.TensorStream`.
    After its end another begins."""

    def __init__(self, vocoder: Dudley, batch: int) -> None:
        self._vocoder, self._batch = vocoder, batch
        self._begin()

    def _begin(self) -> None:
        self._held = self._vocoder.carriers.new_zeros(self._batch, 0, self._vocoder.mel.n_mels)
        self._place = torch.zeros(1, dtype=torch.long, device=self._held.device)

    @torch.no_grad()
    def push(self, piece: Tensor) -> Tensor:
        """Take (B,M,F), give the samples up to the last of the frames."""
        mel = torch.cat((self._held, piece), dim=1)
        if not mel.shape[1]:
            return mel[..., 0]
        samples = self._vocoder.between(mel, self._place)
        self._held, self._place = mel[:, -1:], self._place + mel.shape[1] - 1
        return samples

    def finish(self) -> Tensor:
        """The samples after the last frame, which is held."""
        samples = self.push(self._held)
        self._begin()
        return samples


def build(config: DudleyConfig, mel: MelConfig) -> Dudley:
    """A vocoder for the mel of a codec."""
    return Dudley(config, mel)
