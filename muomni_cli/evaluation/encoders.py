"""Metrics of an encoder's own stage: how well it answers the examples of each source of ``[[data.<modality>]]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from muomni_cli.contract.cards import Card, Shown
from muomni_cli.data.examples import open_examples
from muomni_cli.evaluation.metrics import card_of, transcript_metrics
from muomni_cli.evaluation.samples import media_of, select_samples
from muomni_cli.recipe.model import SOUND

if TYPE_CHECKING:
    from muomni_cli.contract.data import Examples
    from muomni_cli.contract.models import Answers
    from muomni_cli.evaluation.model import EvalContext


def encoder_metrics(context: EvalContext, stage: str) -> Iterator[Card]:
    """Metrics of every source that has examples on the chosen side of the split: one for each way in which the encoder
    answers, and the word error rate of transcripts."""
    predictor = context.model.predictor(stage)
    data = open_examples(context.recipe, stage, context.recipe.seed, context.progress, only=context.split)
    examples: Examples = data.train if context.split == "train" else data.val
    sources = np.asarray(examples.sources)
    for number, task in enumerate(data.names):
        of_task: list[int] = np.flatnonzero(sources == number).tolist()
        if not of_task:
            continue
        expected = {row: predictor.wanted(examples.texts[row], examples.labels[row]) for row in of_task}
        choices = sorted(set(expected.values()))
        rows = context.limited(of_task)
        keys = [examples.keys[row] for row in rows]
        for metric, closed in predictor.ways.items():
            if closed and not _is_closed(choices, len(of_task), only_way=len(predictor.ways) == 1):
                continue
            answers = _answers(context, predictor, examples, rows, choices if closed else None)
            scores = [float(answer == expected[row]) for answer, row in zip(answers, rows, strict=True)]
            known = choices if closed else predictor.vocabulary
            result = card_of(stage, task, metric, scores, keys, 1 / len(known) if known else None)
            yield replace(result, samples=_samples(context, stage, examples, rows, answers, expected))
            if not closed and stage == SOUND:
                texts = [expected[row] for row in rows]
                yield from transcript_metrics((stage, task), texts, answers, context.progress)


def _is_closed(choices: Sequence[str], count: int, *, only_way: bool) -> bool:
    """Whether answers repeat, so that there is something to choose from; ``only_way``: the encoder cannot answer
    otherwise."""
    return len(choices) > 1 and (only_way or 2 * len(choices) <= count)


def _answers(
    context: EvalContext, predictor: Answers, examples: Examples, rows: Sequence[int], choices: Sequence[str] | None
) -> list[str]:
    """Answers in the order of ``rows``; inputs of similar length share a batch, so that there is little padding."""
    order = sorted(rows, key=lambda row: len(examples.inputs[row]))
    found: dict[int, str] = {}
    for begin in range(0, len(order), context.batch_size):
        batch = order[begin : begin + context.batch_size]
        found |= zip(batch, predictor.answers([examples.inputs[row] for row in batch], choices), strict=True)
    return [found[row] for row in rows]


def _samples(
    context: EvalContext,
    stage: str,
    examples: Examples,
    rows: Sequence[int],
    answers: Sequence[str],
    expected: dict[int, str],
) -> list[Shown]:
    right = [answer == expected[row] for answer, row in zip(answers, rows, strict=True)]
    found = []
    for index in select_samples(right):
        row = rows[index]
        media = media_of(context.recipe, stage, examples.inputs[row])
        found.append(Shown("", expected[row], answers[index], right[index], **media))
    return found
