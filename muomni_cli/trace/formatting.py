"""Tokens, counts and answers as text for the steps of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.console import terminal_safe
from muomni_cli.trace.recorder import TraceStep

MAX_TOKENS = 24
"""Most ids of a text that are spelt out."""

TOP = 5
"""Tokens in the list of the likeliest next ones."""


def plural(count: int, what: str) -> str:
    """``1 token``, ``2,000 tokens``."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def quoted(tokenizer: Tokenizer, token: int) -> str:
    """``' the' (262)``; ``<bos> (1)`` for a special token; ``#4711`` for an id outside the tokenizer's vocabulary."""
    if not 0 <= token < tokenizer.vocab_size:
        return f"#{token}"
    special = {number: name for name, number in tokenizer.specials.items()}
    if token in special:
        return f"<{special[token]}> ({token})"
    spelt = tokenizer.token_bytes(token).decode("utf-8", "backslashreplace")
    return f"{terminal_safe(spelt)!r} ({token})"


def spelled(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The first ids of a text, each as in :func:`quoted`."""
    more = f" ... {len(ids) - MAX_TOKENS} more" if len(ids) > MAX_TOKENS else ""
    return " ".join(quoted(tokenizer, token) for token in ids[:MAX_TOKENS]) + more


def likeliest(tokenizer: Tokenizer, probabilities: NDArray[np.float64], count: int = TOP) -> list[dict[str, Any]]:
    """The ``count`` most probable of (V,) tokens in descending order; of equals, the lower id first."""
    order = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return [
        {"token": token, "piece": quoted(tokenizer, token), "probability": float(probabilities[token])}
        for token in order
    ]


def layout(ids: Sequence[int], media: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Segments of a sequence in order: each input with its token count, and the runs of text between them.

    Args:
        ids: -1, -2, ... stand for the tokens of the inputs, in order.
        media: modality and token count of each input.
    """
    owner = [name for name, count in media for _ in range(count)]
    number = [place for place, (_, count) in enumerate(media) for _ in range(count)]
    keys = [(owner[-1 - token], number[-1 - token]) if token < 0 else ("text", -1) for token in ids]
    return [(name, len(list(group))) for (name, _), group in groupby(keys)]


def answer_of(steps: Sequence[TraceStep]) -> str:
    """The text of the traced answer; empty if there is none."""
    return next((str(step.values["text"]).strip() for step in reversed(steps) if "text" in step.values), "")
