"""A model that answers: its Thinker, tokenizer and name, opened once. Knows no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from muomni_cli.chat.settings import AnswerSettings
from muomni_cli.contract.data import Message
from muomni_cli.contract.media import Media
from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.speech import Said
from muomni_cli.data.shares import Sense, in_order
from muomni_cli.generation import Backend, Event, Finish, Request, generate


@dataclass(slots=True)
class Answer:
    """What has been said so far. ``finish`` is None while it goes on, or when it was interrupted."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    finish: Finish | None = None
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens a second, reading the prompt included."""
        return len(self.tokens) / self.seconds if self.seconds > 0 else 0.0

    def add(self, event: Event) -> None:
        """Take one event in."""
        self.text += event.text
        self.tokens.append(event.token)
        self.finish = event.finish


Taken = list[tuple[Media, NDArray[np.float32]]]
"""Media with the embeddings (T,D) of each."""


class TakeIn(Protocol):
    """Runs the encoders: media of one message -> each with its embeddings, in the order in which they stand before the
    text. RequestError if one cannot be read, the model has no encoder for it, or they do not fit."""

    def __call__(self, media: Sequence[Media]) -> Taken: ...


def text_alone(media: Sequence[Media]) -> Taken:
    """What a model without encoders takes in. RequestError if there is anything."""
    in_order(media, {})
    return []


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model ready to answer. ``label`` is what to call it; ``senses`` name what ``take_in`` takes; ``hidden``: the
    backend keeps the Thinker's states."""

    backend: Backend[Any]
    tokenizer: Tokenizer
    label: str
    take_in: TakeIn = text_alone
    senses: Mapping[str, Sense] = field(default_factory=dict)
    hidden: bool = False

    def see(self, text: str, media: Sequence[Media]) -> tuple[Message, list[int]]:
        """A question with pictures and sound as a message of the user's, and the soft ids that stand for them.

        Raises:
            RequestError: one cannot be read, the model has no encoder for it, or they do not fit.
        """
        return self.question(text, self.take_in(media))

    def question(self, text: str, taken: Taken) -> tuple[Message, list[int]]:
        """:meth:`see`, for what has been taken in already."""
        soft = [token for _, rows in taken for token in self.backend.remember(rows)]
        return Message("user", text, tuple(one for one, _ in taken)), soft

    @property
    def context(self) -> int:
        """Most tokens in a conversation."""
        return self.backend.context

    def answer(self, ids: Sequence[int], settings: AnswerSettings, answer: Answer) -> Iterator[Said]:
        """Go on from ``ids``: pieces of text as they become sure, recorded in ``answer`` before each is given out; with
        the states that chose them, where those are kept.

        Raises:
            RequestError: the prompt is empty or does not fit.
        """
        own = settings.sampling, settings.seed, settings.max_tokens, settings.stop, settings.loop_guard
        request = Request(ids, *own)
        begin = time.perf_counter()
        for event in generate(self.backend, self.tokenizer, [request], hidden=self.hidden):
            answer.add(event)
            answer.seconds = time.perf_counter() - begin
            if event.text:
                yield Said(event.text, event.hidden)
