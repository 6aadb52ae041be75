"""One new token a row, written flat: the function of the model's forward pass with as few steps as it takes.

A small model that makes one token at a time spends as long entering modules and making views as it does computing. Here
a layer is a dozen calls on tensors that are already in the right shape, since with T = 1 no axis needs to be moved. The
layers are the model's own; nothing is copied, so training, loading and averaging weights need not know of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from muomni_cli.layers.cache import KVCache

Matrix = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """What one block consists of, in the order in which a token meets it; QK norms may be missing."""

    attention_norm: Tensor
    qkv: Matrix
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Matrix
    mlp_norm: Tensor
    gate_up: Matrix
    down: Matrix


class Decoder:
    """The steps after the prompt, for rows that hold equally many tokens.

    Args:
        layers: of the model. Their weights may be moved or changed in place, but not exchanged for others.
        width: D.
        heads, kv_heads, head_dim: of the attention.
        eps: of the norms.
    """

    def __init__(
        self, layers: Sequence[Layer], *, width: int, heads: int, kv_heads: int, head_dim: int, eps: float
    ) -> None:
        self.layers, self.eps, self.width = layers, eps, (width,)
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.sections = [self.heads + self.kv_heads, self.kv_heads]

    @torch.no_grad()
    def step(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache) -> Tensor:
        """(B,D) embeddings -> (B,D) states before the final norm. ``cos`` and ``sin`` (1,Dh) are those of the position.

        The cache has reserved room for one token a row.
        """
        batch, eps, width = len(x), self.eps, self.width
        for number, layer in enumerate(self.layers):
            heads = layer.qkv(torch.rms_norm(x, width, layer.attention_norm, eps))
            turning, value = heads.view(batch, -1, 1, self.head_dim).split_with_sizes(self.sections, dim=1)
            if layer.q_norm is not None:
                turning = self._normed(turning, layer)
            turned = torch.addcmul(turning * cos, turning.roll(self.head_dim // 2, dims=3), sin)
            query = turned.narrow(1, 0, self.heads).reshape(batch, self.kv_heads, -1, self.head_dim)
            keys, values = cache.write(number, turned.narrow(1, self.heads, self.kv_heads), value)
            mixed = F.scaled_dot_product_attention(query, keys, values)
            x = x + layer.out(mixed.reshape(batch, -1))
            gate, up = layer.gate_up(torch.rms_norm(x, width, layer.mlp_norm, eps)).chunk(2, dim=1)
            x = x + layer.down(F.silu(gate) * up)
        return x

    def _normed(self, turning: Tensor, layer: Layer) -> Tensor:
        """QK norm on (B,H+Hkv,1,Dh)."""
        query, key = turning.split_with_sizes([self.heads, self.kv_heads], dim=1)
        size = (self.head_dim,)
        query = torch.rms_norm(query, size, layer.q_norm, self.eps)
        return torch.cat((query, torch.rms_norm(key, size, layer.k_norm, self.eps)), dim=1)
