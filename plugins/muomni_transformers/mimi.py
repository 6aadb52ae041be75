"""Mimi (arXiv:2410.00037) of transformers as a codec of waveforms: a SEANet and a transformer at both ends of a
residual vector quantizer.

Shapes: B batch, N samples, T code frames, L = 2 T frames of the transformers, D width, Q codebooks, K codes in each,
C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from torch import Tensor, nn
from transformers import MimiModel

from muomni_transformers.checkpoint_config import MIMI, their_settings
from muomni_transformers.seanet import SeanetCodec, causal, convolved, nearest, summed, upsampled
from muomni_transformers.speech_settings import MimiConfig


class Mimi(SeanetCodec):
    """A :class:`muomni_cli.contract.codecs.WaveCodec`."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__(config, MimiModel(_settings(config)))
        self.config = config
        for codebook in _codebooks(self.tower.quantizer):  # those of a new model are all zero
            nn.init.normal_(codebook.embed_sum)

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B, frame*T) samples; none depends on later codes."""
        quantizer, first = self.tower.quantizer, self.config.semantic
        sums = _sum(quantizer.semantic_residual_vector_quantizer, codes[..., :first])
        x = sums + _sum(quantizer.acoustic_residual_vector_quantizer, codes[..., first:])
        decoder = self.tower.decoder
        x = self._attended(decoder.decoder_transformer, upsampled(decoder.upsample.conv, x).transpose(1, 2))
        return convolved(decoder.decoder_seanet.layers, x.transpose(1, 2))[:, 0]

    def latents(self, waves: Tensor) -> Tensor:
        """(B, frame*T) samples -> (B,T,D) before quantization."""
        encoder = self.tower.encoder
        x = convolved(encoder.encoder_seanet.layers, waves[:, None])
        x = self._attended(encoder.encoder_transformer, x.transpose(1, 2)).transpose(1, 2)
        return causal(encoder.downsample.conv, x, "replicate").transpose(1, 2)

    def quantized(self, latents: Tensor) -> Tensor:
        """(B,T,D) -> (B,T,Q) codes."""
        quantizer, first = self.tower.quantizer, self.config.semantic
        codes = _nearest(quantizer.semantic_residual_vector_quantizer, latents, first)
        codes += _nearest(quantizer.acoustic_residual_vector_quantizer, latents, self.codebooks - first)
        return torch.stack(codes, dim=-1)

    def _attended(self, transformer: Any, x: Tensor) -> Tensor:
        """(B,L,D) -> (B,L,D): blocks with rotary positions, each frame looking back ``window`` frames."""
        places = torch.arange(x.shape[1], device=x.device)
        apart = places[:, None] - places
        visible = (apart >= 0) & (apart < self.config.window)
        angles = places[:, None] * transformer.rotary_emb.inv_freq
        turns = torch.cat((angles, angles), dim=-1)
        cosines, sines = turns.cos(), turns.sin()  # (L, D of a head)
        for layer in transformer.layers:
            attention, normed = layer.self_attn, layer.input_layernorm(x)
            query, key, value = (
                project(normed).unflatten(2, (self.config.n_heads, -1)).transpose(1, 2)
                for project in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            query, key = (rows * cosines + _turned(rows) * sines for rows in (query, key))
            mixed = F.scaled_dot_product_attention(query, key, value, visible)
            x = x + layer.self_attn_layer_scale(attention.o_proj(mixed.transpose(1, 2).flatten(2)))
            x = x + layer.mlp_layer_scale(layer.mlp(layer.post_attention_layernorm(x)))
        return x


def _settings(config: MimiConfig) -> Any:
    return transformers.MimiConfig(
        **their_settings(MIMI, config),
        codebook_dim=config.code_dim,
        num_key_value_heads=config.n_heads,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
    )


def _codebooks(quantizer: Any) -> Iterable[Any]:
    both = (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer)
    return (layer.codebook for half in both for layer in half.layers)


def _table(codebook: Any) -> Tensor:
    """(K,C) code vectors: the means of what each code stood for in training."""
    return cast("Tensor", codebook.embed_sum / codebook.cluster_usage.clamp(min=codebook.epsilon)[:, None])


def _nearest(half: Any, latents: Tensor, count: int) -> list[Tensor]:
    """(B,T,D) -> (B,T) codes of the first ``count`` codebooks of one half."""
    if half.input_proj is not None:
        latents = half.input_proj(latents.transpose(1, 2)).transpose(1, 2)
    return nearest((_table(layer.codebook) for layer in half.layers[:count]), latents)


def _sum(half: Any, codes: Tensor) -> Tensor:
    """(B,T,q) codes of one half's first codebooks -> (B,D,T), the sum of their vectors."""
    found = summed([_table(layer.codebook) for layer in half.layers[: codes.shape[-1]]], codes)
    return found if half.output_proj is None else cast("Tensor", half.output_proj(found))


def _turned(rows: Tensor) -> Tensor:
    first, second = rows.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


build = Mimi
