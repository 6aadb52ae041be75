"""Word error rates of speech: one recognizer for all recordings of the same sentences, so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.cards import Card
from muomni_cli.core.errors import RequestError
from muomni_cli.speech.judge import Recognizer
from muomni_cli.speech.word_errors import WordErrors, word_errors

Wave = NDArray[np.float32]

NO_VOCODER_MESSAGE = "no word error rates: no vocoder is trained, and there is none that needs no training"


@dataclass(frozen=True, slots=True)
class WerResult:
    """Spoken sentences, what the recognizer heard, and the word errors."""

    texts: tuple[str, ...]
    heard: tuple[str, ...]
    errors: WordErrors

    def card(self, stage: str, task: str, metric: str) -> Card:
        """The word error rate as a metric."""
        interval = self.errors.interval()
        return Card(
            stage,
            task,
            metric,
            self.errors.rate,
            interval.low,
            interval.high,
            len(self.texts),
            "sentence",
            sentences=self.sentences(),
        )

    def sentences(self) -> list[dict[str, Any]]:
        """One entry per sentence, as plain data."""
        rows = zip(self.texts, self.heard, self.errors.edits, self.errors.words, strict=True)
        return [{"text": text, "heard": heard, "edits": edits, "words": words} for text, heard, edits, words in rows]

    def increase(self, original: WerResult, stage: str, task: str) -> Card:
        """How much higher the rate is than that of the ``original`` recordings of the same sentences."""
        more, low, high = self.errors.above(original.errors)
        return Card(stage, task, "wer_added", more, low, high, len(self.texts), "sentence")


class WerEvaluator:
    """A recognizer for some sentences among ``others``.

    Raises:
        RequestError: the packages of ``muomni[judge]`` are not installed.
    """

    def __init__(self, texts: Sequence[str], others: Iterable[str] = ()) -> None:
        self._recognizer = Recognizer.for_sentences(texts, others)
        self._texts = texts
        self.rows = [row for row, text in enumerate(texts) if text not in self._recognizer.left_out]
        """Indices of the texts that the recognizer can transcribe."""
        word_errors((), ())  # a missing package is reported before the work begins

    def evaluate(self, waves: Sequence[Wave], sample_rate: int, rows: Sequence[int] | None = None) -> WerResult:
        """Transcribe one recording of (N,) samples for each of ``rows``, by default :attr:`rows`."""
        texts = [self._texts[row] for row in (self.rows if rows is None else rows)]
        heard = self._recognizer.transcribe_all(waves, sample_rate)
        return WerResult(tuple(texts), tuple(heard), word_errors(texts, heard))


def wer_evaluator(texts: Sequence[str], others: Iterable[str], progress: Callable[[str], None]) -> WerEvaluator | None:
    """A :class:`WerEvaluator`; None, and a line to ``progress``, if none of the texts can be recognized."""
    try:
        found = WerEvaluator(texts, others)
    except RequestError as error:
        progress(f"no word error rates: {error.what} ({error.fix})")
        return None
    lost = len(texts) - len(found.rows)
    if lost:
        progress(
            f"no word errors of {lost:,} of {len(texts):,} sentences, which contain words unknown to the recognizer"
        )
    return found if found.rows else None
