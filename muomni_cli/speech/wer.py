"""Word error rate of speech and of transcripts, with its confidence interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.metrics import MetricResult
from muomni_cli.core.errors import RequestError
from muomni_cli.core.interval import FEW, Interval, bootstrap
from muomni_cli.speech.asr import Recognizer, words_of

Wave = NDArray[np.float32]
NO_VOCODER_MESSAGE = "no word error rates: no vocoder is trained, and none without training is installed"


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Word edits (insertions, deletions, substitutions) of each sentence, and its number of words."""

    edits: tuple[int, ...]
    words: tuple[int, ...]

    @property
    def rate(self) -> float:
        """All edits divided by all words; may exceed 1."""
        return sum(self.edits) / sum(self.words)

    def interval(self) -> Interval:
        """Of :attr:`rate`, bootstrapped over sentences."""
        return bootstrap(self.edits, [str(row) for row in range(len(self.edits))], sizes=self.words)

    def above(self, other: WordErrors) -> tuple[float, float, float]:
        """Difference to the rate of ``other`` on the same sentences, and its 95 % bootstrap interval."""
        more = np.subtract(self.edits, other.edits).tolist()
        interval = bootstrap(more, [str(row) for row in range(len(more))], sizes=self.words)
        if not any(more):  # no sentence differs: in a small sample, the rate may as well be lower
            half = interval.high if len(more) < FEW else 0.0
            return 0.0, -half, half
        return self.rate - other.rate, interval.low, interval.high


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> WordErrors:
    """Word errors of ``hypothesis`` against ``reference``, each with at least one word. RequestError if jiwer is not
    installed."""
    try:
        from jiwer import process_words
    except ImportError as error:
        raise RequestError(
            "word error rates need jiwer, which is not installed", "pip install 'muomni[eval]'"
        ) from error
    edits, words = [], []
    for wanted, got in zip(reference, hypothesis, strict=True):
        row = words_of(wanted)
        found = process_words(" ".join(row), " ".join(words_of(got)))
        edits.append(found.substitutions + found.deletions + found.insertions)
        words.append(len(row))
    return WordErrors(tuple(edits), tuple(words))


@dataclass(frozen=True, slots=True)
class WerResult:
    """Reference sentences, their transcripts, and the word errors."""

    texts: tuple[str, ...]
    heard: tuple[str, ...]
    errors: WordErrors

    def card(self, stage: str, task: str, metric: str) -> MetricResult:
        interval = self.errors.interval()
        values = (self.errors.rate, interval.low, interval.high, len(self.texts))
        rows = zip(self.texts, self.heard, self.errors.edits, self.errors.words, strict=True)
        sentences = [
            {"text": text, "heard": heard, "edits": edits, "words": words} for text, heard, edits, words in rows
        ]
        return MetricResult(stage, task, metric, *values, "sentence", sentences=sentences)

    def increase(self, original: WerResult, stage: str, task: str) -> MetricResult:
        """The increase of the rate over that of the ``original`` recordings of the same sentences."""
        more, low, high = self.errors.above(original.errors)
        return MetricResult(stage, task, "wer_added", more, low, high, len(self.texts), "sentence")


class WerEvaluator:
    """A recognizer for some sentences among ``others``. RequestError if ``muomni[eval]`` is not installed."""

    def __init__(self, texts: Sequence[str], others: Iterable[str] = ()) -> None:
        self._texts, self._recognizer = texts, Recognizer.for_sentences(texts, others)
        # indices of the texts that the recognizer can transcribe
        self.rows = [row for row, text in enumerate(texts) if text not in self._recognizer.left_out]
        word_errors((), ())  # a missing package is reported before the work begins

    def evaluate(self, waves: Sequence[Wave], sample_rate: int, rows: Sequence[int] | None = None) -> WerResult:
        """Transcribe one recording of (N,) samples for each of ``rows``, default :attr:`rows`."""
        texts = [self._texts[row] for row in (self.rows if rows is None else rows)]
        hypothesis = self._recognizer.transcribe_all(waves, sample_rate)
        return WerResult(tuple(texts), tuple(hypothesis), word_errors(texts, hypothesis))


def wer_evaluator(texts: Sequence[str], others: Iterable[str], progress: Callable[[str], None]) -> WerEvaluator | None:
    """A :class:`WerEvaluator`; None, and a line to ``progress``, if none of the texts can be recognized."""
    try:
        found = WerEvaluator(texts, others)
    except RequestError as error:
        progress(f"no word error rates: {error.what} ({error.fix})")
        return None
    if lost := len(texts) - len(found.rows):
        progress(
            f"no word errors of {lost:,} of {len(texts):,} sentences, which contain words unknown to the recognizer"
        )
    return found if found.rows else None
