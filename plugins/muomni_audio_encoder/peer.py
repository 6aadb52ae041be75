"""The nearest architecture by other people: transformers' WhisperEncoder, to measure speed against.

The same width, layers, heads and MLP, SDPA attention, and the log-mel of :class:`muomni_cli.audio.mel.LogMel` in front,
so that both begin with samples. It differs in front: Whisper's convolutions run along time alone, with the mel bins as
channels (F -> W, then W -> W with stride 2), and give 50 tokens a second where ours gives 25. Its positions are added,
not rotary, its norms are LayerNorms, its keys have no bias. It pads nothing here, though Whisper itself always pads to
30 seconds. :func:`whisper_at_our_rate` is the same with stride 2 in the first convolution too: 25 tokens a second.

Imported only by benchmarks and tests; needs the extra ``muomni[bench]``.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from muomni_audio_encoder.config import AudioEncoderConfig
from muomni_cli.api import EncoderOutput
from muomni_cli.audio.mel import LogMel


class WhisperPeer(nn.Module):
    """WhisperEncoder behind our log-mel. Called like :class:`muomni_audio_encoder.model.AudioEncoder`.

    Args:
        config: sizes.
        stride: of its first convolution; Whisper's is 1.
    """

    positions: Tensor

    def __init__(self, config: AudioEncoderConfig, stride: int) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config)
        # The benchmark measures a minute, also of an encoder that reads no files of that length.
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
        self._fit(count)
        tokens = self.encoder(mel[:, : count * self.rate].mT).last_hidden_state
        return EncoderOutput(tokens=tokens, lengths=[count] * len(inputs))

    def _fit(self, count: int) -> None:
        """Make it take exactly ``count`` tokens: it refuses anything shorter than its longest sound."""
        table = self.encoder.embed_positions
        if table.num_embeddings != count:
            table.num_embeddings = self.encoder.config.max_source_positions = count
            table.weight = nn.Parameter(self.positions[:count], requires_grad=False)


def whisper(config: AudioEncoderConfig) -> WhisperPeer:
    """Build the peer with fresh weights, as Whisper is: 50 tokens a second."""
    return WhisperPeer(config, stride=1)


def whisper_at_our_rate(config: AudioEncoderConfig) -> WhisperPeer:
    """Build the peer with fresh weights and stride 2 twice: 25 tokens a second, as ours."""
    return WhisperPeer(config, stride=2)
