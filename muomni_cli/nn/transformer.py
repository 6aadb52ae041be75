"""A stack of causal transformer blocks: pre-RMSNorm, rotary positions, SwiGLU, and a key-value cache.

Llama's architecture (arXiv:2302.13971) without embedding and output head: embeddings in, hidden states out.
:class:`Stack` serves training and prompts; :class:`Decoder` computes the same function for one new token per row. A
small model spends as long on module calls and views as on computing when it generates one token at a time, so the
decoder makes a dozen calls per layer on tensors that already have the right shape: with T = 1 nothing needs a
transpose. It uses the layers' own parameters without copies.

Shapes: B batch, T tokens, D width, H heads of width Dh.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from muomni_cli.core.errors import RequestError
from muomni_cli.nn.cache import KVCache, WritableCache
from muomni_cli.nn.rope_scaling import RopeScaling, rotary_frequencies

SHORT = 256  # keys up to which fp32 attention is faster than bf16 on a CPU
Matrix = Callable[[Tensor], Tensor]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    grouped: bool = False,
) -> Tensor:
    """(B,H,T,Dh) queries over (B,Hkv,S,Dh) keys and values -> (B,H,T,Dh).

    ``mask``: broadcast over (B,H,T,S), true where a query may attend, or added to the scores. ``causal``: position t
    attends to positions up to t. ``grouped``: Hkv < H (GQA, arXiv:2305.13245).
    """
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu") and key.shape[2] <= SHORT:
        # The CPU's bf16 kernel sets up every small product by itself: five times slower than fp32, gradients included,
        # for 128 heads of 64 positions.
        with torch.autocast("cpu", enabled=False):
            return _attend(query.float(), key.float(), value.float(), mask, causal, grouped)
    return _attend(query, key, value, mask, causal, grouped)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, grouped: bool) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped)


class _SwiGLU(torch.autograd.Function):
    """Saves one tensor instead of autograd's three, and writes both halves of the gradient in place."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate) * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        slope = torch.empty_like(gate_up)
        slope_gate, slope_up = slope.chunk(2, dim=-1)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=slope_gate)
        torch.mul(F.silu(gate), grad, out=slope_up)
        return slope


def swiglu(gate_up: Tensor) -> Tensor:
    """(..., 2F) -> (..., F): SiLU of the first half times the second (arXiv:2002.05202)."""
    gated: Tensor = _SwiGLU.apply(gate_up)  # type: ignore[no-untyped-call]
    return gated


class StackSettings(Protocol):
    """The sizes of a stack, as a part's config has them."""

    @property
    def d_model(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def d_ff(self) -> int: ...
    @property
    def ctx_len(self) -> int: ...
    @property
    def rope_theta(self) -> float: ...
    @property
    def qk_norm(self) -> bool: ...
    @property
    def dropout(self) -> float: ...
    @property
    def norm_eps(self) -> float: ...


@dataclass(frozen=True, slots=True)
class StackVariant:
    """What some families of models do otherwise than Llama.

    Args:
        biases: linear layers with a bias: ``qkv``, ``out``, ``mlp``.
        rope_scaling: of the rotary frequencies.
        nope_layers: numbers of the layers without positions (NoPE, arXiv:2501.18795), from 0.
    """

    biases: frozenset[str] = frozenset()
    rope_scaling: RopeScaling | None = None
    nope_layers: frozenset[int] = frozenset()


LLAMA = StackVariant()


class FusedLinear(nn.Linear):
    """Several linear layers over the same input as one; ``sections``: the outputs of each, in order."""

    def __init__(self, inputs: int, sections: Sequence[int], *, bias: bool = False) -> None:
        super().__init__(inputs, sum(sections), bias=bias)
        self.sections = tuple(sections)


@dataclass(slots=True)
class Span:
    """Positions and mask of T new tokens, shared by all layers of a forward pass.

    ``cos`` and ``sin`` broadcast over (B,T,H,Dh). ``mask`` is (T,S) or (B,1,T,S), true where a query may attend;
    without a mask, ``causal`` chooses causal or full attention.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None
    causal: bool
    cache: WritableCache | None


def rotary_tables(config: StackSettings, scaling: RopeScaling | None = None) -> tuple[Tensor, Tensor]:
    """(ctx_len,1,Dh) cosines and sines of RoPE (arXiv:2104.09864).

    Dimension i rotates with dimension i + Dh/2. The sign of the rotation is folded into the sines, so that rotating is
    ``x * cos + roll(x, Dh/2) * sin``.
    """
    speeds = torch.tensor(rotary_frequencies(config.head_dim, config.rope_theta, scaling), dtype=torch.float64)
    angles = torch.outer(torch.arange(config.ctx_len, dtype=torch.float64), speeds)
    cos = torch.cat((angles.cos(), angles.cos()), dim=1)
    sin = torch.cat((-angles.sin(), angles.sin()), dim=1)
    amplitude = 1.0 if scaling is None else scaling.amplitude
    return (cos[:, None] * amplitude).float(), (sin[:, None] * amplitude).float()


class Attention(nn.Module):
    """Causal self-attention with optional grouped queries (GQA, arXiv:2305.13245)."""

    def __init__(self, config: StackSettings, layer: int, variant: StackVariant = LLAMA) -> None:
        super().__init__()
        self.layer, self.rotary = layer, layer not in variant.nope_layers
        self.heads, self.kv_heads, self.head_dim = config.n_heads, config.kv_heads, config.head_dim
        widths = [heads * self.head_dim for heads in (self.heads, self.kv_heads, self.kv_heads)]
        self.qkv = FusedLinear(config.d_model, widths, bias="qkv" in variant.biases)
        self.out = nn.Linear(widths[0], config.d_model, bias="out" in variant.biases)
        self.q_norm = nn.RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = nn.RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None

    def forward(self, x: Tensor, span: Span) -> Tensor:
        batch, time, _ = x.shape
        query, key, value = self.project(x, span)
        if span.cache is not None:
            key, value = span.cache.write(self.layer, key, value)
        mixed = self.attend(query, key, value, span)
        return self.out(mixed.transpose(1, 2).reshape(batch, time, -1))  # type: ignore[no-any-return]

    def project(self, x: Tensor, span: Span) -> tuple[Tensor, Tensor, Tensor]:
        """(B,T,D) -> queries (B,H,T,Dh), keys and values (B,Hkv,T,Dh), queries and keys with positions."""
        heads = self.qkv(x).unflatten(2, (-1, self.head_dim))  # (B,T,H+2Hkv,Dh)
        turning, value = heads.split_with_sizes([self.heads + self.kv_heads, self.kv_heads], dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            exact = turning.to(self.q_norm.weight.dtype)  # under autocast the heads are bf16 and the norm is not
            query, key = exact.split_with_sizes([self.heads, self.kv_heads], dim=2)
            turning = torch.cat((self.q_norm(query), self.k_norm(key)), dim=2)
        turned = turning
        if self.rotary:
            turned = torch.addcmul(turning * span.cos, turning.roll(self.head_dim // 2, dims=3), span.sin)
        query, key = turned.transpose(1, 2).split_with_sizes([self.heads, self.kv_heads], dim=1)
        return query, key, value.transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, span: Span) -> Tensor:
        grouped = self.heads != self.kv_heads
        if grouped and query.shape[2] == 1:
            # One position: queries that share a key can be treated as several positions of one head.
            shared = query.view(query.shape[0], self.kv_heads, -1, self.head_dim)
            return attend(shared, key, value, mask=span.mask).reshape(query.shape)
        return attend(query, key, value, mask=span.mask, causal=span.causal, grouped=grouped)


class SwiGLU(nn.Module):
    """Gated MLP (arXiv:2002.05202): ``down(silu(gate(x)) * up(x))``, gate and up in one matrix."""

    def __init__(self, config: StackSettings, variant: StackVariant = LLAMA) -> None:
        super().__init__()
        bias = "mlp" in variant.biases
        self.gate_up = FusedLinear(config.d_model, [config.d_ff, config.d_ff], bias=bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(swiglu(self.gate_up(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer: attention, then MLP, each pre-normalized with a residual connection."""

    def __init__(self, config: StackSettings, layer: int, variant: StackVariant = LLAMA) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.attention = Attention(config, layer, variant)
        self.mlp_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SwiGLU(config, variant)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, span: Span) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), span))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))  # type: ignore[no-any-return]


class Stack(nn.Module):
    """Blocks and a final norm over embeddings."""

    rope_cos: Tensor
    rope_sin: Tensor

    def __init__(self, config: StackSettings, variant: StackVariant = LLAMA) -> None:
        super().__init__()
        self.sizes = config
        self.blocks = nn.ModuleList(Block(config, layer, variant) for layer in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)
        cos, sin = rotary_tables(config, variant.rope_scaling)
        self.register_buffer("rope_cos", cos, persistent=False)
        self.register_buffer("rope_sin", sin, persistent=False)
        self._decoder: Decoder | None = None

    def reset_parameters(self) -> None:
        """Normal weights with std 0.02, divided by sqrt(2L) for projections into the residual stream, as in GPT-2."""
        residual = 0.02 / math.sqrt(2 * self.sizes.n_layers)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                nn.init.normal_(parameter, std=residual if name.endswith(("out.weight", "down.weight")) else 0.02)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile block by block: all share one compiled function, and the loss can still chunk its logits."""
        for block in self.blocks:
            block.compile(*args, **options)

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache for ``batch`` rows of up to ``capacity`` tokens."""
        shape = {"layers": self.sizes.n_layers, "heads": self.sizes.kv_heads, "head_dim": self.sizes.head_dim}
        return KVCache(batch=batch, capacity=capacity, like=self.norm.weight.detach(), **shape)

    def states(
        self, x: Tensor, *, cache: KVCache | None = None, lengths: Sequence[int] | None = None, causal: bool = True
    ) -> Tensor:
        """(B,T,D) embeddings, padded on the right -> (B,T,D) states after the final norm.

        Args:
            x: embeddings.
            cache: continue after its tokens, and append the new ones.
            lengths: real tokens of the T in each row; default all.
            causal: causal attention, else full attention over the real tokens (without a cache).

        Raises:
            RequestError: more tokens than ``ctx_len`` or than the cache has room for.
        """
        if cache is not None and lengths is None and x.shape[1] == 1 and not torch.is_grad_enabled():
            return self._step(x[:, 0], cache)[:, None]
        counts = [x.shape[1]] * x.shape[0] if lengths is None else list(lengths)
        span = self._span(x.shape[1], counts, cache) if causal else self._open_span(x.shape[1], counts)
        for block in self.blocks:
            x = block(x, span)
        if cache is not None:
            cache.commit(counts)
        return self.norm(x)  # type: ignore[no-any-return]

    def _step(self, x: Tensor, cache: KVCache) -> Tensor:
        """(B,D) embeddings of one more token in every row -> (B,D) states after the final norm."""
        lengths, counts = cache.lengths, [1] * len(x)
        self._require_context(max(lengths) + 1)
        cache.reserve(counts)
        self._decoder = self._decoder or Decoder(self.blocks, self.sizes)  # type: ignore[arg-type]
        if cache.uniform:
            cos, sin, mask = self.rope_cos[lengths[0]], self.rope_sin[lengths[0]], None
        else:  # each row has its own rotations and mask
            places = torch.tensor(lengths, device=x.device)
            cos, sin = self.rope_cos[places][:, None], self.rope_sin[places][:, None]
            mask = torch.arange(max(lengths) + 1, device=x.device) <= places[:, None, None, None]
        states = self._decoder.step(x, cos, sin, cache, mask)
        cache.commit(counts)
        return self.norm(states)  # type: ignore[no-any-return]

    def _require_context(self, total: int) -> None:
        if total > self.sizes.ctx_len:
            raise RequestError(
                f"{total} tokens do not fit a context of {self.sizes.ctx_len}",
                "give fewer tokens, or train with a larger ctx_len",
            )

    def _span(self, time: int, counts: list[int], cache: KVCache | None) -> Span:
        """Positions and mask of ``counts[b]`` real tokens out of ``time`` in each row, after the cached ones."""
        starts = [0] * len(counts) if cache is None else cache.lengths
        total = max(start + count for start, count in zip(starts, counts, strict=True))
        self._require_context(total)
        if cache is not None:
            cache.reserve(counts)
            if not cache.uniform:  # each row has its own rotations and mask
                offsets = torch.arange(time, device=self.rope_cos.device)
                places = torch.tensor(starts, device=offsets.device)[:, None] + offsets  # (B,T)
                visible = torch.arange(total, device=offsets.device) <= places[:, None, :, None]  # (B,1,T,S)
                places = places.clamp_max(self.sizes.ctx_len - 1)  # padding may stand beyond the context
                return Span(self.rope_cos[places], self.rope_sin[places], visible, causal=False, cache=cache)
        start = starts[0]
        cos, sin = self.rope_cos[start : start + time], self.rope_sin[start : start + time]
        mask = cos.new_ones(time, total, dtype=torch.bool).tril(start) if start and time > 1 else None
        return Span(cos, sin, mask, causal=time > 1 and mask is None, cache=cache)

    def _open_span(self, time: int, counts: list[int]) -> Span:
        """Positions and mask for full attention."""
        self._require_context(time)
        mask = None
        if min(counts) < time:
            places = torch.arange(time, device=self.rope_cos.device)
            mask = (places < torch.tensor(counts, device=places.device)[:, None])[:, None, None]  # (B,1,1,T)
        return Span(self.rope_cos[:time], self.rope_sin[:time], mask, causal=False, cache=None)


class Layer(NamedTuple):
    """The weights of a block in the order of use; QK norms may be None."""

    attention_norm: Tensor
    rotary: bool
    qkv: Matrix
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Matrix
    mlp_norm: Tensor
    gate_up: Matrix
    down: Matrix


class Decoder:
    """Decode steps. The weights of ``blocks`` may be changed in place, but not replaced."""

    def __init__(self, blocks: Iterable[Block], sizes: StackSettings) -> None:
        self.layers = [
            Layer(
                attention_norm=block.attention_norm.weight,
                rotary=block.attention.rotary,
                qkv=block.attention.qkv.forward,
                q_norm=None if block.attention.q_norm is None else block.attention.q_norm.weight,
                k_norm=None if block.attention.k_norm is None else block.attention.k_norm.weight,
                out=block.attention.out.forward,
                mlp_norm=block.mlp_norm.weight,
                gate_up=block.mlp.gate_up.forward,
                down=block.mlp.down.forward,
            )
            for block in blocks
        ]
        self.eps, self.width, self.head_dim = sizes.norm_eps, (sizes.d_model,), sizes.head_dim
        self.heads, self.kv_heads = sizes.n_heads, sizes.kv_heads
        self.sections = [self.heads + self.kv_heads, self.kv_heads]

    @torch.no_grad()
    def step(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache, mask: Tensor | None = None) -> Tensor:
        """(B,D) embeddings -> (B,D) states before the final norm.

        ``cos`` and ``sin`` (1,Dh) or (B,1,1,Dh) are those of the position; the cache has reserved one token per row.
        ``mask`` (B,1,1,S): true where a row may attend; None if everywhere.
        """
        batch, eps, width, head = len(x), self.eps, self.width, (self.head_dim,)
        for number, layer in enumerate(self.layers):
            heads = layer.qkv(torch.rms_norm(x, width, layer.attention_norm, eps))
            turning, value = heads.view(batch, -1, 1, self.head_dim).split_with_sizes(self.sections, dim=1)
            if layer.q_norm is not None:
                query, key = turning.split_with_sizes([self.heads, self.kv_heads], dim=1)
                query = torch.rms_norm(query, head, layer.q_norm, eps)
                turning = torch.cat((query, torch.rms_norm(key, head, layer.k_norm, eps)), dim=1)
            turned = turning
            if layer.rotary:
                turned = torch.addcmul(turning * cos, turning.roll(self.head_dim // 2, dims=3), sin)
            query = turned.narrow(1, 0, self.heads).reshape(batch, self.kv_heads, -1, self.head_dim)
            keys, values = cache.write(number, turned.narrow(1, self.heads, self.kv_heads), value)
            mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            x = x + layer.out(mixed.reshape(batch, -1))
            gate, up = layer.gate_up(torch.rms_norm(x, width, layer.mlp_norm, eps)).chunk(2, dim=1)
            x = x + layer.down(F.silu(gate) * up)
        return x
