"""Conversations: turns as token ids, media that stay attached, and the session object of the Python API."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import Template, chat_ids, end_ids, reply_ids, require_room, turn_ids
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.media_input import MediaEmbeddings, MediaInputs, media_of
from muomni_cli.inference.settings import GenerationSettings

LOG = logging.getLogger("muomni")  # at level INFO what commands print to stderr: truncated inputs, dropped turns


class MediaHistory:
    """Media that are repeated with later questions.

    Args:
        modalities: whose inputs are repeated; others are shown once.
        order: all modalities, in the order in which their tokens precede the text.
    """

    def __init__(self, modalities: Sequence[str], order: Iterable[str]) -> None:
        self._modalities, self._order = frozenset(modalities), list(order)
        self.taken: MediaEmbeddings = []

    def beside(self, new: MediaEmbeddings) -> MediaEmbeddings:
        """``new`` media and the repeated ones; a new input replaces those of its modality."""
        replaced = {media.modality for media, _ in new}
        stay = [one for one in self.taken if one[0].modality not in replaced]
        return sorted([*new, *stay], key=lambda one: self._order.index(one[0].modality))

    def keep(self, shown: MediaEmbeddings) -> None:
        """Keep the media of a question that are to be repeated."""
        self.taken = [one for one in shown if one[0].modality in self._modalities]

    def drop(self) -> None:
        self.taken = []


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, the placeholder ids of its media, and the answer."""

    question: Message
    media_ids: Sequence[int]
    answer: str
    answer_ids: list[int]


@dataclass(slots=True)
class ChatHistory:
    """A conversation that drops its oldest exchanges when it outgrows the context."""

    tokenizer: Tokenizer
    template: Template
    context: int
    system: str = ""
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, question: Message, media_ids: Sequence[int], room: int) -> tuple[list[int], int]:
        """Ids of the conversation with ``question`` at its end, and the number of dropped exchanges.

        Oldest exchanges are dropped until ``room`` tokens (at most half the context) are left for the answer.
        RequestError if the question alone does not fit the context.
        """
        room = min(room, self.context // 2)
        require_room(self._ids([], question, media_ids), self.context)
        dropped = 0
        while len(ids := self._ids(self.exchanges[dropped:], question, media_ids)) + room > self.context:
            if dropped == len(self.exchanges):
                break
            dropped += 1
        del self.exchanges[:dropped]
        return ids, dropped

    def answered(self, question: Message, media_ids: Sequence[int], answer: Answer) -> None:
        """Add an exchange: the user's message, the placeholder ids of its media, and the answer, maybe interrupted."""
        eos = self.tokenizer.specials["eos"]
        said = answer.tokens[:-1] if end_ids(self.tokenizer).issuperset(answer.tokens[-1:]) else answer.tokens
        if answer.finish in ("stop", "loop"):  # the last tokens are not part of the text
            said = ids_of(self.tokenizer, answer.text, said)
        self.exchanges.append(Exchange(question, media_ids, answer.text, [*said, eos]))

    def _ids(self, exchanges: Sequence[Exchange], question: Message, media_ids: Sequence[int]) -> list[int]:
        if self.template == "own":  # the template sees the whole conversation
            return self._own_ids(exchanges, question, media_ids)
        ids: list[int] = []
        turn = partial(turn_ids, self.tokenizer, template=self.template)
        if self.system:
            ids += turn(Message("system", self.system), first=True)
        reply = reply_ids(self.tokenizer, self.template)
        for exchange in exchanges:
            ids += turn(exchange.question, first=not ids, media_ids=exchange.media_ids) + reply + exchange.answer_ids
        return ids + turn(question, first=not ids, media_ids=media_ids) + reply

    def _own_ids(self, exchanges: Sequence[Exchange], question: Message, media_ids: Sequence[int]) -> list[int]:
        turns = [Message("system", self.system)] if self.system else []
        soft: list[Sequence[int]] = []  # of each input: those of all inputs of its message come with the first
        for asked, tokens, answer in [
            *((one.question, one.media_ids, one.answer) for one in exchanges),
            (question, media_ids, None),
        ]:
            soft += [tokens, *[()] * (len(asked.media) - 1)] if asked.media else []
            turns += [asked] if answer is None else [asked, Message("assistant", answer)]
        each = iter(soft)
        return chat_ids(self.tokenizer, turns, self.template, reply=True, media_ids=lambda _: next(each)).ids


def ids_of(tokenizer: Tokenizer, text: str, tokens: list[int]) -> list[int]:
    """Ids of ``text``, a prefix of the text of ``tokens``: the ``tokens`` that end within it on whole characters, and
    the rest encoded anew."""
    rest = text.encode("utf-8")
    kept: list[int] = []
    held: list[int] = []
    for token in tokens:
        held.append(token)
        piece = b"".join(map(tokenizer.token_bytes, held))
        if not rest.startswith(piece):
            break
        if piece.decode("utf-8", "ignore").encode("utf-8") == piece:  # whole characters
            kept, held, rest = kept + held, [], rest[len(piece) :]
    return kept + (tokenizer.encode(rest.decode("utf-8")) if rest else [])


class ChatSession:
    """A conversation, as a session of ``muomni chat``; made by :meth:`muomni_cli.inference.model.Model.session`.

    When the context is full, the oldest turns are dropped. Not thread-safe; an answer must have ended, or been
    abandoned, before the next question.

    Args:
        model: with a backend for this conversation only.
        settings: of all its answers.
        reading: held while images and audio are read.
    """

    def __init__(self, model: ChatModel, settings: GenerationSettings, reading: threading.RLock) -> None:
        self._model, self._settings, self._reading = model, settings, reading
        self._carried = MediaHistory(settings.reattach, model.modalities)
        self._history = ChatHistory(model.tokenizer, settings.template, model.context, settings.system)

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Remembered questions and answers."""
        return [(turn.question.text, turn.answer) for turn in self._history.exchanges]

    def drop(self) -> None:
        """Do not repeat inputs of earlier questions. Audio is repeated with each further question until new audio
        replaces it (``[chat] reattach`` of the recipe lists such modalities)."""
        self._carried.drop()

    def ask(
        self,
        text: str,
        *,
        image: MediaInputs = None,
        audio: MediaInputs = None,
        attach: Mapping[str, MediaInputs] | None = None,
    ) -> str:
        """Answer a question; arguments and errors as of :meth:`Model.chat`. After an error the conversation is
        unchanged."""
        return "".join(self.stream(text, image=image, audio=audio, attach=attach))

    def stream(
        self,
        text: str,
        *,
        image: MediaInputs = None,
        audio: MediaInputs = None,
        attach: Mapping[str, MediaInputs] | None = None,
    ) -> Iterator[str]:
        """:meth:`ask` piece by piece. If the iteration is abandoned, the part generated so far is remembered."""
        media = attached(image, audio, attach)
        if not text.strip() and not media:
            raise RequestError("the question is empty", "give some text, an image or audio")
        with self._reading:
            taken = self._carried.beside(self._model.encode_media(media))
            question, media_ids = self._model.question(text, taken)
        ids, dropped = self._history.ask(question, media_ids, self._settings.max_tokens)
        self._carried.keep(taken)
        if dropped:
            LOG.info("the context is full; dropped turns: %d", dropped)
        answer = Answer()

        def pieces() -> Iterator[str]:
            try:
                for said in self._model.answer(ids, self._settings, answer):
                    yield said.text
            finally:
                if answer.tokens:
                    self._history.answered(question, media_ids, answer)
                if answer.finish == "loop":
                    LOG.info("the answer was stopped before it repeated itself")

        return pieces()


def attached(image: MediaInputs, audio: MediaInputs, attach: Mapping[str, MediaInputs] | None) -> list[Media]:
    """All media of one question. RequestError for a value of an unsupported type."""
    given = [("image", image), ("audio", audio), *(attach or {}).items()]
    return [media for modality, many in given for media in media_of(modality, many)]
