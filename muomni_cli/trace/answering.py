"""The tokens of an answer that is traced, and when it is over. Knows token ids, no model."""

from __future__ import annotations

from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.tracing import Step
from muomni_cli.generation.loop_guard import LoopGuard
from muomni_cli.trace.log import Log
from muomni_cli.trace.tellers import many


class Answering:
    """An answer of at most ``most`` tokens, which ends with ``eos`` or a loop, as in chat.

    Args:
        tokenizer: names ``eos``.
        most: tokens to answer with.
        loop_guard: end it before it repeats itself; see :class:`LoopGuard`.
    """

    def __init__(self, tokenizer: Tokenizer, most: int, *, loop_guard: bool) -> None:
        self._eos, self._most = tokenizer.specials["eos"], most
        known = tokenizer.vocab_size  # a Thinker may know more ids
        self._guard = LoopGuard(lambda token: tokenizer.token_bytes(token) if token < known else b"")
        self._guarded = loop_guard
        self.tokens: list[int] = []
        """All that the model made."""
        self.over = False

    def add(self, token: int) -> None:
        """The model's next token."""
        self.tokens.append(token)
        if token != self._eos and self._guard.cut is None:
            self._guard.push(token)
            self.over = len(self.tokens) >= self._most
        else:
            self.over = token == self._eos or self._guarded or len(self.tokens) >= self._most

    def kept(self, log: Log) -> list[int]:
        """The answer's tokens, without those of a loop; cutting them off is a step of its own."""
        cut = self._guard.cut
        if not self._guarded or cut is None or self.tokens[-1] == self._eos:
            return self.tokens
        what = "the answer repeats itself, so it ends before the second copy; --no-loop-guard lets it go on"
        kept = log.measure(Step(at="", title="loop guard", what=what), lambda: self.tokens[:cut])
        log.note(counts=f"{many(len(self.tokens), 'token')} -> {cut}")
        return kept
