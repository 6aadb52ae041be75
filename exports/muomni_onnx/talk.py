"""A conversation with an exported model, as a library. Knows no terminal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping

from muomni_cli.api import Media, RequestError
from muomni_cli.chat.carried import Carried
from muomni_cli.chat.conversation import Conversation
from muomni_cli.chat.settings import AnswerSettings
from muomni_cli.chat.speaker import Answer, Speaker
from muomni_onnx.given import Many, media_of

LOG = logging.getLogger("muomni")
"""Told, at level INFO, what commands say on stderr: that the end of a sound was left out, or an old turn forgotten."""


class Talk:
    """Turns that the model remembers, as in a session of ``muomni chat``; made by :meth:`muomni_onnx.Omni.talk`.

    When the context is full, the oldest turns are forgotten. For one thread at a time; an answer must have ended, or
    been left off, before the next question.

    Args:
        speaker: the model, with a backend of this conversation alone.
        settings: how it answers.
        reading: held while pictures and sounds are read.
    """

    def __init__(self, speaker: Speaker, settings: AnswerSettings, reading: threading.RLock) -> None:
        self._speaker, self._settings, self._reading = speaker, settings, reading
        self._carried = Carried(settings.reattach, speaker.senses)
        self._turns = Conversation(speaker.tokenizer, settings.template, speaker.context, settings.system)

    @property
    def turns(self) -> list[tuple[str, str]]:
        """What was asked and answered, as far as it is remembered."""
        return [(turn.question.text, turn.answer) for turn in self._turns.exchanges]

    def drop(self) -> None:
        """Show what was given with earlier questions no more: a sound is played again with each question that follows,
        until another takes its place (``[chat] reattach`` of the recipe says which modalities are)."""
        self._carried.drop()

    def ask(
        self, text: str, *, image: Many = None, audio: Many = None, attach: Mapping[str, Many] | None = None
    ) -> str:
        """The answer to one more question; arguments and errors as of :meth:`muomni_onnx.Omni.chat`. After a mistake
        the conversation is as it was."""
        return "".join(self.stream(text, image=image, audio=audio, attach=attach))

    def stream(
        self, text: str, *, image: Many = None, audio: Many = None, attach: Mapping[str, Many] | None = None
    ) -> Iterator[str]:
        """:meth:`ask` piece by piece. Who leaves off early is remembered to have heard what came until then."""
        media = shown(image, audio, attach)
        if not text.strip() and not media:
            raise RequestError("the question is empty", "give some text, a picture or a sound")
        with self._reading:
            taken = self._carried.beside(self._speaker.take_in(media))
            question, soft = self._speaker.question(text, taken)
        ids, forgotten = self._turns.ask(question, soft, self._settings.max_tokens)
        self._carried.keep(taken)
        if forgotten:
            LOG.info("the context is full: turns forgotten: %d", forgotten)
        answer = Answer()

        def pieces() -> Iterator[str]:
            try:
                for said in self._speaker.answer(ids, self._settings, answer):
                    yield said.text
            finally:
                if answer.tokens:
                    cut = answer.finish in ("stop", "loop")
                    self._turns.answered(question, soft, answer.text, answer.tokens, cut=cut)
                if answer.finish == "loop":
                    LOG.info("the answer was ended before it repeated itself")

        return pieces()


def shown(image: Many, audio: Many, attach: Mapping[str, Many] | None) -> list[Media]:
    """All that one question is about. RequestError if something is none of what can be given."""
    given = [("image", image), ("audio", audio), *(attach or {}).items()]
    return [media for modality, many in given for media in media_of(modality, many)]
