"""A model that answers: its Thinker, tokenizer and name, opened once. Knows no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from muomni_cli.api import Tokenizer
from muomni_cli.chat.settings import AnswerSettings
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


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model ready to answer. ``label`` is what to call it."""

    backend: Backend[Any]
    tokenizer: Tokenizer
    label: str

    @property
    def context(self) -> int:
        """Most tokens in a conversation."""
        return self.backend.context

    def answer(self, ids: Sequence[int], settings: AnswerSettings, answer: Answer) -> Iterator[str]:
        """Go on from ``ids``: pieces of text as they become sure, recorded in ``answer`` before each is given out.

        Raises:
            RequestError: the prompt is empty or does not fit.
        """
        request = Request(ids, settings.sampling, settings.seed, settings.max_tokens, settings.stop)
        begin = time.perf_counter()
        for event in generate(self.backend, self.tokenizer, [request]):
            answer.add(event)
            answer.seconds = time.perf_counter() - begin
            if event.text:
                yield event.text
