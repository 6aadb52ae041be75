"""From tokens to text as they come: never half a character, never a piece of a stop string.

Knows a tokenizer's bytes, not models.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from muomni_cli.contract.models import Tokenizer


class TextStream:
    """Turns tokens into text for one row.

    Text is held back while it could still become a stop string, and bytes while they could still become a character.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False
        """Whether a stop string has appeared; nothing comes after it."""
        self.read = 0
        """Characters that have come."""

    @property
    def held(self) -> int:
        """How many of the last characters may be the beginning of a stop string."""
        return len(self._held)

    def push(self, token: int) -> str:
        """The text that is now sure."""
        return self._release(self._decoder.decode(self._tokenizer.token_bytes(token)))

    def finish(self, *, cut: bool = False) -> str:
        """The rest, when no more tokens come; an unfinished character becomes U+FFFD, or nothing where the tokens that
        followed were ``cut``."""
        text = "" if cut else self._release(self._decoder.decode(b"", final=True))
        if self.stopped:
            return text
        rest, self._held = self._held, ""
        return text + rest

    def _release(self, new: str) -> str:
        if self.stopped:
            return ""
        self.read += len(new)
        text = self._held + new
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
