"""The memory itself, in three ways that are one function: token by token, a piece at once, and pieces side by side.

State-space duality (Mamba-2, arXiv:2405.21060, section 6) with one group of keys and queries, or linear attention with
a gate a head (arXiv:2312.06635). A head's state is a matrix S (N,P) that fades and is written to by each token::

    S_t = exp(fade_t) S_(t-1) + key_t value_t^T        out_t = query_t S_t

A token whose ``fade`` and ``value`` are 0 leaves no trace, which is what padding does.

Shapes: B batch, T tokens, H heads of width P, N width of keys and queries. States are kept as (B,N,H*P).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


class Tokens(NamedTuple):
    """What tokens ask of the memory and write to it: ``query`` and ``key`` (B,T,N), which all heads share, ``value``
    (B,T,H,P), and ``fade`` (B,T,H), 0 or less."""

    query: Tensor
    key: Tensor
    value: Tensor
    fade: Tensor


Way = Callable[[Tokens, "Tensor | None"], "tuple[Tensor, Tensor]"]
"""Tokens and the state before them (None: nothing) -> (B,T,H,P) what each reads, and the state (B,N,H*P) after them."""


def one(tokens: Tokens, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """A :data:`Way` for T = 1: the recurrence as it is written above."""
    written = tokens.key.transpose(1, 2) * tokens.value.flatten(2)  # (B,N,H*P)
    if state is not None:
        written = written + faded(state, tokens.fade)
    return (tokens.query @ written).view_as(tokens.value), written


def piece(tokens: Tokens, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """A :data:`Way` for any T that costs T times T: every token looks at those before it, and at the state."""
    out, left, since = _within(tokens)
    if state is None:
        return out, left
    read = (tokens.query @ state).view_as(out) * since.exp()[..., None]
    return out + read, left + faded(state, since[:, -1:])


def chunked(size: int) -> Way:
    """A :data:`Way` for any T that costs T times ``size``: pieces side by side, and their states in a row."""

    def way(tokens: Tokens, state: Tensor | None) -> tuple[Tensor, Tensor]:
        batch, time = tokens.fade.shape[:2]
        if time <= size:
            return piece(tokens, state)
        count = -(-time // size)
        cut = Tokens(*(_cut(tensor, count, size) for tensor in tokens))  # (B*C,size, ...)
        out, left, since = _within(cut)
        fades = since[:, -1:].view(batch, count, 1, -1)
        made = left.view(batch, count, *left.shape[1:])  # (B,C,N,H*P)
        now = torch.zeros_like(made[:, 0]) if state is None else state
        before = []
        for chunk in range(count):
            before.append(now)
            now = made[:, chunk] + faded(now, fades[:, chunk])
        read = (cut.query @ torch.stack(before, 1).flatten(0, 1)).view_as(out) * since.exp()[..., None]
        return (out + read).reshape(batch, count * size, *out.shape[2:])[:, :time], now

    return way


def _within(tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
    """What tokens (B,T,H,P) read of each other, the state (B,N,H*P) that they leave, and how much has faded since the
    first of them began (B,T,H), as a logarithm."""
    since = tokens.fade.cumsum(1)
    heads = since.transpose(1, 2)  # (B,H,T)
    places = torch.arange(since.shape[1], device=since.device)
    apart = (heads[..., None] - heads[..., None, :]).masked_fill(places[:, None] < places, float("-inf"))
    weights = apart.exp() * (tokens.query @ tokens.key.transpose(1, 2))[:, None]  # (B,H,T,T)
    out = (weights @ tokens.value.transpose(1, 2)).transpose(1, 2)
    remaining = (since[:, -1:] - since).exp()[..., None]
    return out, tokens.key.transpose(1, 2) @ (tokens.value * remaining).flatten(2), since


def faded(state: Tensor, fade: Tensor) -> Tensor:
    """What is left of a state (B,N,H*P) after ``fade`` (B,1,H)."""
    heads = state.view(*state.shape[:2], fade.shape[2], -1)
    return (heads * fade.exp()[..., None]).view_as(state)


def _cut(tensor: Tensor, count: int, size: int) -> Tensor:
    """(B,T, ...) -> (B*count,size, ...), filled up with tokens that leave no trace."""
    missing = count * size - tensor.shape[1]
    filled = F.pad(tensor, (*[0, 0] * (tensor.ndim - 2), 0, missing)) if missing else tensor
    return filled.reshape(-1, size, *tensor.shape[2:])
