"""Metrics of the Thinker on held-out text, source by source, with a general-purpose compressor as the baseline."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from muomni_cli.contract.cards import Card
from muomni_cli.data.corpus import open_text
from muomni_cli.data.held_out import HeldOut, nats_of

if TYPE_CHECKING:
    from muomni_cli.contract.engine import Engine
    from muomni_cli.contract.models import Tokenizer
    from muomni_cli.data.shards import Stream
    from muomni_cli.data.windows import Window
    from muomni_cli.evaluation.model import EvalContext

MAX_TOKENS = 4_000_000
"""The compressor is given at most this many tokens."""


def text_metrics(context: EvalContext, stage: str) -> Iterator[Card]:
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
        text = HeldOut([stream], tokenizer, length, size, batches)
        found = text.measure(lambda window: _nats(engine, window))["bits_per_byte"]
        baseline = _compressed(stream, tokenizer) if stream.mask is None else None
        task = stream.source if len(streams) > 1 else "text"
        yield Card(stage, task, "bits_per_byte", found, chance=baseline)


def _nats(engine: Engine, window: Window) -> float:
    """The cross-entropy of a batch of windows, summed over the targets that count, one row at a time."""
    total = 0.0
    for ids, mask in zip(window.tokens, window.mask, strict=True):
        counted = np.flatnonzero(mask)
        if counted.size:
            end = int(counted[-1]) + 1
            total += float(nats_of(engine.score(ids[:end]), ids[1 : end + 1])[counted].sum())
    return total


def _compressed(stream: Stream, tokenizer: Tokenizer) -> float | None:
    """Bits per byte of bzip2."""
    bytes_of = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    text = b"".join(bytes_of[token] for token in np.asarray(stream.tokens[:MAX_TOKENS]).tolist())
    return 8 * len(bz2.compress(text)) / len(text) if text else None
