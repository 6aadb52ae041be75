"""Vocos (arXiv:2306.00814) as its authors publish it, as a vocoder: ConvNeXt blocks over the log-mel, which are not
causal, and an inverse short-time Fourier transform.

Shapes: B batch, M mel frames, F mel bins, N samples, K frequencies, W samples of a window, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import MelConfig, expand_path, require_mel
from muomni_cli.audio.context_stream import ContextStream
from muomni_cli.audio.mel import Waves
from muomni_transformers.checkpoint_config import settings_of
from muomni_transformers.hifigan import streamed
from muomni_transformers.speech_settings import VocosCheckpointConfig
from muomni_transformers.weights import load_tensors

IGNORED = ("feature_extractor.", "head.istft.")  # tables, which follow from the settings
LOUDEST = 1e2  # magnitude of one frequency
LEAST = 1e-3  # of the windows over a sample; fewer lie over the last ones


class Block(nn.Module):
    """A ConvNeXt block over (B,D,M)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.pwconv1(self.norm(self.dwconv(x).transpose(1, 2)))
        return x + (self.gamma * self.pwconv2(F.gelu(hidden))).transpose(1, 2)  # type: ignore[no-any-return]


class Backbone(nn.Module):
    """(B,M,F) log-mel -> (B,M,D)."""

    def __init__(self, config: VocosCheckpointConfig) -> None:
        super().__init__()
        self.embed = nn.Conv1d(config.mel.n_mels, config.channels, 7, padding=3)
        self.norm = nn.LayerNorm(config.channels, eps=1e-6)
        self.convnext = nn.ModuleList(Block(config.channels, config.hidden) for _ in range(config.layers))
        self.final_layer_norm = nn.LayerNorm(config.channels, eps=1e-6)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.norm(self.embed(mel.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x.transpose(1, 2))  # type: ignore[no-any-return]


class Head(nn.Module):
    """(B,M,D) -> (B, hop*M) samples: magnitudes and phases of frames, centered on every hop-th sample."""

    window: Tensor
    factors: Tensor

    def __init__(self, width: int, mel: MelConfig) -> None:
        super().__init__()
        self.hop, self.n_fft = mel.hop, mel.n_fft
        self.out = nn.Linear(width, mel.n_fft + 2)
        self.waves = Waves(mel.n_fft, mel.n_fft)
        factors = torch.full((mel.n_fft // 2 + 1, 1), 2 / mel.n_fft)  # the other half of the spectrum
        factors[[0, -1]] /= 2
        self.register_buffer("factors", torch.cat((factors, -factors)), persistent=False)
        self.register_buffer("window", torch.hann_window(mel.n_fft), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        magnitudes, phases = self.out(x).transpose(1, 2).chunk(2, dim=1)
        magnitudes = magnitudes.exp().clamp(max=LOUDEST)
        if torch.compiler.is_exporting():  # the same as a matrix product
            spectrum = torch.cat((magnitudes * phases.cos(), magnitudes * phases.sin()), dim=1)
            kernel = (self.waves() * self.factors * self.window)[:, None]
            summed = F.conv_transpose1d(spectrum, kernel, stride=self.hop)[:, 0]
        else:
            frames = torch.fft.irfft(torch.polar(magnitudes, phases), self.n_fft, dim=1) * self.window[:, None]
            size = (1, (x.shape[1] - 1) * self.hop + self.n_fft)
            summed = F.fold(frames, size, (1, self.n_fft), stride=(1, self.hop))[:, 0, 0]
        squares = self.window.square()[None, None]
        weights = F.conv_transpose1d(torch.ones_like(x[:1, :, :1]).transpose(1, 2), squares, stride=self.hop)[:, 0]
        begin = self.n_fft // 2
        return (summed / weights.clamp_min(LEAST))[:, begin : begin + x.shape[1] * self.hop]


class VocosCheckpoint(nn.Module):
    """A :class:`muomni_cli.api.Vocoder`; ``tower`` has the weights under the names of the published checkpoints."""

    def __init__(self, config: VocosCheckpointConfig, mel: MelConfig) -> None:
        super().__init__()
        require_mel("vocos-checkpoint", config.mel, mel)
        self.config, self.mel = config, mel
        self.tower = nn.ModuleDict({"backbone": Backbone(config), "head": Head(config.channels, mel)})

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, hop*M) samples."""
        return self.tower["head"](self.tower["backbone"](mel))  # type: ignore[no-any-return]

    def stream(self, batch: int = 1) -> ContextStream:
        """The same for chunks of (B,M,F), block by block, each with what it depends on at both sides."""
        return streamed(self, batch)


def load(module: VocosCheckpoint, config: VocosCheckpointConfig) -> str:
    """Load what ``weights`` names, if anything; returns the folder. RequestError if the checkpoint is another than the
    settings describe, or is damaged."""
    if config.weights:
        folder = expand_path(config.weights)
        settings_of(config.family, folder)  # names what is not supported
        load_tensors(module.tower, folder, IGNORED)
    return config.weights


build = VocosCheckpoint
