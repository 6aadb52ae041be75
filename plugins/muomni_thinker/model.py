"""The transformer that thinks: a table of tokens, a stack of blocks, and a head that reads them out.

Llama's architecture (arXiv:2302.13971). It knows tokens and embeddings, not text, recipes or training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import ThinkerOutput
from muomni_cli.nn.cache import KVCache
from muomni_cli.nn.transformer import Stack
from muomni_thinker.config import TransformerConfig


class Transformer(Stack):
    """A :class:`muomni_cli.api.Thinker`."""

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        super().__init__(config)
        self.config = config
        self.vocab_size = vocab_size
        self.tok_emb = nn.Embedding(vocab_size, config.d_model)
        self.lm_head = None if config.tie_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)
        self.reset_parameters()

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

    def forward(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: KVCache | None = None,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
    ) -> ThinkerOutput:
        """See :meth:`muomni_cli.api.Thinker.__call__`.

        Raises:
            RequestError: more tokens than ``ctx_len`` or than the cache has room for.
        """
        hidden = self.hidden(ids, embeds=embeds, cache=cache, lengths=lengths)
        seen = _last(hidden, lengths) if last_only else hidden
        return ThinkerOutput(logits=self.read_out(seen), hidden=hidden)

    def read_out(self, hidden: Tensor) -> Tensor:
        """(B,T,D) states after the final norm -> (B,T,V) logits."""
        return F.linear(hidden, self.tok_emb.weight) if self.lm_head is None else self.lm_head(hidden)

    def hidden(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: KVCache | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """(B,T,D) states after the final norm, for losses that make the logits themselves; arguments as above."""
        if (ids is None) == (embeds is None):
            raise ValueError("give ids or embeds, one of the two")
        x = self.embed(ids) if ids is not None else embeds
        assert x is not None
        return self.states(x, cache=cache, lengths=lengths)


def _last(hidden: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """(B,T,D) -> (B,1,D): the last real token of each row."""
    if lengths is None:
        return hidden[:, -1:]
    index = torch.tensor(lengths, device=hidden.device) - 1
    return hidden[torch.arange(len(lengths), device=hidden.device), index][:, None]


def build(config: TransformerConfig, vocab_size: int) -> Transformer:
    """A transformer with fresh weights from torch's global random numbers."""
    return Transformer(config, vocab_size)
