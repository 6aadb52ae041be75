"""Metrics of ``muomni eval`` for an encoder with a grammar: the shares of commands and of slots that are right.

A command is right if the intent and all slots are, and no others are given. What an example means is its label, if that
is JSON with an intent, as the model answers; else what the grammar reads in its text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from muomni_audio_encoder.commands import said
from muomni_audio_encoder.runtime import Transcription, responds
from muomni_cli.api import EvalSample, Evaluation, MetricResult
from muomni_cli.data.examples import open_examples
from muomni_cli.speech.command_grammar import Command

if TYPE_CHECKING:
    from muomni_cli.contract.data import Examples

SHOWN = 8  # examples of a task in the report


def command_metrics(evaluation: Evaluation, stage: str) -> Iterator[MetricResult]:
    """``command`` and ``slots`` of every source; nothing for an encoder without a grammar."""
    predictor = evaluation.model.predictor(stage)
    if not isinstance(predictor, Transcription) or not responds(predictor.config):
        return
    recipe = evaluation.recipe
    data = open_examples(recipe, stage, recipe.seed, evaluation.progress, only=evaluation.split)
    examples: Examples = data.train if evaluation.split == "train" else data.val
    sources = np.asarray(examples.sources)
    for number, task in enumerate(data.names):
        rows = evaluation.limited(np.flatnonzero(sources == number).tolist())
        if not rows:
            continue
        wanted = [meant(predictor, examples.texts[row], examples.labels[row]) for row in rows]
        found = [predictor.command(examples.inputs[row]) for row in rows]
        right = [float(one == other) for one, other in zip(found, wanted, strict=True)]
        keys = [examples.keys[row] for row in rows]
        samples = [
            EvalSample("", one.json(), other.json(), bool(score))
            for one, other, score in zip(wanted[:SHOWN], found[:SHOWN], right[:SHOWN], strict=True)
        ]
        yield evaluation.card(stage, task, "command", right, keys, None, samples)
        pairs = [
            (float(other.slots.get(slot) == value), key)
            for one, other, key in zip(wanted, found, keys, strict=True)
            for slot, value in one.slots.items()
        ]
        if pairs:
            yield evaluation.card(stage, task, "slots", [score for score, _ in pairs], [key for _, key in pairs])


def meant(recognizer: Transcription, text: str, label: str | None) -> Command:
    """The command that an example stands for."""
    if label and label.startswith("{"):
        try:
            found = cast("dict[str, Any]", json.loads(label))
            return Command(found["intent"], dict(found.get("slots", {})))
        except (ValueError, KeyError, TypeError):
            pass
    return said(recognizer.decoder, text)
