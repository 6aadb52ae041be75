"""The tokens of an answer while it is generated, for clients that show them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from muomni_cli import Model

if TYPE_CHECKING:
    from collections.abc import Sequence


class TokenTrace:
    """Tells of each token once.

    Args:
        model: whose tokenizer spells them.
        tokens: of the answer so far; grows.
    """

    def __init__(self, model: Model, tokens: Sequence[int]) -> None:
        tokenizer = model.engine.tokenizer()
        self._bytes, self._special = tokenizer.token_bytes, frozenset(tokenizer.specials.values())
        self._tokens, self._told, self._begin = tokens, 0, time.perf_counter()

    def new(self) -> tuple[dict[str, Any], ...]:
        """Tokens since the last call: id, text (empty for a special one; bytes that are no whole character are shown
        as U+FFFD), and milliseconds since the prompt was read."""
        ms = round(1000 * (time.perf_counter() - self._begin), 1)
        found = self._tokens[self._told :]
        self._told += len(found)
        return tuple({"id": one, "text": self._spelled(one), "ms": ms} for one in found)

    def _spelled(self, token: int) -> str:
        return "" if token in self._special else self._bytes(token).decode("utf-8", "replace")
