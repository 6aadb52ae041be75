"""Tokens for people: what an id spells, and what a model would say next. Knows numpy and tokenizers, no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.console import terminal_safe

SHOWN = 24
"""Ids of a text that are spelt out, at most."""

LIKELIEST = 5


def quoted(tokenizer: Tokenizer, token: int) -> str:
    """``' the' (262)``; ``<bos> (1)`` for a special token; ``#4711`` for one that the tokenizer does not know."""
    if not 0 <= token < tokenizer.vocab_size:
        return f"#{token}"
    special = {number: name for name, number in tokenizer.specials.items()}
    if token in special:
        return f"<{special[token]}> ({token})"
    spelt = tokenizer.token_bytes(token).decode("utf-8", "backslashreplace")
    return f"{terminal_safe(spelt)!r} ({token})"


def pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """What the ids spell, one by one."""
    more = f" ... {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return " ".join(quoted(tokenizer, token) for token in ids[:SHOWN]) + more


def likeliest(tokenizer: Tokenizer, logits: NDArray[np.float32], count: int = LIKELIEST) -> list[dict[str, Any]]:
    """The ``count`` likeliest tokens after (V,) ``logits``, the first first; of equals the one with the lower id."""
    scores = logits.astype(np.float64)
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    order = np.argsort(-weights, kind="stable")[:count].tolist()
    return [
        {"token": token, "piece": quoted(tokenizer, token), "probability": float(weights[token])} for token in order
    ]
