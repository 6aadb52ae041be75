"""Cards of held-out text, source by source, beside a compressor. Knows no part by name, and no torch."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from muomni_cli.contract.cards import Card
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import MuomniError
from muomni_cli.data.corpus import open_text

if TYPE_CHECKING:
    from muomni_cli.data.shards import Stream
    from muomni_cli.evaluation.subject import Subject

MOST = 4_000_000
"""Tokens that the compressor gets at most."""


def text_cards(subject: Subject, stage: str) -> Iterator[Card]:
    """Bits a byte of held-out text, all of it or the first ``limit`` windows, by the Thinker as ``stage`` left it. The
    floor is what bzip2 makes of the same text.

    Raises:
        MuomniError: its objective measures something else.
    """
    if not subject.recipe.data.sources.get("text"):
        return
    batches = -(-(subject.limit or 0) // subject.recipe.train_for("thinker").batch_size)
    tokenizer = subject.model.tokenizer()
    streams = open_text(subject.recipe, tokenizer, subject.progress).val
    for stream in streams:
        found = subject.model.text(stage, batches, stream.source)
        metric = "bits_per_byte" if "bits_per_byte" in found else "loss"
        if metric not in found:
            raise MuomniError(f"the Thinker of {subject.model.label} measures no loss", "report it to who made it")
        floor = _compressed(stream, tokenizer) if metric == "bits_per_byte" and stream.mask is None else None
        task = stream.source if len(streams) > 1 else "text"
        yield Card(stage, task, metric, float(found[metric]), chance=floor)


def _compressed(stream: Stream, tokenizer: Tokenizer) -> float | None:
    """Bits a byte of bzip2."""
    spelt = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    text = b"".join(spelt[token] for token in np.asarray(stream.tokens[:MOST]).tolist())
    return 8 * len(bz2.compress(text)) / len(text) if text else None
