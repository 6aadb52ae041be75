"""Baseline of the same architecture: transformers' ViTModel, to compare speed and numbers. Imported only by benchmarks
and tests; needs the extra ``muomni[bench]``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from muomni_cli.api import EncoderOutput, RequestError
from muomni_vit.plugin import VitConfig


class VitPeer(nn.Module):
    """ViTModel of the same sizes with SDPA attention; same interface as :class:`muomni_vit.model.Vit`."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        if config.positions != "learned":
            raise RequestError("transformers' ViT has only learned positions", 'measure with positions = "learned"')
        if config.stem != "patch":
            raise RequestError("transformers' ViT has no convolutional stem", 'measure with stem = "patch"')
        if config.tokens not in ("cls", config.grid):
            raise RequestError("transformers' ViT does not pool patches", 'measure with tokens = "cls"')
        self.config = config
        settings = ViTConfig(
            hidden_size=config.d_model,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            intermediate_size=config.d_ff,
            hidden_act="gelu",
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=0.0,
            layer_norm_eps=config.norm_eps,
            image_size=config.size,
            patch_size=config.patch,
        )
        self.vit = ViTModel(settings, add_pooling_layer=False)
        self.vit.set_attn_implementation("sdpa")
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)

    def forward(self, inputs: Tensor) -> EncoderOutput:
        """(B,3,S,S) pictures of 0 to 255 -> tokens (B,1,D), or (B,G²,D)."""
        pixels = (inputs / 255 - self.mean) / self.std
        states = self.vit(pixel_values=pixels).last_hidden_state
        tokens = states[:, :1] if self.config.tokens == "cls" else states[:, 1:]
        return EncoderOutput(tokens=tokens, lengths=[tokens.shape[1]] * len(inputs))


def vit(config: VitConfig) -> VitPeer:
    """Build the baseline with random weights."""
    return VitPeer(config)
