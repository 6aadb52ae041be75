"""Metrics that several stages share: the mean of scores with its interval, and the word error rate of transcripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from muomni_cli.contract.metrics import EvalSample, MetricResult
from muomni_cli.core.errors import RequestError
from muomni_cli.core.interval import bootstrap
from muomni_cli.speech.asr import words_of
from muomni_cli.speech.wer import WerResult, word_errors

MIN_WORDS = 2  # of a sentence; of single words, the share of right answers is the same number
MAX_LISTED = 200  # sentences listed with the metric


def metric_result(
    stage: str,
    task: str,
    metric: str,
    scores: Sequence[float],
    keys: Sequence[str],
    baseline: float | None = None,
    samples: Sequence[EvalSample] = (),
) -> MetricResult:
    """The mean of ``scores``, one for each example, resampled by ``keys``: its speaker or scene."""
    interval = bootstrap(scores, keys)
    drawn = (interval.low, interval.high, len(scores), interval.unit, interval.keys)
    return MetricResult(stage, task, metric, sum(scores) / len(scores), *drawn, baseline, samples=samples)


def transcript_metrics(
    name: tuple[str, str], expected: Sequence[str], transcripts: Sequence[str], progress: Callable[[str], None]
) -> Iterator[MetricResult]:
    """The word error rate of transcripts, if most of the expected texts have several words.

    Args:
        name: stage and task of the metric.
        expected: the text spoken in each recording.
        transcripts: what the model wrote for each.
        progress: receives a line if jiwer is missing, so that errors cannot be counted.
    """
    rows = [(text, one) for text, one in zip(expected, transcripts, strict=True) if len(words_of(text)) >= MIN_WORDS]
    if 2 * len(rows) <= len(expected):
        return
    texts, heard = tuple(text for text, _ in rows), tuple(one for _, one in rows)
    try:
        result = WerResult(texts, heard, word_errors(texts, heard)).card(*name, "wer")
    except RequestError as error:
        progress(f"no word error rates: {error.what} ({error.fix})")
        return
    yield replace(result, sentences=(result.sentences or ())[:MAX_LISTED])
