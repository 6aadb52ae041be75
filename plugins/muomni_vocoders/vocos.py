"""The trained vocoder: ConvNeXt blocks at the rate of the mel, then one inverse Fourier transform per frame.

Vocos (arXiv:2306.00814), causal with a short lookahead. Its magnitudes start from those of the mel (see
:mod:`muomni_vocoders.griffin_lim`), so that it learns phases and corrections.

Shapes: B batch, M mel frames, F mel bins, K frequencies, W samples of a window, N samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.nn.streaming import CausalConv, CausalStack, CausalStream, ConvNeXt, State, joined
from muomni_vocoders.dispersion import FRAMES, sweeps
from muomni_vocoders.griffin_lim import Magnitudes, OverlapAddStream
from muomni_vocoders.plugin import VocosConfig


class Vocos(nn.Module):
    """A :class:`muomni_cli.api.Vocoder`. RequestError if a mel filter is empty."""

    window: Tensor
    sweeps: Tensor

    def __init__(self, config: VocosConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        width, frequencies = config.channels, mel.n_fft // 2 + 1
        blocks = [
            ConvNeXt(width, config.hidden, kernel=config.kernel, scale=1 / config.layers) for _ in range(config.layers)
        ]
        self.head = nn.Linear(width, 2 * frequencies)
        first = CausalConv(mel.n_mels, config.kernel, width)
        self.backbone = CausalStack([first, nn.LayerNorm(width), *blocks, nn.LayerNorm(width)], mel.n_mels)
        self.magnitudes = Magnitudes(mel)
        self.register_buffer("window", torch.hann_window(mel.window), persistent=False)
        added = torch.from_numpy(sweeps(mel.sample_rate, mel.hop, mel.n_fft))
        self.register_buffer("sweeps", added, persistent=False)
        self.silence = mel.silent_level
        self.loudest = self.window.sum().log().item()  # of a full-scale constant, the most in one frequency

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, hop*M) samples."""
        late = self.config.lookahead
        frames, _ = self.step(F.pad(mel, (0, 0, 0, late), value=self.silence))
        overlap = OverlapAddStream(self.window, self.mel.hop, mel.shape[0])
        return torch.cat((overlap.push(frames[:, late:]), overlap.finish()), dim=1)

    def stream(self, batch: int = 1) -> VocosStream:
        return VocosStream(self, batch)

    def step(self, mel: Tensor, past: State | None = None) -> tuple[Tensor, State]:
        """(B,M,F) and the state after the mel before -> (B,M,W) windowed frames, late by the lookahead, and state: the
        backbone's, the mel held back, and the (1,) number of frames before, modulo :data:`FRAMES`."""
        normal = (mel - self.config.mel_mean) / self.config.mel_scale
        hidden, state = self.backbone(normal, None if past is None else past[:-2])
        known, held = joined(mel, None if past is None else past[-2], self.config.lookahead)
        turn = torch.zeros(1, dtype=torch.long, device=mel.device) if past is None else past[-1]
        frames = self.frames(self.head(hidden), known[:, : mel.shape[1]], turn)
        return frames, (*state, held, (turn + mel.shape[1]) % FRAMES)

    def frames(self, output: Tensor, mel: Tensor, turn: Tensor) -> Tensor:
        """(B,M,2K) corrections of log-magnitudes and phases at the window's middle, (B,M,F) mel of the same frames, and
        the (1,) number of frames before -> (B,M,W)."""
        if not mel.shape[1]:  # which a transform refuses
            return output.new_zeros(mel.shape[0], 0, self.mel.window)
        samples = torch.fft.irfft(torch.polar(*self.polar(output, mel, turn)), n=self.mel.n_fft)
        side = self.mel.window // 2
        return torch.cat((samples[..., -side:], samples[..., :side]), dim=-1) * self.window

    def polar(self, output: Tensor, mel: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """The same -> (B,M,K) magnitudes, and phases at the window's middle; in training without the dispersion, whose
        moving sweeps no loss should see."""
        corrections, phases = output.float().chunk(2, dim=-1)
        known = self.magnitudes.power(mel).clamp_min(self.mel.mel_floor).log() / 2
        if not self.training:
            phases = phases + self.sweeps[(turn + torch.arange(mel.shape[1], device=mel.device)) % FRAMES]
        return (known + corrections).clamp_max(self.loudest).exp(), phases


class VocosStream:
    """Streaming :class:`Vocos`; a :class:`muomni_cli.contract.speech.TensorStream`, reusable after :meth:`finish`."""

    def __init__(self, vocoder: Vocos, batch: int) -> None:
        mel, late = vocoder.mel, vocoder.config.lookahead
        tail = vocoder.window.new_full((batch, late, mel.n_mels), vocoder.silence)
        self._frames = CausalStream(vocoder.step, tail, late)
        self._vocoder, self._batch = vocoder, batch
        self._overlap = self._new()

    @torch.no_grad()
    def push(self, piece: Tensor) -> Tensor:
        """(B,M,F) -> the samples that no later mel changes."""
        return self._overlap.push(self._frames.push(piece))

    @torch.no_grad()
    def finish(self) -> Tensor:
        made = self._overlap.push(self._frames.finish()), self._overlap.finish()
        self._overlap = self._new()
        return torch.cat(made, dim=1)

    def _new(self) -> OverlapAddStream:
        return OverlapAddStream(self._vocoder.window, self._vocoder.mel.hop, self._batch)


build = Vocos
