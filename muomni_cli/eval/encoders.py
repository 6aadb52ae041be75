"""Metrics of text (bits per byte) and of encoders (answers to the examples of their own stage)."""

from __future__ import annotations

import bz2
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from muomni_cli.contract.metrics import EvalSample, MetricResult
from muomni_cli.data.examples import open_examples
from muomni_cli.data.text import ValidationText, nats_of, open_text
from muomni_cli.eval.metrics import metric_result, transcript_metrics
from muomni_cli.eval.report import media_of, select_samples
from muomni_cli.recipe.stages import SOUND

if TYPE_CHECKING:
    from muomni_cli.contract.data import Examples
    from muomni_cli.contract.engine import Engine
    from muomni_cli.contract.models import Predictor, Tokenizer
    from muomni_cli.data.batches import TokenStream, Window
    from muomni_cli.eval.model import EvalContext

MAX_TOKENS = 4_000_000  # the compressor is given at most this many


def text_metrics(context: EvalContext, stage: str) -> Iterator[MetricResult]:
    """Bits per byte of held-out text, all of it or the first ``limit`` windows, by the Thinker as ``stage`` left it,
    whatever its training objective. The baseline is bzip2 on the same text."""
    if not context.recipe.data.sources.get("text"):
        return
    engine = context.model.at(stage)
    tokenizer, length = engine.tokenizer(), int(engine.parts["thinker"]["config"]["ctx_len"])
    size = context.recipe.train_for("thinker").batch_size
    batches = -(-(context.limit or 0) // size)
    streams = open_text(context.recipe, tokenizer, context.progress).val
    for stream in streams:
        text = ValidationText([stream], tokenizer, length, size, batches)
        found = text.measure(lambda window: _nats(engine, window))["bits_per_byte"]
        baseline = _compressed(stream, tokenizer) if stream.mask is None else None
        task = stream.source if len(streams) > 1 else "text"
        yield MetricResult(stage, task, "bits_per_byte", found, baseline=baseline)


def _nats(engine: Engine, window: Window) -> float:
    """The cross-entropy of a batch of windows, summed over the targets that count, one row at a time."""
    total = 0.0
    for ids, mask in zip(window.tokens, window.mask, strict=True):
        counted = np.flatnonzero(mask)
        if counted.size:
            end = int(counted[-1]) + 1
            total += float(nats_of(engine.score(ids[:end]), ids[1 : end + 1])[counted].sum())
    return total


def _compressed(stream: TokenStream, tokenizer: Tokenizer) -> float | None:
    bytes_of = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    text = b"".join(bytes_of[token] for token in np.asarray(stream.tokens[:MAX_TOKENS]).tolist())
    return 8 * len(bz2.compress(text)) / len(text) if text else None


def encoder_metrics(context: EvalContext, stage: str) -> Iterator[MetricResult]:
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
        expected = {row: predictor.expected(examples.texts[row], examples.labels[row]) for row in of_task}
        choices = sorted(set(expected.values()))
        rows = context.limited(of_task)
        keys = [examples.keys[row] for row in rows]
        for metric, closed in predictor.answer_modes.items():
            # It chooses among answers that repeat, or if it cannot answer in another way.
            can_choose = 2 * len(choices) <= len(of_task) or len(predictor.answer_modes) == 1
            if closed and not (len(choices) > 1 and can_choose):
                continue
            answers = _answers(context, predictor, examples, rows, choices if closed else None)
            scores = [float(answer == expected[row]) for answer, row in zip(answers, rows, strict=True)]
            known = choices if closed else predictor.vocabulary
            samples = []
            for index in select_samples([score > 0 for score in scores]):
                row, right = rows[index], scores[index] > 0
                media = media_of(context.recipe, stage, examples.inputs[row])
                samples.append(EvalSample("", expected[row], answers[index], right, **media))
            yield metric_result(stage, task, metric, scores, keys, 1 / len(known) if known else None, samples)
            if not closed and stage == SOUND:
                texts = [expected[row] for row in rows]
                yield from transcript_metrics((stage, task), texts, answers, context.progress)


def _answers(
    context: EvalContext, predictor: Predictor, examples: Examples, rows: Sequence[int], choices: Sequence[str] | None
) -> list[str]:
    """Answers in the order of ``rows``; inputs of similar length share a batch, so that there is little padding."""
    order = sorted(rows, key=lambda row: len(examples.inputs[row]))
    found: dict[int, str] = {}
    for begin in range(0, len(order), context.batch_size):
        batch = order[begin : begin + context.batch_size]
        found |= zip(batch, predictor.answers([examples.inputs[row] for row in batch], choices), strict=True)
    return [found[row] for row in rows]
