"""A Thinker of causal convolutions: gated (arXiv:1612.08083) and dilated (arXiv:1609.03499), with a tied head.

Its cache holds the last inputs of each layer, so its size does not depend on the length of the text.

Shapes: B batch, T tokens, D width, V vocabulary, R earlier tokens that a layer depends on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from muomni_cli.api import Cache, ThinkerOutput
from muomni_newpart.cache import StateCache
from muomni_newpart.config import NewpartConfig


class Layer(nn.Module):
    """A gated convolution with a residual connection."""

    def __init__(self, config: NewpartConfig, number: int) -> None:
        super().__init__()
        width = config.d_model
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, 2 * width, config.kernel, dilation=2**number)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """(B,T,D) and the (B,R,D) cache -> (B,T,D), and the inputs of the convolution (B,R+T,D)."""
        seen = torch.cat((held, self.norm(x)), dim=1)
        value, gate = self.conv(seen.transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
        return x + self.out(value * gate.sigmoid()), seen


class Newpart(nn.Module):
    """A :class:`muomni_cli.api.Thinker`."""

    def __init__(self, config: NewpartConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.table = nn.Embedding(vocab_size, config.d_model)
        nn.init.normal_(self.table.weight, std=0.02)
        self.blocks = nn.ModuleList(Layer(config, number) for number in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)

    @property
    def embedding_params(self) -> frozenset[str]:
        """The embedding, tied to the head."""
        return frozenset({"table.weight"})

    @property
    def head_weight(self) -> Tensor:
        """(V,D)."""
        return self.table.weight

    def embed(self, ids: Tensor) -> Tensor:
        """(B,T) -> (B,T,D)."""
        embeds: Tensor = self.table(ids)
        return embeds

    def forward(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Cache | None = None,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
    ) -> ThinkerOutput:
        hidden = self.hidden(ids, embeds=embeds, cache=cache, lengths=lengths)
        shown = hidden
        if last_only:
            ends = torch.tensor(sizes(hidden, lengths), device=hidden.device).sub(1).clamp(min=0)
            shown = hidden[torch.arange(len(hidden), device=hidden.device), ends][:, None]
        return ThinkerOutput(shown @ self.head_weight.T, hidden)

    def hidden(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Cache | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """(B,T,D) after the final norm."""
        if embeds is None:
            assert ids is not None, "pass ids or embeds"
            embeds = self.embed(ids)
        assert cache is None or isinstance(cache, StateCache), "made by new_cache"
        before = self.silence(embeds) if cache is None else cache.held
        states, seen = self.think(embeds, before)
        if cache is not None:
            cache.take(seen, sizes(embeds, lengths))
        return states

    def think(self, x: Tensor, held: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """(B,T,D) and the cache of each layer -> (B,T,D), and the inputs of each layer's convolution."""
        seen = []
        for block, before in zip(self.blocks, held, strict=True):
            x, looked_at = block(x, before)
            seen.append(looked_at)
        return self.norm(x), seen

    def silence(self, like: Tensor) -> list[Tensor]:
        """The empty cache: (B,R,D) zeros for each layer."""
        return [like.new_zeros(len(like), self.config.reach(n), like.shape[2]) for n in range(self.config.n_layers)]

    def new_cache(self, batch: int, capacity: int) -> StateCache:
        return StateCache(self.silence(self.table.weight.new_zeros(batch, 1, self.config.d_model)), capacity)


def sizes(x: Tensor, lengths: Sequence[int] | None) -> list[int]:
    """Tokens of each row without padding."""
    return [x.shape[1]] * len(x) if lengths is None else list(lengths)
