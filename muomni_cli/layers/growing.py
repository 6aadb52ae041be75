"""A stack as flat tensors, for exported graphs: its cache comes in, and goes out longer.

The function of :meth:`muomni_cli.layers.transformer.Stack.states` without a word of Python about lengths, so that one
graph serves the prompt, its pieces and every step after it. All rows of a call hold equally many tokens.

Shapes: B batch, T new tokens, S tokens held before, H key and value heads of width Dh, L layers, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from muomni_cli.contract.export import Port
from muomni_cli.layers.cache import KVCache
from muomni_cli.layers.transformer import Span, Stack, StackSettings


class _Growing:
    """A cache that makes longer tensors instead of writing into its own. ``held``: keys and values, layer by layer."""

    def __init__(self, held: Sequence[Tensor]) -> None:
        self.held = list(held)

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`muomni_cli.layers.cache.Written`."""
        keys, values = self.held[2 * layer : 2 * layer + 2]
        self.held[2 * layer : 2 * layer + 2] = [torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)]
        return self.held[2 * layer], self.held[2 * layer + 1]


def grow(stack: Stack, x: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """(B,T,D) embeddings after what ``past`` holds -> (B,T,D) states after the final norm, and what is held then.

    ``past``: keys and values (B,H,S,Dh) of layer 0, then of layer 1 ...; S may be 0.
    """
    time, held = x.shape[1], past[0].shape[2]
    places = torch.arange(time, device=x.device) + held
    visible = torch.arange(held + time, device=x.device) <= places[:, None]  # (T,S+T)
    cache = _Growing(past)
    span = Span(stack.rope_cos[places], stack.rope_sin[places], visible, causal=False, cache=cache)
    for block in stack.blocks:
        x = block(x, span)
    return stack.norm(x), cache.held


def filled(stack: Stack, past: Sequence[Tensor], room: int) -> KVCache:
    """The stack's own cache holding ``past``, with room for ``room`` more tokens a row: for comparing."""
    batch, _, held, _ = past[0].shape
    cache = stack.new_cache(batch, held + room)
    if held:
        cache.reserve([held] * batch)
        for layer in range(len(past) // 2):
            cache.write(layer, past[2 * layer], past[2 * layer + 1])
        cache.commit([held] * batch)
    return cache


def held_by(cache: KVCache) -> Iterator[Tensor]:
    """What the stack's own cache holds, as :func:`grow` gives it."""
    length = cache.lengths[0]
    for keys, values in zip(cache.keys, cache.values, strict=True):
        yield keys[:, :, :length]
        yield values[:, :, :length]


def past_ports(sizes: StackSettings) -> list[Port]:
    """The inputs ``past_key_values.N.key`` and ``.value``."""
    axes = ("batch", sizes.kv_heads, "past", sizes.head_dim)
    return [Port(past, axes) for past in past_states(sizes)]


def past_states(sizes: StackSettings) -> dict[str, str]:
    """``past_key_values.N.key`` -> ``present.N.key``, in the order of :func:`grow`."""
    names = [f"{layer}.{what}" for layer in range(sizes.n_layers) for what in ("key", "value")]
    return {f"past_key_values.{name}": f"present.{name}" for name in names}


def past_cases(context: int) -> dict[str, dict[str, int]]:
    """Sizes to check a graph of :func:`grow` with, within ``context`` tokens (8 or more)."""
    return {
        "traced": {"batch": 2, "time": 3, "past": 5},
        "one token, no past": {"batch": 1, "time": 1, "past": 0},
        "prompts, batch 2": {"batch": 2, "time": 7, "past": 0},
        "a piece of a prompt": {"batch": 1, "time": 2, "past": 6},
        "batch 3, one step": {"batch": 3, "time": 1, "past": 7},
        "whole context": {"batch": 1, "time": context, "past": 0},
        "end of the context": {"batch": 1, "time": 1, "past": context - 1},
    }
