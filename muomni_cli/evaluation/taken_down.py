"""The card of sentences that a model wrote down from sound. Knows texts, no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from muomni_cli.contract.cards import Card
from muomni_cli.core.errors import RequestError
from muomni_cli.speech.lexicon import words_of
from muomni_cli.speech.word_errors import word_errors

if TYPE_CHECKING:
    from muomni_cli.evaluation.subject import Subject

FEWEST = 2
"""Words of what counts as a sentence: of single words the share that is right says it all."""
TOLD = 200
"""Sentences that the card tells one by one."""


def taken_down(subject: Subject, of: tuple[str, str], wanted: Sequence[str], said: Sequence[str]) -> Iterator[Card]:
    """The word error rate, where most of what is said has several words; none, and a line to ``progress``, where errors
    cannot be counted.

    Args:
        subject: who was asked.
        of: stage and task of the card.
        wanted: what was said in each sound.
        said: what the model wrote of each.
    """
    rows = [(text, one) for text, one in zip(wanted, said, strict=True) if len(words_of(text)) >= FEWEST]
    if 2 * len(rows) <= len(wanted):
        return
    texts, heard = [text for text, _ in rows], [one for _, one in rows]
    try:
        errors = word_errors(texts, heard)
    except RequestError as error:
        subject.progress(f"no word error rates: {error.what} ({error.fix})")
        return
    sure = errors.interval()
    counted = zip(texts, heard, errors.edits, errors.words, strict=True)
    told = [{"text": text, "heard": one, "edits": edits, "words": words} for text, one, edits, words in counted]
    yield Card(*of, "wer", errors.rate, sure.low, sure.high, len(rows), "sentence", sentences=told[:TOLD])
