"""The Thinker around the memory: a table of tokens, blocks of memory and MLP, and a head that reads them out.

A block's first half is that of Mamba-2 (arXiv:2405.21060): one matrix makes values, keys, queries, gates and paces; a
short convolution lets them see the tokens just before; the memory is read, gated and normalised. Its second half is the
gated MLP of Llama (arXiv:2302.13971).

Shapes: B batch, T tokens, D width, H heads of width P, N width of keys and queries, K tokens of the convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import RequestError, ThinkerOutput
from muomni_ssd.config import SSDConfig
from muomni_ssd.memory import Tokens, Way, chunked, one

SLOWEST, FASTEST = 0.003, 1.0
"""What a head forgets of its state with each token when training begins, from the first head to the last."""


class Held(NamedTuple):
    """What a layer remembers: the last K - 1 inputs of its convolution, (B,K-1,D+2N), and its state, (B,N,D)."""

    recent: Tensor
    state: Tensor


class Memory:
    """A :class:`muomni_cli.api.Cache`: what every layer remembers, of fixed size whatever the rows have read."""

    def __init__(self, layers: list[Held], capacity: int) -> None:
        self.layers = layers
        self.lengths = [0] * len(layers[0].state)
        self.capacity = capacity

    def truncate(self, lengths: Sequence[int]) -> None:  # noqa: ARG002
        """Raises RequestError: there is no way back."""
        raise RequestError("what this Thinker has read it cannot forget", "begin with a new cache")


class Remember(nn.Module):
    """The first half of a block."""

    def __init__(self, config: SSDConfig) -> None:
        super().__init__()
        width, heads = config.d_model, config.n_heads
        self.heads, self.d_state = heads, config.d_state
        self.mixed = width + 2 * config.d_state  # values, keys and queries, which the convolution mixes
        self.into = nn.Linear(width, self.mixed + width + heads, bias=False)
        self.conv = nn.Parameter(torch.empty(self.mixed, 1, config.d_conv))  # as of a depthwise nn.Conv1d
        self.conv_bias = nn.Parameter(torch.empty(self.mixed))
        self.pace_bias = nn.Parameter(torch.empty(heads))
        self.log_rate = nn.Parameter(torch.empty(heads))
        self.skip = nn.Parameter(torch.empty(heads))
        self.norm = nn.RMSNorm(width, config.norm_eps)
        self.out = nn.Linear(width, width, bias=False)
        self.chunked = chunked(config.chunk)

    def forward(
        self, x: Tensor, held: Held | None = None, real: Tensor | None = None, way: Way | None = None
    ) -> tuple[Tensor, Held]:
        """(B,T,D) after what is held -> (B,T,D), and what is held then.

        Args:
            x: padded on the right.
            held: by this layer; None for nothing.
            real: how many of the T tokens are real in each row, (B,); all of them by default.
            way: how to run the memory; by default what is quickest.
        """
        mixed, gate, pace = self.into(x).split_with_sizes([self.mixed, x.shape[2], self.heads], dim=2)
        seen, recent = self.look_back(mixed, None if held is None else held.recent, real)
        value, key, query = seen.split_with_sizes([x.shape[2], self.d_state, self.d_state], dim=2)
        value = value.reshape(*x.shape[:2], self.heads, -1)
        pace = F.softplus(pace.float() + self.pace_bias)  # (B,T,H): how much of a token is written
        if real is not None:
            places = torch.arange(x.shape[1], device=x.device)
            pace = pace * (places < real[:, None])[..., None]
        tokens = Tokens(query, key, value * pace[..., None], -self.log_rate.exp() * pace)
        way = way or (one if x.shape[1] == 1 else self.chunked)
        read, state = way(tokens, None if held is None else held.state)
        read = (read + value * self.skip[:, None]).flatten(2)
        return self.out(self.norm(read * F.silu(gate))), Held(recent, state)

    def look_back(self, mixed: Tensor, recent: Tensor | None, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B,T,C) -> the same, each token mixed with the K - 1 before it, channel by channel; and the last of them."""
        before = self.conv.shape[2] - 1
        past = mixed.new_zeros(len(mixed), before, self.mixed) if recent is None else recent.to(mixed.dtype)
        whole = torch.cat((past, mixed), dim=1)  # (B,K-1+T,C)
        # A sum of shifted copies: in this layout quicker than a convolution, and of plain operators when exported.
        shifted = [whole[:, lag : lag - before or None] * self.conv[:, 0, lag] for lag in range(before + 1)]
        seen = F.silu(sum(shifted, start=self.conv_bias))
        if real is None:
            return seen, whole[:, -before:]
        places = real[:, None] + torch.arange(before, device=real.device)  # (B,K-1)
        return seen, whole.gather(1, places[..., None].expand(-1, -1, self.mixed))


class Block(nn.Module):
    """One layer: memory, then MLP, each on a normalised copy and added to the stream."""

    def __init__(self, config: SSDConfig) -> None:
        super().__init__()
        self.memory_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.memory = Remember(config)
        self.mlp_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.gate_up = nn.Linear(config.d_model, 2 * config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, held: Held | None = None, real: Tensor | None = None, way: Way | None = None
    ) -> tuple[Tensor, Held]:
        """See :meth:`Remember.forward`."""
        remembered, held = self.memory(self.memory_norm(x), held, real, way)
        x = x + self.dropout(remembered)
        return x + self.dropout(self.mlp(self.mlp_norm(x))), held

    def mlp(self, x: Tensor) -> Tensor:
        """(B,T,D) -> (B,T,D): SwiGLU (arXiv:2002.05202)."""
        gate, up = self.gate_up(x).chunk(2, dim=2)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class SSDThinker(nn.Module):
    """A :class:`muomni_cli.api.Thinker`."""

    def __init__(self, config: SSDConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.tok_emb = nn.Embedding(vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.lm_head = None if config.tie_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Normal weights of deviation 0.02; what writes to the residual stream is smaller by sqrt(2L), as in GPT-2. The
        heads begin with paces from slow to fast, in equal ratios."""
        residual = 0.02 / math.sqrt(2 * self.config.n_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("conv"):
                nn.init.uniform_(parameter, -0.5, 0.5)
            elif parameter.ndim == 1:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
            else:
                nn.init.normal_(parameter, std=residual if name.endswith(("out.weight", "down.weight")) else 0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            paces = torch.logspace(math.log10(SLOWEST), math.log10(FASTEST), self.config.n_heads)
            block.memory.pace_bias.copy_(paces.expm1().log())  # what softplus makes these paces of
            nn.init.zeros_(block.memory.log_rate)

    @property
    def head_weight(self) -> Tensor:
        """(V,D) matrix that turns hidden states into logits."""
        return self.tok_emb.weight if self.lm_head is None else self.lm_head.weight

    @property
    def embedding_params(self) -> frozenset[str]:
        """Parameters that are looked up in or read out by, not multiplied through."""
        return frozenset({"tok_emb.weight"} if self.lm_head is None else {"tok_emb.weight", "lm_head.weight"})

    def embed(self, ids: Tensor) -> Tensor:
        """(B,T) ids -> (B,T,D) embeddings."""
        return self.tok_emb(ids)  # type: ignore[no-any-return]

    def new_cache(self, batch: int, capacity: int) -> Memory:
        """Nothing, for ``batch`` rows; it would hold more than ``capacity`` tokens as well."""
        return Memory([self.nothing(batch) for _ in self.blocks], capacity)

    def nothing(self, batch: int) -> Held:
        """What a layer holds before the first token."""
        config, like = self.config, self.norm.weight.detach()
        recent = like.new_zeros(batch, config.d_conv - 1, config.d_model + 2 * config.d_state)
        return Held(recent, like.new_zeros(batch, config.d_state, config.d_model))

    def forward(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Memory | None = None,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
    ) -> ThinkerOutput:
        """See :meth:`muomni_cli.api.Thinker.__call__`."""
        hidden = self.hidden(ids, embeds=embeds, cache=cache, lengths=lengths)
        seen = _last(hidden, lengths) if last_only else hidden
        return ThinkerOutput(logits=self.read_out(seen), hidden=hidden)

    def hidden(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Memory | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """(B,T,D) states after the final norm; arguments as above."""
        if (ids is None) == (embeds is None):
            raise ValueError("give ids or embeds, one of the two")
        x = self.embed(ids) if ids is not None else embeds
        assert x is not None
        real = None if lengths is None else torch.tensor(lengths, device=x.device)
        if cache is None:
            return self.think(x, real=real)[0]
        hidden, cache.layers = self.think(x, cache.layers, real)
        new = [x.shape[1]] * len(x) if lengths is None else lengths
        cache.lengths = [held + more for held, more in zip(cache.lengths, new, strict=True)]
        return hidden

    def think(
        self, x: Tensor, held: Sequence[Held] | None = None, real: Tensor | None = None, way: Way | None = None
    ) -> tuple[Tensor, list[Held]]:
        """(B,T,D) embeddings after what each layer holds -> (B,T,D) states after the final norm, and what is held then;
        see :meth:`Remember.forward`."""
        after = []
        for number, block in enumerate(self.blocks):
            x, now = block(x, None if held is None else held[number], real, way)
            after.append(now)
        return self.norm(x), after

    def read_out(self, hidden: Tensor) -> Tensor:
        """(B,T,D) states after the final norm -> (B,T,V) logits."""
        return F.linear(hidden, self.tok_emb.weight) if self.lm_head is None else self.lm_head(hidden)


def _last(hidden: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """(B,T,D) -> (B,1,D): the last real token of each row; of a row without any, what means nothing."""
    if lengths is None:
        return hidden[:, -1:]
    index = torch.tensor(lengths, device=hidden.device).sub(1).clamp(min=0)
    return hidden[torch.arange(len(lengths), device=hidden.device), index][:, None]


def build(config: SSDConfig, vocab_size: int) -> SSDThinker:
    """A Thinker with fresh weights from torch's global random numbers."""
    return SSDThinker(config, vocab_size)
