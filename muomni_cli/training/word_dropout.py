"""Word dropout (arXiv:1511.06349): some words of a right answer are not shown while the next is learned.

A Thinker that always reads the right words so far guesses the next from them: after "an orange", no circle, if training
never showed an orange circle. What it cannot read, it must look at. Knows arrays of ids, no models.

Shapes: T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray


def share_of(word_dropout: float | Mapping[str, float], modalities: Iterable[str]) -> float:
    """The share for a conversation with media of ``modalities``: 0 without any, the largest where they differ."""
    if isinstance(word_dropout, Mapping):
        return max((word_dropout.get(modality, 0.0) for modality in modalities), default=0.0)
    return word_dropout if any(modalities) else 0.0


def hide_words(
    ids: NDArray[np.int32],
    answer: NDArray[np.bool_],
    share: float,
    specials: Mapping[str, int],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """A copy of ``ids`` (T,) in which ``pad`` stands for each token of an answer with probability ``share``.

    What was asked, media (below 0) and the tokens that mark turns stay.
    """
    if not share:
        return ids
    words = answer & (ids >= 0) & ~np.isin(ids, list(specials.values()))
    hidden = words & (rng.random(len(ids)) < share)
    return np.where(hidden, np.int32(specials["pad"]), ids)
