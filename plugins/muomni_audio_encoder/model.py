"""The audio encoder: log-mel, strided convolutions, and transformer blocks with rotary positions.

Like Whisper's encoder (arXiv:2212.04356), but with two-dimensional convolutions.

Shapes: B batch, N samples, T frames or tokens, F mel bins, C channels, W width, H heads of Dh.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_audio_encoder.plugin import AudioEncoderConfig, halved
from muomni_cli.api import EncoderOutput, RequestError
from muomni_cli.audio.mel import LogMel
from muomni_cli.nn.transformer import attend

DEEPEST = 10.0  # nats below the mean power of a sound, 43 dB: what is quieter is silence


def real(counts: Tensor, time: int) -> Tensor:
    """(B,time) bool: true for the first ``counts[b]`` frames of row b."""
    return torch.arange(time, device=counts.device) < counts[:, None]


class Downsample(nn.Module):
    """(B,T,F) -> (B,T',W): convolutions of stride 2, which halve time and frequency, and one Linear."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        channels, bins = [1] + [config.channels] * config.convolutions, config.n_mels
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in itertools.pairwise(channels)
        )
        for _ in self.convolutions:
            bins = halved(bins)
        self.proj = nn.Linear(config.channels * bins, config.d_model)

    def forward(self, mel: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B,T,F) and frame counts (B,) -> (B,T',W) and token counts (B,).

        Padding frames are zeroed before every convolution, as its own padding, so that batch padding has no effect.
        """
        # (B,1,T,F) in channels-last memory format: a fifth faster on a CPU
        x = mel[..., None].permute(0, 3, 1, 2)
        for number, convolution in enumerate(self.convolutions):
            if counts is not None:
                x = x.masked_fill(~real(counts, x.shape[2])[:, None, :, None], 0.0)
                counts = (counts + 1) // 2
            x = convolution(F.gelu(x) if number else x)  # (B,C,T/2,F/2)
        return self.proj(F.gelu(self.in_rows(x))), counts  # GELU after the copy: its gradient is contiguous

    def in_rows(self, x: Tensor) -> Tensor:
        """(B,C,T,F) -> (B,T,C*F)."""
        return x.permute(0, 2, 1, 3).flatten(2)


class AudioAttention(nn.Module):
    """Bidirectional self-attention with rotary positions."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(B,T,W) -> (B,T,W)."""
        heads = self.qkv(x).unflatten(2, (-1, self.head_dim))  # (B,T,3H,Dh)
        turning, value = heads.split_with_sizes([heads.shape[2] // 3 * 2, heads.shape[2] // 3], dim=2)
        turned = turning * cos + turning.roll(self.head_dim // 2, dims=3) * sin
        query, key = turned.to(value.dtype).transpose(1, 2).chunk(2, dim=1)  # (B,H,T,Dh)
        mixed = attend(query, key, value.transpose(1, 2), mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class AudioConvolution(nn.Module):
    """A gated convolution over time, one channel at a time, as in the Conformer (arXiv:2005.08100), with RMSNorm in the
    place of batch normalization."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        width = config.d_model
        self.up = nn.Linear(width, 2 * width)
        self.convolution = nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2, groups=width)
        self.norm = nn.RMSNorm(width, config.norm_eps)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, kept: Tensor | None) -> Tensor:
        """(B,T,W) -> (B,T,W); ``kept`` (B,T) is false in padding, which counts as zero."""
        x = F.glu(self.up(x), dim=-1)
        if kept is not None:
            x = x.masked_fill(~kept[..., None], 0.0)
        x = self.convolution(x.transpose(1, 2)).transpose(1, 2)
        return self.out(F.silu(self.norm(x)))  # type: ignore[no-any-return]


class AudioBlock(nn.Module):
    """A pre-norm transformer layer, with a convolution between attention and MLP if the config has a kernel."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.attention = AudioAttention(config)
        if config.kernel:
            self.convolution_norm = nn.RMSNorm(config.d_model, config.norm_eps)
            self.convolution = AudioConvolution(config)
        self.kernel = config.kernel
        self.mlp_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.up = nn.Linear(config.d_model, config.d_ff)
        self.down = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, kept: Tensor | None) -> Tensor:
        """(B,T,W) -> (B,T,W); ``kept`` (B,T) is false in padding."""
        mask = None if kept is None else kept[:, None, None]  # (B,1,1,T): padding keys are masked
        x = x + self.dropout(self.attention(self.attention_norm(x), cos, sin, mask))
        if self.kernel:
            x = x + self.dropout(self.convolution(self.convolution_norm(x), kept))
        return x + self.dropout(self.down(F.gelu(self.up(self.mlp_norm(x)))))  # type: ignore[no-any-return]


class AudioEncoder(nn.Module):
    """A :class:`muomni_cli.api.Encoder` of sound."""

    speeds: Tensor

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config)
        self.downsample = Downsample(config)
        self.blocks = nn.ModuleList(AudioBlock(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)
        half = config.head_dim // 2
        speeds = config.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
        self.register_buffer("speeds", speeds.float(), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Convolutions preserve variance; linear layers as in GPT-2, smaller where they write to the residual stream;
        zero biases, norms of one."""
        residual = 0.02 / math.sqrt(2 * self.config.n_layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
            elif parameter.ndim >= 3:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.normal_(parameter, std=residual if name.endswith(("out.weight", "down.weight")) else 0.02)

    @property
    def width(self) -> int:
        return self.config.d_model

    def forward(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:
        """(B,N) waveforms at ``sample_rate``, full scale 1, ``lengths[b]`` samples each -> tokens.
        Raises RequestError: a sound is shorter than one token, or a length is larger than N."""
        samples = [inputs.shape[1]] * inputs.shape[0] if lengths is None else list(lengths)
        if len(samples) != inputs.shape[0] or max(samples) > inputs.shape[1]:
            raise RequestError(
                f"lengths {samples} do not describe waveforms of shape {tuple(inputs.shape)}",
                "give one length a row, none larger than the row",
            )
        if min(samples) < self.config.shortest:
            raise RequestError(
                f"a sound of {min(samples)} samples is shorter than one token, {self.config.shortest} samples",
                "give a longer sound, or pad it with silence",
            )
        inputs = inputs[:, : max(samples)]
        equal = min(samples) == max(samples)
        tokens = self.encode(inputs, None if equal else torch.tensor(samples, device=inputs.device))
        return EncoderOutput(tokens, [self.config.num_tokens(n) for n in samples])

    def encode(self, waves: Tensor, samples: Tensor | None = None) -> Tensor:
        """(B,N) waveforms with (B,) sample counts (None: no padding) -> (B,T,W) tokens, zero in padding. For export."""
        if samples is not None:  # filled, not multiplied: padding may hold anything, and 0 * NaN is NaN
            waves = waves.masked_fill(~real(samples, waves.shape[1]), 0.0)
        frames = None if samples is None else samples // self.config.hop
        return self.hear(self.normalized(self.mel(waves), frames), frames)

    def normalized(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """(B,T,F) log-mel with (B,) frame counts (None: no padding) -> the same, or with ``loudness = false`` relative
        to the mean power of the real frames, and no lower than :data:`DEEPEST` below."""
        if self.config.loudness:
            return mel
        power = mel.exp().mean(2)  # (B,T)
        if frames is not None:
            power = power.masked_fill(~real(frames, mel.shape[1]), 0.0)
        mean = power.sum(1) / (mel.shape[1] if frames is None else frames)
        return (mel - mean.log()[:, None, None]).clamp(min=-DEEPEST)

    def hear(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """(B,T,F) log-mel with (B,) frame counts (None: no padding) -> (B,T',W): :meth:`encode` from the log-mel on,
        which training masks."""
        x, counts = self.downsample((mel - self.config.mel_mean) / self.config.mel_scale, frames)
        angles = torch.arange(x.shape[1], device=x.device)[:, None, None] * self.speeds  # (T,1,Dh/2)
        cos, sin = angles.cos(), angles.sin()  # RoPE (arXiv:2104.09864) for any length; the signs are in the sines
        cos, sin = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)  # (T,1,Dh)
        kept = None if counts is None else real(counts, x.shape[1])
        x = x.to(self.norm.weight.dtype)  # keep the residual stream in fp32 under autocast
        for block in self.blocks:
            x = block(x, cos, sin, kept)
        x = self.norm(x)
        return x if kept is None else x.masked_fill(~kept[..., None], 0.0)  # type: ignore[no-any-return]


def build(config: AudioEncoderConfig) -> AudioEncoder:
    """An audio encoder with random weights from torch's global generator."""
    return AudioEncoder(config)
