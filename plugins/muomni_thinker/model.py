"""The Thinker: a decoder-only transformer of Llama's architecture (arXiv:2302.13971), over tokens or embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import ThinkerOutput, expand_path
from muomni_cli.nn.cache import KVCache
from muomni_cli.nn.transformer import Stack, StackVariant
from muomni_thinker.plugin import TransformerConfig


class Transformer(Stack):
    """A :class:`muomni_cli.api.Thinker`."""

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        variant = StackVariant(frozenset(config.biases), config.rope_scaling, frozenset(config.nope_layers))
        super().__init__(config, variant)
        self.config, self.vocab_size = config, vocab_size
        self.tok_emb = nn.Embedding(vocab_size, config.d_model)
        self.lm_head = None if config.tie_embeddings else nn.Linear(config.d_model, vocab_size, bias=False)
        self.reset_parameters()

    @property
    def head_weight(self) -> Tensor:
        """The (V,D) output matrix."""
        return self.tok_emb.weight if self.lm_head is None else self.lm_head.weight

    @property
    def embedding_params(self) -> frozenset[str]:
        """Parameters of the embedding table and the output head."""
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
        """See :meth:`muomni_cli.api.Thinker.__call__`. RequestError for more tokens than ``ctx_len`` or the cache's
        room."""
        hidden = self.hidden(ids, embeds=embeds, cache=cache, lengths=lengths)
        seen = hidden
        if last_only and lengths is None:
            seen = hidden[:, -1:]
        elif last_only:  # the last real token of each row
            last = torch.tensor(lengths, device=hidden.device) - 1
            seen = hidden[torch.arange(len(last), device=hidden.device), last][:, None]
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
        """(B,T,D) states after the final norm, for losses that compute the logits themselves; arguments as above."""
        if (ids is None) == (embeds is None):
            raise ValueError("give ids or embeds, one of the two")
        x = self.embed(ids) if ids is not None else embeds
        assert x is not None
        return self.states(x, cache=cache, lengths=lengths)


build = Transformer


def load_weights(module: Transformer, config: TransformerConfig) -> str:
    """Load what ``weights`` names, if anything; returns the folder. RequestError if it does not fit."""
    if not config.weights:
        return ""
    from muomni_cli.nn.llama_weights import load_folder

    load_folder(module, expand_path(config.weights))
    return config.weights
