"""Metrics of an encoder that answers by itself (``EncoderPart.respond``), such as with the command in a recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from muomni_cli.contract.metrics import EvalSample, MetricResult
from muomni_cli.data.examples import open_examples
from muomni_cli.eval.metrics import metric_result
from muomni_cli.models.engines import responding

if TYPE_CHECKING:
    from muomni_cli.contract.data import Examples
    from muomni_cli.contract.models import Responder
    from muomni_cli.eval.model import EvalContext

SHOWN = 8  # examples of a task in the report


def command_metrics(context: EvalContext, stage: str) -> Iterator[MetricResult]:
    """``command``, the share of a source's examples that are answered rightly, and ``slots``, the share of the slots of
    right answers. Nothing for an encoder that does not answer by itself."""
    found = responding(context.model)
    if found is None or found[0].modality != stage:
        return
    responder = cast("Responder", context.model.transcriber())
    data = open_examples(context.recipe, stage, context.recipe.seed, context.progress, only=context.split)
    examples: Examples = data.train if context.split == "train" else data.val
    sources = np.asarray(examples.sources)
    for number, task in enumerate(data.names):
        rows = context.limited(np.flatnonzero(sources == number).tolist())
        if not rows:
            continue
        wanted = [responder.expected_response(examples.texts[row], examples.labels[row]) for row in rows]
        answers = [responder.respond(examples.inputs[row]) for row in rows]
        right = [_parsed(one) == _parsed(other) for one, other in zip(wanted, answers, strict=True)]
        keys = [examples.keys[row] for row in rows]
        shown = list(zip(wanted, answers, right, strict=True))[:SHOWN]
        samples = [EvalSample("", *one) for one in shown]
        yield metric_result(stage, task, "command", [float(one) for one in right], keys, None, samples)
        slots = [
            (float(_slots(other).get(slot) == value), key)
            for one, other, key in zip(wanted, answers, keys, strict=True)
            for slot, value in _slots(one).items()
        ]
        if slots:
            yield metric_result(stage, task, "slots", [score for score, _ in slots], [key for _, key in slots])


def _parsed(answer: str) -> Any:
    try:
        return json.loads(answer)
    except ValueError:  # a responder of a plugin may answer in other words
        return answer


def _slots(answer: str) -> dict[str, str]:
    found = _parsed(answer)
    slots = found.get("slots") if isinstance(found, dict) else None
    return slots if isinstance(slots, dict) else {}
