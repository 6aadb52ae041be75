"""The turns of a conversation as token ids, kept as the model has read and written them, so that its cache stays
valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from muomni_cli.contract.data import Message
from muomni_cli.contract.models import Tokenizer
from muomni_cli.data.prompt import Template, reply_ids, require_room, turn_ids


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user said and showed, as a message and as the soft ids of its media, and what the model answered."""

    question: Message
    soft: Sequence[int]
    answer: str
    answer_ids: list[int]


@dataclass(slots=True)
class ChatHistory:
    """A conversation that forgets its oldest exchanges when it outgrows the context."""

    tokenizer: Tokenizer
    template: Template
    context: int
    system: str = ""
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, question: Message, soft: Sequence[int], room: int) -> tuple[list[int], int]:
        """Ids of the conversation with ``question`` at its end, and how many exchanges were dropped.

        Oldest exchanges are dropped until ``room`` tokens (at most half the context) are left for the answer.

        Raises:
            RequestError: the question alone does not fit the context.
        """
        room = min(room, self.context // 2)
        require_room(self._ids([], question, soft), self.context)
        dropped = 0
        while len(ids := self._ids(self.exchanges[dropped:], question, soft)) + room > self.context:
            if dropped == len(self.exchanges):
                break
            dropped += 1
        del self.exchanges[:dropped]
        return ids, dropped

    def answered(
        self, question: Message, soft: Sequence[int], answer: str, tokens: list[int], *, cut: bool = False
    ) -> None:
        """Remember an exchange.

        Args:
            question: what was asked.
            soft: what stood for its media.
            answer: what was shown.
            tokens: what the model made, with or without an ``eos``.
            cut: a stop string ended the answer, so the last tokens are no part of it.
        """
        eos = self.tokenizer.specials["eos"]
        said = tokens[:-1] if tokens and tokens[-1] == eos else tokens
        if cut:
            said = ids_of(self.tokenizer, answer, said)
        end = [eos] if self.template == "roles" else []
        self.exchanges.append(Exchange(question, soft, answer, [*said, *end]))

    def take_back(self) -> Exchange | None:
        """Forget the last exchange and give it back; None if there is none."""
        return self.exchanges.pop() if self.exchanges else None

    def _ids(self, exchanges: Sequence[Exchange], question: Message, soft: Sequence[int]) -> list[int]:
        """The system message, ``exchanges``, and ``question`` ready for its answer."""
        ids: list[int] = []
        if self.system:
            ids += turn_ids(self.tokenizer, Message("system", self.system), self.template, first=True)
        reply = reply_ids(self.tokenizer, self.template)
        for exchange in exchanges:
            asked = turn_ids(self.tokenizer, exchange.question, self.template, first=not ids, soft=exchange.soft)
            ids += [*asked, *reply, *exchange.answer_ids]
        return ids + turn_ids(self.tokenizer, question, self.template, first=not ids, soft=soft) + reply


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
