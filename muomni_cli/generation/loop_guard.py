"""Detects an answer that repeats itself. Knows token ids, not models or text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LONGEST_NGRAM = 8
"""Most tokens of the n-grams that are looked for."""
COPIES = 4
"""So many copies of an n-gram in a row are a loop."""


class LoopGuard:
    """Watches the tokens of one answer, as they come, for a loop.

    A loop is an n-gram of 1 to 8 tokens four times in a row. An answer that ends right after the fourth copy (``eos``
    or a stop string) is not cut: "seven seven seven seven" may be what somebody said. One that goes on, with a fifth
    copy or with anything else, or that is ended by its length or the context, is: it then ends before the second copy.
    N-grams of digits alone are numbers (1000000) and count as a loop only from 32 tokens on.

    This class finds the copies; that the answer goes on is for the caller to see.

    Args:
        token_bytes: the bytes that a token spells, as of :meth:`muomni_cli.api.Tokenizer.token_bytes`.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._tokens: list[int] = []
        self._matched = [0] * (LONGEST_NGRAM + 1)
        self.cut: int | None = None
        """How many tokens of the answer stand before the second copy, once there are four copies; None until then."""

    def push(self, token: int) -> None:
        """Take the next token of the answer."""
        self._tokens.append(token)
        for n in range(1, min(LONGEST_NGRAM, len(self._tokens) - 1) + 1):
            self._matched[n] = self._matched[n] + 1 if self._tokens[-1 - n] == token else 0
        if self.cut is None:
            self.cut = next((self._begin(n) for n in range(1, LONGEST_NGRAM + 1) if self._is_loop(n)), None)

    @property
    def sure(self) -> int:
        """How many tokens from the start no loop will take back, however the answer goes on: all of them, unless the
        last ones repeat those before them."""
        return min(self._begin(n) for n in range(LONGEST_NGRAM + 1)) if self.cut is None else self.cut

    def _begin(self, n: int) -> int:
        """Where the copies of the last ``n`` tokens begin, the first left out; the end where there are none."""
        return len(self._tokens) - self._matched[n]

    def _is_loop(self, n: int) -> bool:
        matched = self._matched[n]
        if matched < (COPIES - 1) * n:
            return False
        return matched >= COPIES * LONGEST_NGRAM - n or not self._is_number(self._tokens[-n:])

    def _is_number(self, ngram: Sequence[int]) -> bool:
        return b"".join(map(self._token_bytes, ngram)).isdigit()
