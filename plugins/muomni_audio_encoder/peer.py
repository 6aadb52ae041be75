"""Speed baseline of a similar architecture: transformers' WhisperEncoder.

The same width, layers, heads and MLP, SDPA attention, and the log-mel of :class:`muomni_cli.audio.mel.LogMel` in front,
so that both start from samples. Differences: Whisper's convolutions run along time only, with the mel bins as channels
(F -> W, then W -> W with stride 2), and give 50 tokens a second instead of 25; positions are added, not rotary; norms
are LayerNorms; keys have no bias. Inputs are not padded to 30 seconds as by Whisper. :func:`whisper_at_our_rate` has
stride 2 in the first convolution too: 25 tokens a second.

Imported only by benchmarks and tests; needs the extra ``muomni[bench]``.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_cli.api import EncoderOutput
from muomni_cli.audio.mel import LogMel


class WhisperPeer(nn.Module):
    """WhisperEncoder with our log-mel and the interface of :class:`muomni_audio_encoder.model.AudioEncoder`. ``stride``
    is that of the first convolution (Whisper: 1)."""

    positions: Tensor

    def __init__(self, config: AudioEncoderConfig, stride: int) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config)
        # The benchmark runs on a minute of sound, even if max_seconds is less.
        longest = round(max(config.max_seconds, 60.0) * config.sample_rate) // config.hop
        settings = WhisperConfig(
            num_mel_bins=config.n_mels,
            d_model=config.d_model,
            encoder_layers=config.n_layers,
            encoder_attention_heads=config.n_heads,
            encoder_ffn_dim=config.d_ff,
            max_source_positions=longest // (2 * stride) + 1,
            dropout=config.dropout,
        )
        self.encoder = WhisperEncoder(settings)
        self.encoder.set_attn_implementation("sdpa")
        self.encoder.conv1.stride = (stride,)
        self.rate = 2 * stride
        table = self.encoder.embed_positions.weight.detach().clone()
        self.register_buffer("positions", table, persistent=False)

    def forward(self, inputs: Tensor) -> EncoderOutput:
        """(B,N) waveforms -> tokens (B,T,W)."""
        mel = (self.mel(inputs) - self.config.mel_mean) / self.config.mel_scale
        count = mel.shape[1] // self.rate
        table = self.encoder.embed_positions
        if table.num_embeddings != count:  # WhisperEncoder accepts only inputs of its maximum length
            table.num_embeddings = self.encoder.config.max_source_positions = count
            table.weight = nn.Parameter(self.positions[:count], requires_grad=False)
        tokens = self.encoder(mel[:, : count * self.rate].mT).last_hidden_state
        return EncoderOutput(tokens=tokens, lengths=[count] * len(inputs))


def whisper(config: AudioEncoderConfig) -> WhisperPeer:
    """The baseline with Whisper's strides: 50 tokens a second."""
    return WhisperPeer(config, stride=1)


def whisper_at_our_rate(config: AudioEncoderConfig) -> WhisperPeer:
    """The baseline with stride 2 twice: 25 tokens a second, as ours."""
    return WhisperPeer(config, stride=2)
