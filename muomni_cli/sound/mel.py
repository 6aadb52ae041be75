"""Waveform to log-mel: what ears hear and voices are made of. Knows samples and bins, no network.

The mel of frame t is ``log(power + mel_floor)`` in nats, with ``power`` what a triangular filter on the HTK mel scale
sums of the squared magnitudes of a Hann window around sample ``t * hop``. A full-scale sine reaches about 10 in its
bin, digital silence is ``log(mel_floor)``, -11.5 by default: the floor lies above the rounding noise of 16-bit files,
so one sound stored in two ways gives one picture.

Shapes: B batch, N samples, T frames, F mel bins, K = n_fft / 2 + 1 frequencies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.contract.sound import MelSettings
from muomni_cli.layers.waves import Waves
from muomni_cli.sound.log_mel import mel_filters


class LogMel(nn.Module):
    """(B,N) waveforms -> (B,T,F) log-mel with T = N // hop: exactly 100 frames a second at 16 kHz and hop 160.

    As torch's centred STFT with zeros around the sound, less its last frame. It learns nothing, and keeps nothing in a
    checkpoint.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: MelSettings) -> None:
        super().__init__()
        self.hop, self.side, self.n_fft, self.floor = config.hop, config.window // 2, config.n_fft, config.mel_floor
        window = torch.hann_window(config.window, dtype=torch.float64)
        self.waves = Waves(self.n_fft, self.side)  # at the samples after the centre
        for name, value in {"window": window, "filters": torch.from_numpy(mel_filters(config))}.items():
            self.register_buffer(name, value.float(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """(B,N) -> (B,T,F), in float32 even under autocast: a bf16 power spectrum is deaf to quiet sounds."""
        if torch.is_autocast_enabled(waves.device.type):
            with torch.autocast(waves.device.type, enabled=False):
                return self.forward(waves)
        frames = self.frames(waves.float())
        power = self.power_of_products(frames) if torch.compiler.is_exporting() else self.power(frames)
        return torch.log(power @ self.filters + self.floor)

    def frames(self, waves: Tensor) -> Tensor:
        """(B,N) -> (B,T,window): what lies around every hop-th sample, silence beyond both ends."""
        padded = F.pad(waves, (self.side, self.side))
        return padded.unfold(1, 2 * self.side, self.hop)[:, : waves.shape[1] // self.hop]

    def power(self, frames: Tensor) -> Tensor:
        """(B,T,window) -> (B,T,K) squared magnitudes."""
        if not frames.numel():  # of a sound shorter than a hop; some builds' transforms refuse to take nothing
            return frames.new_zeros(*frames.shape[:-1], self.n_fft // 2 + 1)
        spectrum = torch.fft.rfft(frames * self.window, n=self.n_fft)
        return spectrum.real.square() + spectrum.imag.square()  # type: ignore[no-any-return]

    def power_of_products(self, frames: Tensor) -> Tensor:
        """The same from plain products, for exported graphs. About its centre a frame is an even part, which only
        cosines see, plus an odd one, which only sines see: half the work of one matrix for the whole window."""
        cosines, sines = (self.waves() * self.window[self.side :]).t().chunk(2, dim=1)  # (window/2,K) each
        left, right = frames[..., 1 : self.side].flip(-1), frames[..., self.side :]
        centre, right = right[..., :1], right[..., 1:]
        even = torch.cat((centre, right + left), dim=-1)
        power: Tensor = (even @ cosines).square() + ((right - left) @ sines[1:]).square()
        return power
