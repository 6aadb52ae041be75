"""The turns of a session as ids, so that what the model has read is never written differently the next time.

Knows the layout of prompts, not models or terminals.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from muomni_cli.api import Message, RequestError, Tokenizer
from muomni_cli.prompt import Template, message_ids, reply_ids, start_ids


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user said and what the model answered."""

    question: str
    question_ids: list[int]
    answer: str
    answer_ids: list[int]


@dataclass(slots=True)
class Conversation:
    """A conversation that forgets its oldest exchanges when it outgrows the context."""

    tokenizer: Tokenizer
    template: Template
    context: int
    system: str = ""
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, question: str, room: int) -> tuple[list[int], int]:
        """Ids of the conversation with ``question`` at its end, and how many exchanges were dropped.

        Oldest exchanges are dropped until ``room`` tokens (at most half the context) are left for the answer.

        Raises:
            RequestError: the question alone does not fit the context.
        """
        room = min(room, self.context // 2)
        asked = self._question_ids(question)
        if len(asked) + len(self._head()) > self.context:
            raise RequestError(
                f"that is {len(asked) + len(self._head())} tokens and the model's context holds {self.context}",
                "say it in fewer words",
            )
        dropped = 0
        while self.exchanges and len(self._before()) + len(asked) + room > self.context:
            self.exchanges.pop(0)
            dropped += 1
        return self._before() + asked, dropped

    def answered(self, question: str, answer: str, tokens: list[int], *, cut: bool = False) -> None:
        """Remember an exchange.

        Args:
            question: what was asked.
            answer: what was shown.
            tokens: what the model made, with or without an ``eos``.
            cut: a stop string ended the answer, so the last tokens are no part of it.
        """
        eos = self.tokenizer.specials["eos"]
        said = tokens[:-1] if tokens and tokens[-1] == eos else tokens
        if cut:
            said = ids_of(self.tokenizer, answer, said)
        end = [eos] if self.template == "roles" else []
        self.exchanges.append(Exchange(question, self._question_ids(question), answer, [*said, *end]))

    def take_back(self) -> str | None:
        """Forget the last exchange; the question it began with, or None if there is none."""
        return self.exchanges.pop().question if self.exchanges else None

    def _question_ids(self, question: str) -> list[int]:
        asked = message_ids(self.tokenizer, Message("user", question), self.template, first=not self._has_before())
        return asked + reply_ids(self.tokenizer, self.template)

    def _has_before(self) -> bool:
        return bool(self.exchanges or self.system)

    def _head(self) -> list[int]:
        system = Message("system", self.system)
        told = message_ids(self.tokenizer, system, self.template, first=True) if self.system else []
        return start_ids(self.tokenizer) + told

    def _before(self) -> list[int]:
        turns = [part for e in self.exchanges for part in (e.question_ids, e.answer_ids)]
        return self._head() + [token for turn in turns for token in turn]


def ids_of(tokenizer: Tokenizer, text: str, tokens: list[int]) -> list[int]:
    """Ids of ``text``, with which the text of ``tokens`` begins: as many of ``tokens`` as end within it on whole
    characters, and the rest encoded anew."""
    rest = text.encode("utf-8")
    kept: list[int] = []
    held: list[int] = []
    for token in tokens:
        held.append(token)
        piece = b"".join(map(tokenizer.token_bytes, held))
        if not rest.startswith(piece):
            break
        if _is_whole(piece):
            kept, held, rest = kept + held, [], rest[len(piece) :]
    return kept + (tokenizer.encode(rest.decode("utf-8")) if rest else [])


def _is_whole(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
