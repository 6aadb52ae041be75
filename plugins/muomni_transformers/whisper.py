"""Whisper's encoder of transformers with its preprocessing, the log-mel, inside.

Shapes: B batch, N samples, M mel frames, F mel bins, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank
from transformers.models.whisper.modeling_whisper import WhisperEncoder as Tower

from muomni_cli.api import EncoderOutput, RequestError
from muomni_cli.audio.mel import Waves
from muomni_transformers.plugin import WhisperConfig

N_FFT, HOP = 400, 160  # of all Whisper models
QUIETEST = 1e-10  # power below which everything counts as silence
RANGE = 8.0  # powers of ten below the loudest that are told apart


class WhisperMel(nn.Module):
    """(B,N) samples -> (B,F,M) log-mel as of ``WhisperFeatureExtractor``: relative to the loudest of its row."""

    hann: Tensor
    filters: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.waves = Waves(N_FFT, N_FFT)
        filters = mel_filter_bank(
            num_frequency_bins=N_FFT // 2 + 1,
            num_mel_filters=n_mels,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=16_000,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("hann", torch.hann_window(N_FFT), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """(B,N) -> (B,F,N // HOP), in float32 even under autocast."""
        with torch.autocast(waves.device.type, enabled=False):
            waves, side = waves.float(), N_FFT // 2
            before, after = waves[:, 1 : side + 1].flip(1), waves[:, -side - 1 : -1].flip(1)  # mirrored at the ends
            frames = torch.cat((before, waves, after), dim=1).unfold(1, N_FFT, HOP)[:, : waves.shape[1] // HOP]
            mel = (self.power(frames * self.hann) @ self.filters).clamp(min=QUIETEST).log10()  # (B,M,F)
            loudest = mel.amax((1, 2), keepdim=True)
            return (torch.maximum(mel, loudest - RANGE) + 4).transpose(1, 2) / 4

    def power(self, frames: Tensor) -> Tensor:
        """(B,M,N_FFT) -> (B,M,N_FFT / 2 + 1) squared magnitudes; as matrix products in an exported graph."""
        if torch.compiler.is_exporting():
            real, imaginary = (frames @ self.waves().t()).chunk(2, dim=2)
        else:
            spectrum = torch.fft.rfft(frames)
            real, imaginary = spectrum.real, spectrum.imag
        return real.square() + imaginary.square()  # type: ignore[no-any-return]


class WhisperEncoder(nn.Module):
    """An :class:`muomni_cli.api.Encoder` of sound over ``tower``, a model of transformers. ``ignored`` and ``renamed``
    as of :class:`muomni_transformers.vision.VisionEncoder`."""

    ignored: ClassVar[tuple[str, ...]] = ("model.decoder.", "decoder.", "proj_out.")
    renamed: ClassVar[Mapping[str, str]] = {r"^(model\.)?encoder\.": ""}

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        settings = transformers.WhisperConfig(
            d_model=config.d_model,
            encoder_layers=config.n_layers,
            encoder_attention_heads=config.n_heads,
            encoder_ffn_dim=config.d_ff,
            activation_function=config.activation,
            num_mel_bins=config.n_mels,
            max_source_positions=config.n_ctx,
        )
        self.mel = WhisperMel(config.n_mels)
        self.tower = Tower(settings)

    @property
    def width(self) -> int:
        return self.config.d_model * self.config.stack

    def forward(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:
        """(B,N) samples at 16 kHz, ``lengths[b]`` of them real -> tokens. RequestError if a sound is longer than the
        window, or a length larger than N."""
        samples = [inputs.shape[1]] * inputs.shape[0] if lengths is None else list(lengths)
        longest, shortest = max(samples), min(samples)
        if len(samples) != inputs.shape[0] or longest > inputs.shape[1]:
            raise RequestError(
                f"lengths {samples} do not describe waveforms of shape {tuple(inputs.shape)}",
                "give one length a row, none larger than the row",
            )
        if longest > self.config.window or shortest < 1:
            raise RequestError(
                f"a sound of {longest if shortest else 0} samples does not fit the window of {self.config.window}",
                "give a sound that is not empty, and cut what is longer",
            )
        inputs = inputs[:, :longest]
        if shortest < longest:  # filled, not multiplied: padding may hold anything
            places = torch.arange(longest, device=inputs.device)
            inputs = inputs.masked_fill(places >= torch.tensor(samples, device=inputs.device)[:, None], 0.0)
        return EncoderOutput(self.encode(inputs), [self.config.num_tokens(n) for n in samples])

    def encode(self, waves: Tensor) -> Tensor:
        """(B,N) samples, silence where a row has ended -> (B,T,W) tokens. For export."""
        config = self.config
        silence = waves.new_zeros(waves.shape[0], config.window)
        output: Any = self.tower(self.mel(torch.cat((waves, silence), dim=1)[:, : config.window]))
        tokens: Tensor = output.last_hidden_state.unflatten(1, (-1, config.stack)).flatten(2)
        return tokens[:, : (waves.shape[1] + config.frame * config.stack - 1) // (config.frame * config.stack)]


def build(config: WhisperConfig) -> WhisperEncoder:
    """Whisper's encoder with random weights from torch's global generator."""
    return WhisperEncoder(config)
