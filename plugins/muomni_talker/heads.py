"""From a frame's state to its codes: the base code, then each residual code given those before it.

Shapes: B batch, T frames, D width, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import CodeShape


class Heads(nn.Module):
    """One head a codebook; head q > 0 sees the codes that heads 0 to q - 1 gave."""

    def __init__(self, width: int, codes: CodeShape) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(codes.size, width) for _ in range(codes.codebooks - 1))
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in range(codes.codebooks - 1))
        self.heads = nn.ModuleList(nn.Linear(width, codes.size) for _ in range(codes.codebooks))

    def forward(self, states: Tensor, codes: Tensor) -> list[Tensor]:
        """(B,T,D) states and the (B,T,Q) codes of the same frames -> Q times (B,T,K)."""
        return [head(self.given(states, q, codes)) for q, head in enumerate(self.heads)]

    def given(self, states: Tensor, q: int, codes: Tensor) -> Tensor:
        """(...,D) states that know the first ``q`` of (...,Q) codes."""
        if q == 0:
            return states
        known = states
        for before in range(q):
            known = known + self.tables[before](codes[..., before])
        return states + F.gelu(self.mixers[q - 1](known))

    def draw(self, states: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """(...,D) -> (...,Q) codes, each drawn by ``choose`` from (...,K) logits given those before."""
        codes = states.new_zeros(*states.shape[:-1], len(self.heads), dtype=torch.long)
        for q, head in enumerate(self.heads):
            codes[..., q] = choose(head(self.given(states, q, codes)))
        return codes

    def logits(self, states: Tensor) -> tuple[Tensor, ...]:
        """Q times (B,T,K): each head given the likeliest codes of those before it."""
        codes = self.draw(states, lambda logits: logits.argmax(-1))
        return tuple(self(states, codes))


def summed(logits: Sequence[Tensor], codes: Tensor, real: Tensor) -> list[Tensor]:
    """Cross-entropy of each codebook, nats summed over the (B,T) frames that are ``real``."""
    return [
        F.cross_entropy(given[real].float(), codes[..., q][real], reduction="sum") for q, given in enumerate(logits)
    ]
