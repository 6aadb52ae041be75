"""Mimi (arXiv:2410.00037) of transformers as a codec of waveforms, and its export graphs.

The tower holds the weights. What is computed with them is written out here, for whole code frames alone: then nothing
depends on lengths, and one graph serves all of them.

Shapes: B batch, N samples, T code frames, L = 2 T frames of the transformers, D width, Q codebooks, K codes in each,
C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from torch import Tensor, nn
from transformers import MimiModel

from muomni_cli.api import Graph, GraphInput
from muomni_cli.nn.onnx_stack import FunctionGraph, quiet
from muomni_transformers.speech_settings import MimiConfig


class Mimi(nn.Module):
    """A :class:`muomni_cli.contract.speech.WaveCodec` over ``tower``, a model of transformers. ``ignored`` and
    ``renamed`` as of :class:`muomni_transformers.vision.VisionEncoder`."""

    ignored: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.config, self.sample_rate, self.frame = config, config.sample_rate, config.frame
        self.codebooks, self.codebook_size = config.codebooks, config.codebook_size
        self.tower = MimiModel(_settings(config))
        for codebook in _codebooks(self.tower.quantizer):  # those of a new model are all zero
            nn.init.normal_(codebook.embed_sum)

    def encode(self, waves: Tensor) -> Tensor:
        """(B, frame*T) samples -> (B,T,Q) int64 codes."""
        return self.quantized(self.latents(waves))

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B, frame*T) samples; none depends on later codes."""
        quantizer, first = self.tower.quantizer, self.config.semantic
        sums = _sum(quantizer.semantic_residual_vector_quantizer, codes[..., :first])
        x = sums + _sum(quantizer.acoustic_residual_vector_quantizer, codes[..., first:])
        decoder = self.tower.decoder
        x = self._attended(decoder.decoder_transformer, _upsampled(decoder.upsample, x).transpose(1, 2))
        return _convolved(decoder.decoder_seanet.layers, x.transpose(1, 2))[:, 0]

    def latents(self, waves: Tensor) -> Tensor:
        """(B, frame*T) samples -> (B,T,D) before quantization."""
        encoder = self.tower.encoder
        x = _convolved(encoder.encoder_seanet.layers, waves[:, None])
        x = self._attended(encoder.encoder_transformer, x.transpose(1, 2)).transpose(1, 2)
        first = x[..., :1].expand(-1, -1, 2)  # what lies before the beginning
        return encoder.downsample.conv(torch.cat((first, x), dim=2)).transpose(1, 2)  # type: ignore[no-any-return]

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
        sampling_rate=config.sample_rate,
        hidden_size=config.d_model,
        num_filters=config.filters,
        num_residual_layers=config.residual_layers,
        upsampling_ratios=list(config.rates),
        kernel_size=config.kernel,
        last_kernel_size=config.last_kernel,
        residual_kernel_size=config.residual_kernel,
        dilation_growth_rate=config.dilation_growth,
        compress=config.compress,
        use_conv_shortcut=config.shortcut,
        codebook_size=config.codebook_size,
        codebook_dim=config.code_dim,
        vector_quantization_hidden_dimension=config.code_dim,
        num_quantizers=config.trained_codebooks,
        num_semantic_quantizers=config.semantic,
        upsample_groups=config.groups,
        num_hidden_layers=config.n_layers,
        intermediate_size=config.d_ff,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_heads,
        norm_eps=config.norm_eps,
        sliding_window=config.window,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
    )


def _codebooks(quantizer: Any) -> Iterable[Any]:
    both = (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer)
    return (layer.codebook for half in both for layer in half.layers)


def _table(codebook: Any) -> Tensor:
    """(K,C) code vectors: the means of what each code stood for in training."""
    return cast("Tensor", codebook.embed_sum / codebook.cluster_usage.clamp(min=codebook.epsilon)[:, None])


def _nearest(half: Any, latents: Tensor, count: int) -> list[Tensor]:
    """(B,T,D) -> (B,T) codes of the first ``count`` codebooks: the nearest to the residual in each."""
    left = latents if half.input_proj is None else half.input_proj(latents.transpose(1, 2)).transpose(1, 2)
    codes = []
    for layer in half.layers[:count]:
        table = _table(layer.codebook)
        code = torch.argmin(table.square().sum(1) - 2 * (left @ table.t()), dim=-1)
        left = left - F.embedding(code, table)
        codes.append(code)
    return codes


def _sum(half: Any, codes: Tensor) -> Tensor:
    """(B,T,q) codes of one half's first codebooks -> (B,D,T), the sum of their vectors."""
    found = [
        F.embedding(code, _table(layer.codebook)) for code, layer in zip(codes.unbind(-1), half.layers, strict=False)
    ]
    summed = torch.stack(found).sum(0).transpose(1, 2)
    return summed if half.output_proj is None else cast("Tensor", half.output_proj(summed))


def _turned(rows: Tensor) -> Tensor:
    first, second = rows.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def _convolved(layers: Iterable[Any], x: Tensor) -> Tensor:
    """(B,C,N) through causal convolutions, whose strides divide N, residual blocks and activations."""
    for layer in layers:
        if hasattr(layer, "block"):
            kept = x if isinstance(layer.shortcut, nn.Identity) else _causal(layer.shortcut.conv, x)
            x = kept + _convolved(layer.block, x)
        elif isinstance(conv := getattr(layer, "conv", None), nn.ConvTranspose1d):
            x = _upsampled(layer, x)
        elif conv is not None:
            x = _causal(conv, x)
        else:
            x = layer(x)
    return x


def _causal(conv: nn.Conv1d, x: Tensor) -> Tensor:
    reach = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0]
    return cast("Tensor", conv(F.pad(x, (reach, 0))))


def _upsampled(layer: Any, x: Tensor) -> Tensor:
    """(B,C,N) -> (B,C', stride*N), without what only later inputs would complete."""
    rate = layer.conv.stride[0]
    return cast("Tensor", layer.conv(x)[..., : x.shape[2] * rate])


def graphs(module: Mimi) -> list[Graph]:
    """(B,T,n) samples of code frames -> (B,T,Q) codes, and (B,T,Q) codes from the beginning of a sound -> samples."""

    def encode(codec: Mimi, waves: Tensor) -> tuple[Tensor, Tensor]:
        latents = codec.latents(waves.flatten(1))
        return codec.quantized(latents), latents

    codes = GraphInput("codes", ("batch", "frames", module.codebooks), GraphInput.below(module.codebook_size))
    sizes = {
        "traced": {"batch": 2, "frames": 5},
        "one frame": {"batch": 1, "frames": 1},
        "batch 3": {"batch": 3, "frames": 9},
    }
    return [
        Graph(
            name="encoder",
            module=FunctionGraph(module, encode),
            inputs=[GraphInput("waves", ("batch", "frames", module.frame), quiet)],
            outputs=["codes", "latents"],
            cases=sizes,
            max_mismatch_fraction=0.01,
        ),
        Graph(
            name="decoder",
            module=FunctionGraph(module, Mimi.decode),
            inputs=[codes],
            outputs=["samples"],
            cases=sizes,
        ),
    ]


build = Mimi
