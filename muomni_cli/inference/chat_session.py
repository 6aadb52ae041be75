"""A conversation as a library object: questions in, answers out, earlier turns remembered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping

from muomni_cli.contract.media import Media
from muomni_cli.core.errors import RequestError
from muomni_cli.inference.carried import Carried
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.history import ChatHistory
from muomni_cli.inference.media_input import MediaInputs, media_of
from muomni_cli.inference.settings import AnswerSettings

LOG = logging.getLogger("muomni")
"""Gets, at level INFO, what commands print on stderr: an input was cut, an old turn forgotten."""


class ChatSession:
    """A conversation, as a session of ``muomni chat``; made by :meth:`muomni_cli.inference.model.Model.session`.

    When the context is full, the oldest turns are forgotten. For one thread at a time; an answer must have ended, or
    been abandoned, before the next question.

    Args:
        model: with a backend of this conversation alone.
        settings: of all its answers.
        reading: held while pictures and sounds are read.
    """

    def __init__(self, model: ChatModel, settings: AnswerSettings, reading: threading.RLock) -> None:
        self._model, self._settings, self._reading = model, settings, reading
        self._carried = Carried(settings.reattach, model.senses)
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
            taken = self._carried.beside(self._model.take_in(media))
            question, soft = self._model.question(text, taken)
        ids, forgotten = self._history.ask(question, soft, self._settings.max_tokens)
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
                    self._history.answered(question, soft, answer.text, answer.tokens, cut=cut)
                if answer.finish == "loop":
                    LOG.info("the answer was ended before it repeated itself")

        return pieces()


def attached(image: MediaInputs, audio: MediaInputs, attach: Mapping[str, MediaInputs] | None) -> list[Media]:
    """All media of one question. RequestError for a value of an unsupported type."""
    given = [("image", image), ("audio", audio), *(attach or {}).items()]
    return [media for modality, many in given for media in media_of(modality, many)]
