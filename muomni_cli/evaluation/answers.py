"""Cards of an encoder's own stage: its answers to the examples of each source. Imports torch to open it, no part by
name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from torch import nn

from muomni_cli.api import Answerer, EncoderPart, RequestError
from muomni_cli.data.examples import open_examples
from muomni_cli.evaluation.card import Card, card_of
from muomni_cli.registry import resolve
from muomni_cli.runs.parts import weights_of
from muomni_cli.training.checkpoint import load_model, read_checkpoint

if TYPE_CHECKING:
    from muomni_cli.data.examples import Examples
    from muomni_cli.evaluation.subject import Subject


def open_answerer(subject: Subject, stage: str) -> Answerer:
    """The encoder with the head that its stage trained, averaged weights where the checkpoint has them.

    Raises:
        RequestError: it gives no answers, or is not trained.
    """
    registered, config, entry = subject.run.part(stage, f"muomni train {stage} RECIPE")
    part = registered.part
    assert isinstance(part, EncoderPart), "the stage of a modality trains its encoder"
    if part.answer is None:
        raise RequestError(
            f"the encoder {part.name} gives no answers by itself", "train the stage omni, and ask about what it encodes"
        )
    module: nn.Module = resolve(part.answer, f"encoder {part.name}")(config, entry.get("learned", {}))
    load_model(module, read_checkpoint(weights_of(subject.run, stage, f"muomni train {stage} RECIPE")), ema=True)
    return cast("Answerer", module.eval().requires_grad_(False).to(subject.device))


def answer_cards(subject: Subject, stage: str) -> Iterator[Card]:
    """Cards of every source of ``[[data.<stage>]]`` that has examples on the side that is asked for."""
    answerer = open_answerer(subject, stage)
    data = open_examples(subject.recipe, stage, subject.recipe.seed, subject.progress)
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
            yield card_of(stage, task, metric, scores, keys, 1 / len(known) if known else None)


def _is_closed(choices: Sequence[str], count: int, *, alone: bool) -> bool:
    """Whether answers repeat, so that there is something to choose from; ``alone``: there is no other way to ask."""
    return len(choices) > 1 and (alone or 2 * len(choices) <= count)


def _answers(
    subject: Subject, answerer: Answerer, examples: Examples, rows: Sequence[int], choices: Sequence[str] | None
) -> list[str]:
    """Answers in the order of ``rows``, asked from the smallest input to the largest, so that little is padding."""
    order = sorted(rows, key=lambda row: len(examples.inputs[row]))
    said: dict[int, str] = {}
    for begin in range(0, len(order), subject.batch_size):
        batch = order[begin : begin + subject.batch_size]
        said |= zip(batch, answerer.answers([examples.inputs[row] for row in batch], choices), strict=True)
    return [said[row] for row in rows]
