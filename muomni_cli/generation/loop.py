"""The generation loop: prompts in, a stream of events out, the same for every backend.

Knows numpy and the backend's protocol, not torch, files or terminals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError, Tokenizer
from muomni_cli.generation.backend import IDLE, Backend, State
from muomni_cli.generation.sampling import Sampling, draw
from muomni_cli.generation.text import TextStream
from muomni_cli.prompt import require_room

Finish = Literal["eos", "stop", "length", "context"]
"""Why a row ended: the model said so, a stop string came, ``max_tokens`` were made, or the context is full."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and how to go on from it. Its random numbers are its own: batching changes no text.

    Negative ids stand for what :meth:`muomni_cli.generation.backend.Backend.remember` was given.
    """

    ids: Sequence[int]
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    max_tokens: int = 256
    stop: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One new token of row ``row``; ``text`` is what became sure with it, ``finish`` is set on the row's last event.
    ``hidden``: (D,) state that chose the token, where it was asked for."""

    row: int
    text: str
    token: int
    finish: Finish | None = None
    hidden: NDArray[np.float32] | None = None


class _Row:
    """One request on its way."""

    def __init__(self, row: int, request: Request, tokenizer: Tokenizer, context: int) -> None:
        self.row, self.request, self.context = row, request, context
        self.eos = tokenizer.specials["eos"]
        self.rng = np.random.default_rng(request.seed)
        self.stream = TextStream(tokenizer, request.stop)
        self.ids = list(request.ids)
        self.running = True

    def advance(self, logits: NDArray[np.float32], hidden: NDArray[np.float32] | None = None) -> Event:
        """Draw a token from (V,) ``logits`` and say what came of it."""
        token = draw(logits, self.request.sampling, self.rng, self.ids)
        self.ids.append(token)
        text = self.stream.push(token)
        finish = self._finish(token)
        if finish is not None:
            self.running = False
            text += self.stream.finish()
        return Event(self.row, text, token, finish, hidden)

    def _finish(self, token: int) -> Finish | None:
        if token == self.eos:
            return "eos"
        if self.stream.stopped:
            return "stop"
        if len(self.ids) - len(self.request.ids) >= self.request.max_tokens:
            return "length"
        return "context" if len(self.ids) > self.context else None


def generate(
    backend: Backend[State], tokenizer: Tokenizer, requests: Sequence[Request], *, hidden: bool = False
) -> Iterator[Event]:
    """Go on from every request until each is finished; one event a token, rows interleaved.

    The texts of a row's events, joined, are the decoded tokens up to a stop string. ``hidden``: events carry the states
    that chose their tokens; the backend must keep them.

    Raises:
        RequestError: a prompt is empty or does not fit the context; nothing has been generated then.
    """
    for request in requests:
        _check(request, backend.context)
    if not requests:
        return
    rows = [_Row(number, request, tokenizer, backend.context) for number, request in enumerate(requests)]
    wanted = max(len(request.ids) + request.max_tokens for request in requests)
    state, logits = backend.begin([request.ids for request in requests], min(wanted, backend.context))
    while True:
        tokens = np.full(len(rows), IDLE, dtype=np.int64)
        states = backend.hidden(state) if hidden else None
        for row in rows:
            if row.running:
                event = row.advance(logits[row.row], None if states is None else states[row.row])
                yield event
                if row.running:
                    tokens[row.row] = event.token
        if (tokens == IDLE).all():
            return
        logits = backend.step(state, tokens)


def _check(request: Request, context: int) -> None:
    if not request.ids:
        raise RequestError("the prompt is empty", "give at least one token")
    require_room(request.ids, context)
    if request.max_tokens < 1:
        raise RequestError(f"max_tokens is {request.max_tokens}", "max_tokens must be 1 or more")
