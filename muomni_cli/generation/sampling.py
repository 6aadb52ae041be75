"""From logits to a token: greedy, temperature, top-k, top-p, min-p and repetition penalty.

Knows one row of numbers and a random generator, not models or text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muomni_cli.core.errors import RequestError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn. The defaults draw from the model's own distribution.

    Args:
        temperature: divides the logits; 0 takes the most likely token.
        top_k: draw from the k most likely tokens; 0 for all.
        top_p: draw from the smallest set of most likely tokens that holds this probability (arXiv:1904.09751).
        min_p: draw from tokens at least this fraction as likely as the most likely one (arXiv:2407.01082).
        repetition_penalty: how much less likely a token that occurred before is made; 1 for not at all
            (arXiv:1909.05858).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, holds, wanted in (
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("min_p", 0 <= self.min_p <= 1, "from 0 to 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < float("inf"), "more than 0"),
        ):
            if not holds:
                raise RequestError(f"{name} is {getattr(self, name)}", f"{name} must be {wanted}")


def penalise(logits: NDArray[np.float32], seen: Sequence[int], penalty: float) -> NDArray[np.float32]:
    """(V,) logits with those of ``seen`` tokens divided by ``penalty`` where positive, multiplied where negative."""
    if penalty == 1.0 or not seen:
        return logits
    changed = logits.copy()
    index = np.unique(np.asarray(seen, dtype=np.int64))
    index = index[index >= 0]  # below: pictures and sound
    chosen = changed[index]
    changed[index] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    return changed


def candidates(logits: NDArray[np.float32], sampling: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tokens that may be drawn, and their probabilities; most likely first where anything was left out."""
    scaled = logits.astype(np.float64) / sampling.temperature
    tokens = np.arange(len(scaled))
    if 0 < sampling.top_k < len(scaled):
        tokens = np.argpartition(scaled, -sampling.top_k)[-sampling.top_k :]
        scaled = scaled[tokens]
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    if sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0:
        order = np.lexsort((tokens, -weights))
        tokens, weights = tokens[order], weights[order]
    if sampling.top_p < 1:
        before = np.cumsum(weights) - weights
        keep = int(np.count_nonzero(before < sampling.top_p))
        tokens, weights = tokens[:keep], weights[:keep]
    if sampling.min_p > 0:
        keep = int(np.count_nonzero(weights >= sampling.min_p * weights[0]))
        tokens, weights = tokens[:keep], weights[:keep]
    return tokens, weights / weights.sum()


def draw(logits: NDArray[np.float32], sampling: Sampling, rng: np.random.Generator, seen: Sequence[int] = ()) -> int:
    """One token from (V,) ``logits``. ``seen``: the tokens that the repetition penalty looks at."""
    logits = penalise(logits, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    tokens, weights = candidates(logits, sampling)
    place = int(np.searchsorted(np.cumsum(weights), rng.random(), side="right"))
    return int(tokens[min(place, len(tokens) - 1)])
