"""Exported graphs as functions of modules, and a transformer stack with its cache as explicit tensors.

:func:`grow` computes :meth:`muomni_cli.nn.transformer.Stack.states` without Python control flow over lengths, so one
graph serves the prompt, its chunks and every step. Rows that hold fewer tokens than others have empty places before
them in the cache (``padding``), so that all end at the same place and the new tokens are appended to all rows at once.
It uses the rotary embedding and attention operators of ONNX opset 23, which take heads side by side as the projection
outputs them and append to the cache themselves, so no transposes are needed.

Shapes: B batch, T new tokens, S cached tokens, H key and value heads of width Dh, L layers, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.contract.bundle import Graph, GraphInput
from muomni_cli.nn.cache import KVCache
from muomni_cli.nn.transformer import Attention, Block, Stack, StackSettings


class FunctionGraph(nn.Module):
    """A graph's module that computes ``function(module, *inputs)``, a tensor or several; by default it calls
    ``module``, which should hold only what the graph needs: tracing visits every parameter."""

    def __init__(
        self, module: nn.Module, function: Callable[..., Tensor | Sequence[Tensor]] = nn.Module.__call__
    ) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.function(self.module, *inputs)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def quiet(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Input samples: noise about as loud as speech, of standard deviation 0.1."""
    return 0.1 * random.standard_normal(shape, dtype="float32")


def ones(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:  # noqa: ARG001
    """An input that is 1 everywhere."""
    return np.ones(shape, np.float32)


def any_of(*values: int) -> Callable[[Generator, tuple[int, ...]], NDArray[Any]]:
    """Draws of ``values``; several draws include all of them that fit."""

    def draw(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.resize(random.permutation(values), shape)

    return draw


def grow(stack: Stack, x: Tensor, past: Sequence[Tensor], padding: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    """(B,T,D) embeddings -> (B,T,D) states after the final norm, and the new cache.

    Args:
        stack: computes them.
        x: embeddings.
        past: keys and values (B,H,S,Dh) of layer 0, then of layer 1 ...; S may be 0.
        padding: (B,) or (1,) int64, how many of the S places are empty, from the first on; more than S is S. None: no
            row has any. Empty places must hold numbers; they change nothing.
    """
    time, held = x.shape[1], past[0].shape[2]
    ends = torch.arange(time, device=x.device) + held  # of each new token in the cache
    every = torch.arange(held + time, device=x.device)
    visible = every <= ends[:, None]  # (T,S+T)
    places = ends
    if padding is not None:
        # The sum makes (1,), the default, a number for each row.
        empty = torch.minimum(padding.new_zeros(x.shape[0]) + padding, ends[:1])[:, None]  # (B,1)
        places = ends - empty
        visible = (visible & (every >= empty[:, None]))[:, None]  # (B,1,T,S+T)
    half = stack.sizes.head_dim // 2
    # (B,T,Dh/2); the second half of the sines is without the sign that Stack folds into the first
    turns = [table[:, 0, half:][places] for table in (stack.rope_cos, stack.rope_sin)]
    if padding is None:
        turns = [turn.expand(x.shape[0], -1, -1) for turn in turns]
    present: list[Tensor] = []
    for layer, block in enumerate(stack.blocks):
        assert isinstance(block, Block)
        mixed, *new = _attend(block.attention, block.attention_norm(x), turns, visible, past[2 * layer : 2 * layer + 2])
        present += new
        x = x + block.attention.out(mixed)
        x = x + block.mlp(block.mlp_norm(x))
    return stack.norm(x), present


def _attend(
    attention: Attention, x: Tensor, turns: Sequence[Tensor], visible: Tensor, past: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """(B,T,D) -> (B,T,H*Dh) for :attr:`Attention.out`, and the new keys and values (B,Hkv,S+T,Dh)."""
    heads, kv_heads, width = attention.heads, attention.kv_heads, attention.head_dim
    qkv = attention.qkv(x)
    if not attention.rotary:
        query, key, value = qkv.split_with_sizes([heads * width, kv_heads * width, kv_heads * width], dim=2)
        if attention.q_norm is not None and attention.k_norm is not None:
            query, key = _normed(attention.q_norm, query), _normed(attention.k_norm, key)
    elif attention.q_norm is None or attention.k_norm is None:
        both, value = qkv.split_with_sizes([(heads + kv_heads) * width, kv_heads * width], dim=2)
        turned = torch.onnx.ops.rotary_embedding(both, *turns, num_heads=heads + kv_heads)
        query, key = turned.split_with_sizes([heads * width, kv_heads * width], dim=2)
    else:
        query, key, value = qkv.split_with_sizes([heads * width, kv_heads * width, kv_heads * width], dim=2)
        query, key = _normed(attention.q_norm, query), _normed(attention.k_norm, key)
        query = torch.onnx.ops.rotary_embedding(query, *turns, num_heads=heads)
        key = torch.onnx.ops.rotary_embedding(key, *turns, num_heads=kv_heads)
    return torch.onnx.ops.attention(query, key, value, visible, *past, q_num_heads=heads, kv_num_heads=kv_heads)[:3]


def _normed(norm: nn.RMSNorm, heads: Tensor) -> Tensor:
    apart: Tensor = heads.unflatten(2, (-1, norm.normalized_shape[0]))  # type: ignore[no-untyped-call]
    return norm(apart).flatten(2)  # type: ignore[no-any-return]


def filled(stack: Stack, past: Sequence[Tensor], room: int, padding: Tensor | None = None) -> KVCache:
    """A :class:`KVCache` holding ``past`` without its empty places, with room for ``room`` more tokens per row; for
    parity checks."""
    batch, _, held, _ = past[0].shape
    cache = stack.new_cache(batch, held + room)
    empty = [0] * batch if padding is None else padding.clamp(max=held).expand(batch).tolist()
    for row, begin in enumerate(empty):
        for layer in range(len(past) // 2):
            cache.keys[layer, row, :, : held - begin] = past[2 * layer][row, :, begin:]
            cache.values[layer, row, :, : held - begin] = past[2 * layer + 1][row, :, begin:]
    cache.commit([held - begin for begin in empty])
    return cache


def held_by(cache: KVCache, past: Sequence[Tensor]) -> Iterator[Tensor]:
    """The content of a cache in the order of :func:`grow`, after a cache :func:`filled` with ``past`` took more."""
    new = cache.capacity - past[0].shape[2]
    places = [slice(length - new, length) for length in cache.lengths]
    for number, before in enumerate(past):
        now = (cache.values if number % 2 else cache.keys)[number // 2]
        grown = torch.stack([row[:, own] for row, own in zip(now, places, strict=True)])
        yield torch.cat((before, grown), dim=2)


def cached_graph(
    name: str,
    sizes: StackSettings,
    module: nn.Module,
    inputs: Sequence[GraphInput],
    outputs: Sequence[str],
    reference: Callable[..., Sequence[Tensor]],
    *,
    padded: bool = False,
) -> Graph:
    """A graph around :func:`grow`, with its cache added to the given inputs and outputs: ``past_key_values.N.key`` and
    ``.value`` -> ``present.N.key`` ... for each layer N. The other inputs have the axes ``batch`` and ``time``.

    Args:
        name: of the graph.
        sizes: of the stack; its context has 8 or more tokens.
        module: computes it.
        inputs: before the cache.
        outputs: before the cache.
        reference: the same from the stack's own cache, by :func:`filled` and :func:`held_by`.
        padded: there is an input ``padding`` before the cache, which may be left out, for rows of different lengths.
    """
    names = [f"{layer}.{what}" for layer in range(sizes.n_layers) for what in ("key", "value")]
    states = {f"past_key_values.{name}": f"present.{name}" for name in names}
    axes, context = ("batch", sizes.kv_heads, "past", sizes.head_dim), sizes.ctx_len
    # More empty places than the cache has are all of them.
    padding = [GraphInput("padding", ("batch",), any_of(0, 1, 3, 5, context), optional=True)] if padded else []
    return Graph(
        name=name,
        module=module,
        inputs=[*inputs, *padding, *(GraphInput(past, axes) for past in states)],
        outputs=[*outputs, *states.values()],
        cases={
            "traced": {"batch": 2, "time": 3, "past": 5},
            "one token, no past": {"batch": 1, "time": 1, "past": 0},
            "prompts, batch 2": {"batch": 2, "time": 7, "past": 0},
            "a piece of a prompt": {"batch": 1, "time": 2, "past": 6},
            "batch 3, one step": {"batch": 3, "time": 1, "past": 7},
            **({"rows of different lengths": {"batch": 8, "time": 1, "past": 6}} if padded else {}),
            "whole context": {"batch": 1, "time": context, "past": 0},
            "end of the context": {"batch": 1, "time": 1, "past": context - 1},
        },
        states=states,
        initial_sizes={"batch": 2, "time": 1, "past": 0},
        calls=min(100, context),
        reference=reference,
    )
