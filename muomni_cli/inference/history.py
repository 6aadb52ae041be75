"""Conversations: turns as token ids, media that stay attached, and the session object of the Python API."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import Template, reply_ids, require_room, turn_ids
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.media_input import MediaInputs, media_of
from muomni_cli.inference.settings import GenerationSettings
from muomni_cli.omni.senses import MediaEmbeddings

LOG = logging.getLogger("muomni")
"""Gets, at level INFO, what commands print on stderr: an input was cut, an old turn forgotten."""


class MediaHistory:
    """What is shown again.

    Args:
        modalities: of which inputs stay; others are shown once.
        order: all modalities, as their tokens stand before the text.
    """

    def __init__(self, modalities: Sequence[str], order: Iterable[str]) -> None:
        self._modalities = frozenset(modalities)
        self._order = list(order)
        self.taken: MediaEmbeddings = []

    def beside(self, new: MediaEmbeddings) -> MediaEmbeddings:
        """``new`` media and those that stay; a new input replaces those of its modality."""
        replaced = {media.modality for media, _ in new}
        stay = [one for one in self.taken if one[0].modality not in replaced]
        return sorted([*new, *stay], key=lambda one: self._order.index(one[0].modality))

    def keep(self, shown: MediaEmbeddings) -> None:
        """Of what a question was asked about, keep what stays."""
        self.taken = [one for one in shown if one[0].modality in self._modalities]

    def drop(self) -> None:
        """Show none of it again."""
        self.taken = []


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user said and showed, as a message and as the soft ids of its media, and what the model answered."""

    question: Message
    media_ids: Sequence[int]
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

    def ask(self, question: Message, media_ids: Sequence[int], room: int) -> tuple[list[int], int]:
        """Ids of the conversation with ``question`` at its end, and how many exchanges were dropped.

        Oldest exchanges are dropped until ``room`` tokens (at most half the context) are left for the answer.

        Raises:
            RequestError: the question alone does not fit the context.
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

    def answered(
        self, question: Message, media_ids: Sequence[int], answer: str, tokens: list[int], *, cut: bool = False
    ) -> None:
        """Remember an exchange.

        Args:
            question: what was asked.
            media_ids: what stood for its media.
            answer: what was shown.
            tokens: what the model made, with or without an ``eos``.
            cut: a stop string ended the answer, so the last tokens are no part of it.
        """
        eos = self.tokenizer.specials["eos"]
        said = tokens[:-1] if tokens and tokens[-1] == eos else tokens
        if cut:
            said = ids_of(self.tokenizer, answer, said)
        end = [eos] if self.template == "roles" else []
        self.exchanges.append(Exchange(question, media_ids, answer, [*said, *end]))

    def take_back(self) -> Exchange | None:
        """Forget the last exchange and give it back; None if there is none."""
        return self.exchanges.pop() if self.exchanges else None

    def _ids(self, exchanges: Sequence[Exchange], question: Message, media_ids: Sequence[int]) -> list[int]:
        """The system message, ``exchanges``, and ``question`` ready for its answer."""
        ids: list[int] = []
        if self.system:
            ids += turn_ids(self.tokenizer, Message("system", self.system), self.template, first=True)
        reply = reply_ids(self.tokenizer, self.template)
        for exchange in exchanges:
            asked = turn_ids(
                self.tokenizer, exchange.question, self.template, first=not ids, media_ids=exchange.media_ids
            )
            ids += [*asked, *reply, *exchange.answer_ids]
        return ids + turn_ids(self.tokenizer, question, self.template, first=not ids, media_ids=media_ids) + reply


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


class ChatSession:
    """A conversation, as a session of ``muomni chat``; made by :meth:`muomni_cli.inference.model.Model.session`.

    When the context is full, the oldest turns are forgotten. For one thread at a time; an answer must have ended, or
    been abandoned, before the next question.

    Args:
        model: with a backend of this conversation alone.
        settings: of all its answers.
        reading: held while pictures and sounds are read.
    """

    def __init__(self, model: ChatModel, settings: GenerationSettings, reading: threading.RLock) -> None:
        self._model, self._settings, self._reading = model, settings, reading
        self._carried = MediaHistory(settings.reattach, model.modalities)
        self._history = ChatHistory(model.tokenizer, settings.template, model.context, settings.system)

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Questions and answers, as far as they are remembered."""
        return [(turn.question.text, turn.answer) for turn in self._history.exchanges]

    def drop(self) -> None:
        """Stop showing the inputs of earlier questions. A sound is played again with each question that follows, until
        another takes its place (``[chat] reattach`` of the recipe lists such modalities)."""
        self._carried.drop()

    def ask(
        self,
        text: str,
        *,
        image: MediaInputs = None,
        audio: MediaInputs = None,
        attach: Mapping[str, MediaInputs] | None = None,
    ) -> str:
        """Answer one more question; arguments and errors as of :meth:`Model.chat`. After an error the conversation is
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
        """:meth:`ask` piece by piece. If the iteration is abandoned, what was generated until then is remembered."""
        media = attached(image, audio, attach)
        if not text.strip() and not media:
            raise RequestError("the question is empty", "give some text, a picture or a sound")
        with self._reading:
            taken = self._carried.beside(self._model.encode_media(media))
            question, media_ids = self._model.question(text, taken)
        ids, forgotten = self._history.ask(question, media_ids, self._settings.max_tokens)
        self._carried.keep(taken)
        if forgotten:
            LOG.info("the context is full: turns forgotten: %d", forgotten)
        answer = Answer()

        def pieces() -> Iterator[str]:
            try:
                for said in self._model.answer(ids, self._settings, answer):
                    yield said.text
            finally:
                if answer.tokens:
                    cut = answer.finish in ("stop", "loop")
                    self._history.answered(question, media_ids, answer.text, answer.tokens, cut=cut)
                if answer.finish == "loop":
                    LOG.info("the answer was ended before it repeated itself")

        return pieces()


def attached(image: MediaInputs, audio: MediaInputs, attach: Mapping[str, MediaInputs] | None) -> list[Media]:
    """All media of one question. RequestError for a value of an unsupported type."""
    given = [("image", image), ("audio", audio), *(attach or {}).items()]
    return [media for modality, many in given for media in media_of(modality, many)]
