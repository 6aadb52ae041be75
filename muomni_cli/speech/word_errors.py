"""Word error rates and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muomni_cli.core.errors import RequestError
from muomni_cli.core.interval import FEW, Interval, bootstrap
from muomni_cli.speech.lexicon import words_of


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Words that must be put in, taken out or exchanged to make each text what it should be.

    Args:
        edits: of each sentence.
        words: that each sentence has.
    """

    edits: tuple[int, ...]
    words: tuple[int, ...]

    @property
    def rate(self) -> float:
        """All edits by all words. Above 1 where more words are heard than were said."""
        return sum(self.edits) / sum(self.words)

    def interval(self) -> Interval:
        """Of :attr:`rate`: sentences are drawn, with all their words."""
        return bootstrap(self.edits, [str(row) for row in range(len(self.edits))], sizes=self.words)

    def above(self, other: WordErrors) -> tuple[float, float, float]:
        """How much higher the rate is than ``other``'s of the same sentences: the difference, and where 95 % of those
        of redrawn sentences are."""
        more = np.subtract(self.edits, other.edits).tolist()
        sure = bootstrap(more, [str(row) for row in range(len(more))], sizes=self.words)
        if not any(more):  # in no sentence: of few, it may as well be one for the better
            half = sure.high if len(more) < FEW else 0.0
            return 0.0, -half, half
        return self.rate - other.rate, sure.low, sure.high


def word_errors(said: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Of texts that were ``said``, each with at least one word, and what was ``heard`` of each.

    Raises:
        RequestError: jiwer, which counts the edits, is not installed.
    """
    try:
        from jiwer import process_words
    except ImportError as error:
        raise RequestError(
            "word error rates need jiwer, which is not installed", "pip install 'muomni[judge]'"
        ) from error
    edits, words = [], []
    for wanted, got in zip(said, heard, strict=True):
        row = words_of(wanted)
        found = process_words(" ".join(row), " ".join(words_of(got)))
        edits.append(found.substitutions + found.deletions + found.insertions)
        words.append(len(row))
    return WordErrors(tuple(edits), tuple(words))
