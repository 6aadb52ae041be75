"""The generation loop: prompts in, a stream of events out, the same for every backend.

Knows numpy and the backend's protocol, not torch, files or terminals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.backend import IDLE, Backend, State
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import require_room
from muomni_cli.generation.loop_guard import LoopGuard
from muomni_cli.generation.sampling import Sampling, draw
from muomni_cli.generation.text import TextStream

Finish = Literal["eos", "stop", "length", "context", "loop"]
"""Why a row ended: the model said so, a stop string came, ``max_tokens`` were made, the context is full, or the answer
repeated itself (:class:`muomni_cli.generation.loop_guard.LoopGuard`)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and how to go on from it. Its random numbers are its own: batching changes no text.

    Negative ids stand for what :meth:`muomni_cli.contract.backend.Backend.remember` was given.
    """

    ids: Sequence[int]
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    max_tokens: int = 256
    stop: Sequence[str] = ()
    loop_guard: bool = True
    """End an answer that repeats itself before the second copy: :class:`muomni_cli.generation.loop_guard.LoopGuard`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One new token of row ``row``; ``text`` is what became sure with it, ``finish`` is set on the row's last event.
    ``hidden``: (D,) state that chose the token, where it was asked for. Where a loop was cut off, the last event has
    ``eos`` for its token."""

    row: int
    text: str
    token: int
    finish: Finish | None = None
    hidden: NDArray[np.float32] | None = None


class _Row:
    """One request on its way."""

    def __init__(self, row: int, request: Request, tokenizer: Tokenizer, context: int) -> None:
        self.row, self.request, self.context = row, request, context
        self.tokenizer = tokenizer
        self.eos = tokenizer.specials["eos"]
        self.rng = np.random.default_rng(request.seed)
        self.stream = TextStream(tokenizer, request.stop)
        self.guard = LoopGuard(tokenizer.token_bytes) if request.loop_guard else None
        self.ids = list(request.ids)
        self.running = True
        self._said = ""
        self._given = 0
        self._held: list[Event] = []
        self._read_at_cut = 0

    def advance(self, logits: NDArray[np.float32], hidden: NDArray[np.float32] | None = None) -> list[Event]:
        """Draw a token from (V,) ``logits``; gives the events that are sure now. Those of tokens that may turn out to
        be part of a loop are held back."""
        token = draw(logits, self.request.sampling, self.rng, self.ids)
        self.ids.append(token)
        text = self.stream.push(token)
        finish = self._finish(token)
        self.running = finish is None
        if finish == "loop":
            return self._cut_off()
        if finish is not None:
            text += self.stream.finish()
        self._held.append(Event(self.row, text, token, finish, hidden))
        return self._release()

    def _release(self) -> list[Event]:
        sure = len(self._held)
        if self.running and self.guard is not None:
            sure = self.guard.sure - self._given
        events, self._held = self._held[:sure], self._held[sure:]
        self._said += "".join(event.text for event in events)
        self._given += len(events)
        return events

    def _cut_off(self) -> list[Event]:
        """What stands before the second copy, and ``eos`` in the place of all that follows."""
        cut = self.guard.cut if self.guard is not None else None
        assert cut is not None, "only a loop is cut off"
        sure = self._held[: cut - self._given]
        said = self._said + "".join(event.text for event in sure)
        stream = TextStream(self.tokenizer, self.request.stop)
        begin = len(self.request.ids)
        whole = "".join(map(stream.push, self.ids[begin : begin + cut])) + stream.finish(cut=True)
        return [*sure, Event(self.row, whole[len(said) :], self.eos, "loop")]

    def _finish(self, token: int) -> Finish | None:
        if token == self.eos:
            return "eos"
        if self.stream.stopped:
            return "stop"
        goes_on = self._goes_on(token)
        ended: Finish | None = None
        if len(self.ids) - len(self.request.ids) >= self.request.max_tokens:
            ended = "length"
        elif len(self.ids) > self.context:
            ended = "context"
        looped = self.guard is not None and self.guard.cut is not None
        return "loop" if looped and (goes_on or ended) else ended

    def _goes_on(self, token: int) -> bool:
        """Tell the guard of the next token; whether there is a loop after which the answer goes on. It may not where
        what came after the loop could still become a stop string."""
        if self.guard is None:
            return False
        if self.guard.cut is not None:
            return not 0 < self.stream.held >= self.stream.read - self._read_at_cut
        self.guard.push(token)
        self._read_at_cut = self.stream.read
        return False


def generate(
    backend: Backend[State], tokenizer: Tokenizer, requests: Sequence[Request], *, hidden: bool = False
) -> Iterator[Event]:
    """Go on from every request until each is finished; one event a token, rows interleaved.

    The texts of a row's events, joined, are the decoded tokens up to a stop string or the second copy of a loop. An
    event comes with its token, unless that may be the beginning of a loop: then it is held back until that is known.
    ``hidden``: events carry the states that chose their tokens; the backend must keep them.

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
                yield from row.advance(logits[row.row], None if states is None else states[row.row])
                if row.running:
                    tokens[row.row] = row.ids[-1]
        if (tokens == IDLE).all():
            return
        logits = backend.step(state, tokens)


def _check(request: Request, context: int) -> None:
    if not request.ids:
        raise RequestError("the prompt is empty", "give at least one token")
    require_room(request.ids, context)
    if request.max_tokens < 1:
        raise RequestError(f"max_tokens is {request.max_tokens}", "max_tokens must be 1 or more")
