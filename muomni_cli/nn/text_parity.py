"""Whether a Thinker in another format computes what PyTorch does: logits of random ids, and greedy continuations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

GREEDY = 128  # tokens of a continuation
ROWS, TIME = 2, 48  # of the compared logits
ALLOWED = {"fp32": 1e-4, "fp16": 0.01, "int8": 0.15}
"""Largest difference of a logit; in lower precision relative to the logits' size, as for exported graphs."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """``error``: largest difference of logits (relative in lower precision); ``same`` of the ``of`` greedy tokens
    agree."""

    error: float
    allowed: float
    same: int
    of: int
    exact: bool  # all tokens must agree

    @property
    def holds(self) -> bool:
        return self.error <= self.allowed and (self.same == self.of or not self.exact)

    @property
    def text(self) -> str:
        return f"logits within {self.error:.1e} (allowed {self.allowed:.0e}), {self.same} of {self.of} greedy tokens"


@torch.inference_mode()
def compare_text_models(thinker: Any, logits: Callable[[Tensor], Tensor], precision: str) -> Agreement:
    """Compare a Thinker in evaluation mode with another implementation of it.

    Args:
        thinker: the original; see :class:`muomni_cli.contract.models.Thinker`.
        logits: (B,T) ids -> (B,T,V) of the other one.
        precision: of the other one's weights: fp32, fp16 or int8. Only fp32 must agree in all greedy tokens, except
            where two logits are closer than what is allowed.
    """
    generator = torch.Generator().manual_seed(20)
    context, vocabulary = int(thinker.config.ctx_len), int(thinker.vocab_size)
    ids = torch.randint(vocabulary, (ROWS, min(TIME, context)), generator=generator)
    ours, theirs = thinker(ids).logits.float(), logits(ids).float()
    error = (ours - theirs).abs().max().item()
    if precision != "fp32":
        error = ((ours - theirs).norm() / ours.norm()).item()
    if not torch.isfinite(theirs).all() or ours.shape != theirs.shape:
        error = float("inf")
    count = max(1, min(GREEDY, context - 4))
    row = torch.randint(vocabulary, (1, 4), generator=generator)[:, : max(1, context - count)]
    cache = thinker.new_cache(1, row.shape[1] + count)
    now, chosen = thinker(row, cache=cache, last_only=True).logits[0, -1], []
    for _ in range(count):
        chosen.append(int(now.argmax()))
        now = thinker(torch.tensor([chosen[-1:]]), cache=cache).logits[0, -1]
    # One pass over our own continuation says what the other would have chosen at each place.
    whole = torch.cat((row, torch.tensor([chosen])), dim=1)
    scores = logits(whole[:, :-1])[0, row.shape[1] - 1 :].float()
    taken = scores.gather(1, torch.tensor(chosen)[:, None])[:, 0]
    margin = ALLOWED["fp32"] if precision == "fp32" else 0.0
    same = int((scores.amax(1) - taken <= margin).sum())
    return Agreement(error, ALLOWED[precision], same, count, exact=precision == "fp32")
