"""Cards of an encoder's own stage: its answers to the examples of each source. Knows no part by name, and no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from muomni_cli.api import Answers
from muomni_cli.data.examples import open_examples
from muomni_cli.evaluation.card import Card, Shown, card_of
from muomni_cli.evaluation.exhibits import as_seen, worth_showing
from muomni_cli.evaluation.taken_down import taken_down
from muomni_cli.recipe.model import SOUND

if TYPE_CHECKING:
    from muomni_cli.data.examples import Examples
    from muomni_cli.evaluation.subject import Subject


def answer_cards(subject: Subject, stage: str) -> Iterator[Card]:
    """Cards of every source of ``[[data.<stage>]]`` that has examples on the side that is asked for."""
    answerer = subject.model.predictor(stage)
    data = open_examples(subject.recipe, stage, subject.recipe.seed, subject.progress, only=subject.split)
    examples: Examples = data.train if subject.split == "train" else data.val
    sources = np.asarray(examples.sources)
    for number, task in enumerate(data.names):
        of_task: list[int] = np.flatnonzero(sources == number).tolist()
        if not of_task:
            continue
        wanted = {row: answerer.wanted(examples.texts[row], examples.labels[row]) for row in of_task}
        choices = sorted(set(wanted.values()))
        rows = subject.limited(of_task)
        keys = [examples.keys[row] for row in rows]
        for metric, closed in answerer.ways.items():
            if closed and not _is_closed(choices, len(of_task), alone=len(answerer.ways) == 1):
                continue
            said = _answers(subject, answerer, examples, rows, choices if closed else None)
            scores = [float(one == wanted[row]) for one, row in zip(said, rows, strict=True)]
            known = choices if closed else answerer.vocabulary
            card = card_of(stage, task, metric, scores, keys, 1 / len(known) if known else None)
            yield replace(card, samples=_samples(subject, stage, examples, rows, said, wanted))
            if not closed and stage == SOUND:
                yield from taken_down(subject, (stage, task), [wanted[row] for row in rows], said)


def _is_closed(choices: Sequence[str], count: int, *, alone: bool) -> bool:
    """Whether answers repeat, so that there is something to choose from; ``alone``: there is no other way to ask."""
    return len(choices) > 1 and (alone or 2 * len(choices) <= count)


def _answers(
    subject: Subject, answerer: Answers, examples: Examples, rows: Sequence[int], choices: Sequence[str] | None
) -> list[str]:
    """Answers in the order of ``rows``, asked from the smallest input to the largest, so that little is padding."""
    order = sorted(rows, key=lambda row: len(examples.inputs[row]))
    said: dict[int, str] = {}
    for begin in range(0, len(order), subject.batch_size):
        batch = order[begin : begin + subject.batch_size]
        said |= zip(batch, answerer.answers([examples.inputs[row] for row in batch], choices), strict=True)
    return [said[row] for row in rows]


def _samples(
    subject: Subject,
    stage: str,
    examples: Examples,
    rows: Sequence[int],
    said: Sequence[str],
    wanted: dict[int, str],
) -> list[Shown]:
    right = [one == wanted[row] for one, row in zip(said, rows, strict=True)]
    return [
        Shown(
            "", wanted[rows[place]], said[place], right[place], **as_seen(subject, stage, examples.inputs[rows[place]])
        )
        for place in worth_showing(right)
    ]
