"""How much of some sentences is understood, whoever says them: one judge for all who say the same. Knows sounds and
texts, no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.cards import Card
from muomni_cli.core.errors import RequestError
from muomni_cli.speech.judge import Judge
from muomni_cli.speech.word_errors import WordErrors, word_errors

Wave = NDArray[np.float32]

MUTE = "no word error rates: no vocoder is trained, and there is none that needs no training"
"""Said where nothing can be heard."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said, what was heard of it, and where they differ."""

    said: tuple[str, ...]
    heard: tuple[str, ...]
    errors: WordErrors

    def card(self, stage: str, task: str, metric: str) -> Card:
        """Its word error rate."""
        sure = self.errors.interval()
        return Card(
            stage,
            task,
            metric,
            self.errors.rate,
            sure.low,
            sure.high,
            len(self.said),
            "sentence",
            sentences=self.sentences(),
        )

    def sentences(self) -> list[dict[str, Any]]:
        """Sentence by sentence, as JSON can hold it."""
        rows = zip(self.said, self.heard, self.errors.edits, self.errors.words, strict=True)
        return [{"text": said, "heard": heard, "edits": edits, "words": words} for said, heard, edits, words in rows]

    def added(self, original: Heard, stage: str, task: str) -> Card:
        """By how much the rate is above that of ``original`` sounds of the same sentences."""
        more, low, high = self.errors.above(original.errors)
        return Card(stage, task, "wer_added", more, low, high, len(self.said), "sentence")


class Hearing:
    """Some sentences, and a judge who knows them among ``others``.

    Raises:
        RequestError: the packages of ``muomni[judge]`` are not installed.
    """

    def __init__(self, texts: Sequence[str], others: Iterable[str] = ()) -> None:
        self._judge = Judge.of(texts, others)
        self._texts = texts
        self.rows = [row for row, text in enumerate(texts) if text not in self._judge.left_out]
        """Of the texts that can be judged."""
        word_errors((), ())  # a package that is missing is missed before anything is heard

    def of(self, waves: Sequence[Wave], sample_rate: int, rows: Sequence[int] | None = None) -> Heard:
        """What is heard of one sound for each of ``rows``, those that can be judged by default."""
        said = [self._texts[row] for row in (self.rows if rows is None else rows)]
        heard = self._judge.hear_all(waves, sample_rate)
        return Heard(tuple(said), tuple(heard), word_errors(said, heard))


def hearing(texts: Sequence[str], others: Iterable[str], progress: Callable[[str], None]) -> Hearing | None:
    """A :class:`Hearing`; None, and a line to ``progress``, where nothing can be judged."""
    try:
        found = Hearing(texts, others)
    except RequestError as error:
        progress(f"no word error rates: {error.what} ({error.fix})")
        return None
    lost = len(texts) - len(found.rows)
    if lost:
        progress(f"no word errors of {lost:,} of {len(texts):,} sentences, which hold words unknown to the judge")
    return found if found.rows else None
