"""Conformance checks of Thinkers (:class:`muomni_cli.api.Thinker`) and their capabilities. Imports torch.

Shapes: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.conformance.common import SEED, VOCABULARY
from muomni_cli.conformance.modules import by_heart, one_step, require_shape, same
from muomni_cli.contract.checks import Check, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import Capability

LONG = 12  # tokens of a sequence, if the context allows


def sequence(subject: PartUnderTest, rows: int = 2, length: int = LONG, seed: int = SEED) -> Tensor:
    """(B,T) random ids; T is limited by the context."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (rows, min(length, subject.context)), generator=random)


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:
    output = module(sequence(subject))
    return [output.logits, output.hidden]


@torch.no_grad()
def shapes(subject: PartUnderTest) -> Sequence[Number]:
    """Embeddings, states and logits have the shapes of the contract, at the whole context, too."""
    thinker, ids = subject.lively, sequence(subject)
    (rows, length), width = ids.shape, int(subject.config.d_model)  # type: ignore[attr-defined]
    check_that(thinker.vocab_size == VOCABULARY, f"vocab_size is {thinker.vocab_size}, not {VOCABULARY}")
    require_shape(thinker.embed(ids), (rows, length, width), "embeddings")
    output = thinker(ids)
    require_shape(output.hidden, (rows, length, width), "states")
    require_shape(output.logits, (rows, length, VOCABULARY), "logits")
    require_shape(thinker.head_weight, (VOCABULARY, width), "head_weight")
    whole = sequence(subject, 1, subject.context)
    require_shape(thinker(whole).logits, (1, subject.context, VOCABULARY), "logits of the whole context")
    strange = thinker.embedding_params - dict(thinker.named_parameters(remove_duplicate=False)).keys()
    check_that(not strange, f"embedding_params names {', '.join(sorted(strange))}, which are not parameters")
    check_that(
        all(isinstance(block, nn.Module) for block in thinker.blocks), "blocks contains something other than modules"
    )
    return [Number("tokens", subject.context)]


@torch.no_grad()
def head(subject: PartUnderTest) -> Sequence[Number]:
    thinker, ids = subject.lively, sequence(subject)
    output = thinker(ids)
    made = [thinker.hidden(ids), output.hidden @ thinker.head_weight.T]
    return [same(made, [output.hidden, output.logits], ["hidden()", "hidden @ head_weight.T"])]


@torch.no_grad()
def last_only(subject: PartUnderTest) -> Sequence[Number]:
    thinker, ids = subject.lively, sequence(subject)
    return [same([thinker(ids, last_only=True).logits], [thinker(ids).logits[:, -1:]])]


@torch.no_grad()
def embeds(subject: PartUnderTest) -> Sequence[Number]:
    thinker, ids = subject.lively, sequence(subject)
    by_ids, by_embeds = thinker(ids), thinker(embeds=thinker.embed(ids))
    return [same([by_embeds.logits, by_embeds.hidden], [by_ids.logits, by_ids.hidden], ["logits", "states"])]


@torch.no_grad()
def causal(subject: PartUnderTest) -> Sequence[Number]:
    thinker, ids = subject.lively, sequence(subject, 1)
    before = thinker(ids).logits
    made, wanted, where = [], [], []
    for place in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % VOCABULARY
        made.append(thinker(changed).logits[:, :place])
        wanted.append(before[:, :place])
        where.append(f"before position {place}")
    return [same(made, wanted, where)]


def in_pieces(thinker: Any, ids: Tensor, pieces: Sequence[int]) -> Tensor:
    """(B,T,V) logits of ``ids`` through a cache, in chunks of the given sizes."""
    cache = thinker.new_cache(len(ids), ids.shape[1])
    held, made = 0, []
    for piece in torch.split(ids, list(pieces), dim=1):
        made.append(thinker(piece, cache=cache).logits)
        held += piece.shape[1]
        check_that(
            list(cache.lengths) == [held] * len(ids), f"after {held} tokens the cache has lengths {list(cache.lengths)}"
        )
    check_that(cache.capacity >= ids.shape[1], f"a cache for {ids.shape[1]} tokens has capacity {cache.capacity}")
    return torch.cat(made, dim=1)


@torch.no_grad()
def cached(subject: PartUnderTest) -> Sequence[Number]:
    thinker, ids = subject.lively, sequence(subject)
    first = max(1, ids.shape[1] // 2)
    made = in_pieces(thinker, ids, [first, *[1] * (ids.shape[1] - first)])
    wanted = thinker(ids).logits
    places = range(ids.shape[1])
    return [same(made.unbind(1), wanted.unbind(1), [f"position {place}" for place in places])]


@torch.no_grad()
def chunked(subject: PartUnderTest) -> Sequence[Number]:
    thinker, ids = subject.lively, sequence(subject)
    length = ids.shape[1]
    if length < 5:
        raise CheckSkipped(f"a context of {length} tokens is too short for chunks")
    cuts = [[2, length - 2], [1, 3, length - 4]]
    made = [in_pieces(thinker, ids, cut) for cut in cuts]
    return [same(made, [thinker(ids).logits] * len(cuts), [f"pieces of {cut}" for cut in cuts])]


def uneven(subject: PartUnderTest) -> list[Tensor]:
    """Three rows (1,T) of unequal length."""
    longest = min(LONG, subject.context)
    lengths = sorted({max(1, longest // 3), max(1, longest // 2), longest})
    return [sequence(subject, 1, length, SEED + length) for length in lengths]


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Rows (1,T) as one right-padded batch, and their lengths."""
    lengths = [row.shape[1] for row in rows]
    filled = [F.pad(row, (0, max(lengths) - row.shape[1]), value=VOCABULARY - 1) for row in rows]
    return torch.cat(filled), lengths


@torch.no_grad()
def ragged(subject: PartUnderTest) -> Sequence[Number]:
    thinker, rows = subject.lively, uneven(subject)
    ids, lengths = padded(rows)
    logits = thinker(ids, lengths=lengths).logits
    last = thinker(ids, lengths=lengths, last_only=True).logits
    made = [logits[b, :length] for b, length in enumerate(lengths)]
    alone = [thinker(row).logits[0] for row in rows]
    made += [last[b] for b in range(len(rows))]
    where = [f"{kind} of a row of {length}" for kind in ("all", "the last token") for length in lengths]
    return [same(made, [*alone, *(one[-1:] for one in alone)], where)]


@torch.no_grad()
def ragged_cache(subject: PartUnderTest) -> Sequence[Number]:
    """A cached step after prompts of different lengths gives each row what it gives alone."""
    if Capability.CACHE not in subject.part.capabilities:
        raise CheckSkipped("it does not declare cache")
    thinker, rows = subject.lively, [row for row in uneven(subject) if row.shape[1] > 1]
    if not rows:
        raise CheckSkipped("its context is too short for two tokens")
    ids, lengths = padded([row[:, :-1] for row in rows])
    cache = thinker.new_cache(len(rows), max(lengths) + 1)
    thinker(ids, cache=cache, lengths=lengths)
    check_that(
        list(cache.lengths) == lengths, f"after prompts of {lengths} tokens the cache has lengths {list(cache.lengths)}"
    )
    step = thinker(torch.cat([row[:, -1:] for row in rows]), cache=cache).logits
    where = [f"after a prompt of {length}" for length in lengths]
    return [same([step[b, 0] for b in range(len(rows))], [thinker(row).logits[0, -1] for row in rows], where)]


@torch.no_grad()
def truncate(subject: PartUnderTest) -> Sequence[Number]:
    """A truncated cache is the cache of the tokens that remain."""
    if Capability.CACHE not in subject.part.capabilities:
        raise CheckSkipped("it does not declare cache")
    thinker, ids = subject.lively, sequence(subject)
    other = sequence(subject, seed=SEED + 1)
    length = ids.shape[1]
    wanted = thinker(ids).logits
    made, where = [], []
    for kept in sorted({0, length // 2}):
        cache = thinker.new_cache(len(ids), length)
        thinker(torch.cat((ids[:, :kept], other[:, kept:]), dim=1), cache=cache)
        cache.truncate([kept] * len(ids))
        check_that(list(cache.lengths) == [kept] * len(ids), f"cut to {kept}, the cache has {list(cache.lengths)}")
        made.append(thinker(ids[:, kept:], cache=cache).logits)
        where.append(f"cut to {kept}")
    return [same(made, [wanted[:, length - one.shape[1] :] for one in made], where)]


@torch.no_grad()
def join(subject: PartUnderTest) -> Sequence[Number]:
    """A cache joined from rows of different lengths gives each row what it gives alone."""
    if not {Capability.CACHE, Capability.RAGGED} <= subject.part.capabilities:
        raise CheckSkipped("it does not declare cache and ragged")
    thinker, rows = subject.lively, [row for row in uneven(subject) if row.shape[1] > 1]
    if not rows:
        raise CheckSkipped("its context is too short for two tokens")
    longest = max(row.shape[1] for row in rows)
    joined = thinker.new_cache(len(rows) + 1, longest)
    for number, row in enumerate(rows):
        alone = thinker.new_cache(1, longest)
        thinker(row[:, :-1], cache=alone)
        joined.copy_rows(number, alone, [0])
    joined.copy_rows(len(rows), joined, [0])  # a row may be there twice
    rows = [*rows, rows[0]]
    lengths = [row.shape[1] - 1 for row in rows]
    check_that(list(joined.lengths) == lengths, f"joined from rows of {lengths} tokens, it has {list(joined.lengths)}")
    last = torch.cat([row[:, -1:] for row in rows])
    step = thinker(last, cache=joined).logits
    wanted = [thinker(row).logits[0, -1] for row in rows]
    where = [f"after a prompt of {length}" for length in lengths]
    return [same([step[b, 0] for b in range(len(rows))], wanted, where)]


def loss_of(subject: PartUnderTest) -> Any:
    """Next-token loss of one batch of random ids, in nats."""
    ids = sequence(subject, 4, LONG + 1)

    def loss(thinker: Any) -> Tensor:
        logits = thinker(ids[:, :-1]).logits
        return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())

    return loss


CHECKS = (
    Check(name="shapes",
        doc="embeddings (B,T,D), hidden states (B,T,D), logits (B,T,V) and head_weight (V,D), up to ctx_len tokens",
        run=shapes, depends_on=("builds",)),
    Check(name="head", doc="logits are hidden states @ head_weight.T, and hidden() returns the hidden states", run=head,
        depends_on=("repeats",)),
    Check(name="last-only", doc="last_only gives the logits of the last token", run=last_only, depends_on=("repeats",)),
    Check(name="causal", doc="later tokens do not change earlier outputs", run=causal, needs=Capability.CAUSAL,
        depends_on=("repeats",)),
    Check(name="embeds", doc="embeddings give the same output as the ids they encode", run=embeds,
        needs=Capability.EMBEDS, depends_on=("repeats",)),
    Check(name="cache", doc="cached steps give the same output as one pass without a cache", run=cached,
        needs=Capability.CACHE, depends_on=("repeats", "causal")),
    Check(name="chunks", doc="a prompt in chunks gives the same output as the whole prompt", run=chunked,
        needs=Capability.CACHE, depends_on=("repeats", "causal", "cache")),
    Check(name="ragged", doc="a batch of prompts of unequal length gives the same output as the prompts one by one",
        run=ragged, needs=Capability.RAGGED, depends_on=("repeats", "causal")),
    Check(name="ragged-cache", doc="prompts of unequal length continue through a cache as they do one by one",
        run=ragged_cache, needs=Capability.RAGGED, depends_on=("cache", "ragged")),
    Check(name="truncate", doc="a truncated cache continues like a fresh one", run=truncate, needs=Capability.TRUNCATE,
        depends_on=("cache", "chunks")),
    Check(name="join", doc="rows copied from several caches into one continue as they do one by one", run=join,
        needs=Capability.JOIN, depends_on=("cache", "ragged-cache")),
    Check(name="trains", doc="gradients reach the weights, and one step changes the loss",
        run=lambda subject: one_step(subject.fresh, loss_of(subject)), depends_on=("shapes",)),
    Check(name="overfits", doc="it overfits one small batch",
        run=lambda subject: by_heart(subject.fresh, loss_of(subject)), depends_on=("trains",)),
)  # fmt: skip
