"""Thinkers that are wrong in one way each. ``test_config`` is the right one that they are made of."""

# ruff: noqa: ARG001 - the signatures are those of the protocols

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from muomni_cli.api import PartConfig, ThinkerOutput
from muomni_thinker.model import Transformer
from muomni_thinker.plugin import TransformerConfig

Small = Transformer


class ForgetsWhatTheCacheHolds(Transformer):
    """Its cache counts, and nothing in it is looked at by a single token."""

    def hidden(self, ids: Any = None, *, embeds: Any = None, cache: Any = None, lengths: Any = None) -> Tensor:
        seen = super().hidden(ids, embeds=embeds, cache=cache, lengths=lengths)
        given = ids if ids is not None else embeds
        alone = cache is not None and given.shape[1] == 1
        return super().hidden(ids, embeds=embeds) if alone else seen


class SeesTheFuture(Transformer):
    """Every state holds a little of all others."""

    def hidden(self, *given: Any, **named: Any) -> Tensor:
        states = super().hidden(*given, **named)
        return states + 0.01 * states.mean(1, keepdim=True)


class PiecesSpoilIt(Transformer):
    """The second and later pieces of several tokens are not seen by each other in order."""

    def hidden(self, ids: Any = None, *, embeds: Any = None, cache: Any = None, lengths: Any = None) -> Tensor:
        later = cache is not None and ids is not None and cache.lengths[0] > 0 and ids.shape[1] > 1
        states = super().hidden(ids, embeds=embeds, cache=cache, lengths=lengths)
        return states.flip(1) if later else states


class MindsItsNeighbors(Transformer):
    """Where rows are of unequal length, each gets something of the others."""

    def hidden(self, ids: Any = None, *, embeds: Any = None, cache: Any = None, lengths: Any = None) -> Tensor:
        states = super().hidden(ids, embeds=embeds, cache=cache, lengths=lengths)
        return states if lengths is None or cache is not None else states + 0.01 * states.mean(0, keepdim=True)


class CannotBeCut(Transformer):
    """A cache that was cut goes on from the right place with the wrong past."""

    def new_cache(self, batch: int, capacity: int) -> Any:
        cache = super().new_cache(batch, capacity)
        cut = cache.truncate

        def truncate(lengths: Any) -> None:
            cut(lengths)
            cache.keys.zero_()

        cache.truncate = truncate  # type: ignore[method-assign]
        return cache


class MixesRowsUp(Transformer):
    """A row that is copied into another cache has the past of its neighbor."""

    def new_cache(self, batch: int, capacity: int) -> Any:
        cache = super().new_cache(batch, capacity)
        copy = cache.copy_rows

        def copy_rows(start: int, source: Any, rows: Any) -> None:
            copy(start, source, rows)
            cache.keys.copy_(cache.keys.roll(1, 1))

        cache.copy_rows = copy_rows  # type: ignore[method-assign]
        return cache


class PrefersIds(Transformer):
    """Embeddings go another way."""

    def hidden(self, ids: Any = None, *, embeds: Any = None, cache: Any = None, lengths: Any = None) -> Tensor:
        return super().hidden(
            ids, embeds=None if embeds is None else 1.01 * embeds, cache=cache, lengths=lengths
        )  # fmt: skip


class TakesTheFirst(Transformer):
    """With ``last_only`` it gives the logits of the first token."""

    def forward(self, *given: Any, last_only: bool = False, **named: Any) -> ThinkerOutput:
        output = super().forward(*given, **named)
        if last_only and named.get("lengths") is None:
            output.logits = output.logits[:, :1]
        elif last_only:
            lengths = torch.tensor(named["lengths"]) - 1
            output.logits = output.logits[torch.arange(len(lengths)), lengths][:, None]
        return output


class KeepsItsOwnHead(Transformer):
    """Logits are not what ``head_weight`` says."""

    def read_out(self, hidden: Tensor) -> Tensor:
        return super().read_out(hidden) * 1.1


class KeepsASecret(Transformer):
    """Something that is drawn and not saved decides what it says."""

    secret: Tensor

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        self.register_buffer("secret", torch.rand(config.d_model), persistent=False)

    def embed(self, ids: Tensor) -> Tensor:
        return super().embed(ids) + self.secret


class DrawsForItself(Transformer):
    """Its weights come from random numbers that no seed reaches."""

    drawn = 0

    def __init__(self, config: TransformerConfig, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        type(self).drawn += 1
        nn.init.normal_(self.tok_emb.weight, generator=torch.Generator().manual_seed(self.drawn))


class NeverSettles(Transformer):
    """Dropout that evaluation does not end."""

    def embed(self, ids: Tensor) -> Tensor:
        return nn.functional.dropout(super().embed(ids), 0.1, training=True)


class CannotLearn(Transformer):
    """No gradient gets past its head."""

    def forward(self, *given: Any, **named: Any) -> ThinkerOutput:
        with torch.no_grad():
            return super().forward(*given, **named)


class CannotTell(Transformer):
    """Every token is the same to it."""

    def embed(self, ids: Tensor) -> Tensor:
        return super().embed(0 * ids)


class GivesTooMuch(Transformer):
    """One logit too many."""

    def read_out(self, hidden: Tensor) -> Tensor:
        return nn.functional.pad(super().read_out(hidden), (0, 1))


def cannot_be_built(config: PartConfig, vocab_size: int) -> None:
    """Says why."""
    raise ValueError(f"{vocab_size} is no prime")
