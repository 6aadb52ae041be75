"""The generation loop: prompts in, a stream of events out, the same for every backend.

A :class:`Backend` runs the model; :class:`Sampling` holds temperature, top-k, top-p, min-p and repetition penalty;
:class:`TextStream` turns tokens into text as they come, never half a character and never a piece of a stop string;
:class:`LoopGuard` ends an answer that repeats itself. Needs numpy only.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import PADDED_ROW, Backend, CheckState, Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import require_room

LONGEST_NGRAM = 8
"""Most tokens of the n-grams that are looked for."""

COPIES = 4
"""So many copies of an n-gram in a row are a loop."""

Finish = Literal["eos", "stop", "length", "context", "loop"]
"""Why a row ended: the model said so, a stop string came, ``max_tokens`` were made, the context is full, or the answer
repeated itself (:class:`muomni_cli.generation.loop.LoopGuard`)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn. The defaults draw from the model's own distribution.

    Args:
        temperature: divides the logits; 0 takes the most likely token.
        top_k: draw from the k most likely tokens; 0 for all.
        top_p: draw from the smallest set of most likely tokens that holds this probability (arXiv:1904.09751).
        min_p: draw from tokens at least this fraction as likely as the most likely one (arXiv:2407.01082).
        repetition_penalty: how much less likely a token that occurred before is made; 1 for not at all
            (arXiv:1909.05858).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, holds, wanted in (
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("min_p", 0 <= self.min_p <= 1, "from 0 to 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < float("inf"), "more than 0"),
        ):
            if not holds:
                raise RequestError(f"{name} is {getattr(self, name)}", f"{name} must be {wanted}")


def penalize(logits: NDArray[np.float32], seen: Sequence[int], penalty: float) -> NDArray[np.float32]:
    """(V,) logits with those of ``seen`` tokens divided by ``penalty`` where positive, multiplied where negative."""
    if penalty == 1.0 or not seen:
        return logits
    changed = logits.copy()
    index = np.unique(np.asarray(seen, dtype=np.int64))
    index = index[index >= 0]  # below: pictures and sound
    chosen = changed[index]
    changed[index] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    return changed


def candidates(logits: NDArray[np.float32], sampling: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tokens that may be drawn, and their probabilities; most likely first where anything was left out."""
    scaled = logits.astype(np.float64) / sampling.temperature
    tokens = np.arange(len(scaled))
    if 0 < sampling.top_k < len(scaled):
        tokens = np.argpartition(scaled, -sampling.top_k)[-sampling.top_k :]
        scaled = scaled[tokens]
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    if sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0:
        order = np.lexsort((tokens, -weights))
        tokens, weights = tokens[order], weights[order]
    if sampling.top_p < 1:
        before = np.cumsum(weights) - weights
        keep = int(np.count_nonzero(before < sampling.top_p))
        tokens, weights = tokens[:keep], weights[:keep]
    if sampling.min_p > 0:
        keep = int(np.count_nonzero(weights >= sampling.min_p * weights[0]))
        tokens, weights = tokens[:keep], weights[:keep]
    return tokens, weights / weights.sum()


def draw(logits: NDArray[np.float32], sampling: Sampling, rng: np.random.Generator, seen: Sequence[int] = ()) -> int:
    """One token from (V,) ``logits``. ``seen``: the tokens that the repetition penalty looks at."""
    logits = penalize(logits, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    tokens, weights = candidates(logits, sampling)
    place = int(np.searchsorted(np.cumsum(weights), rng.random(), side="right"))
    return int(tokens[min(place, len(tokens) - 1)])


class TextStream:
    """Turns tokens into text for one row.

    Text is held back while it could still become a stop string, and bytes while they could still become a character.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False
        """Whether a stop string has appeared; nothing comes after it."""
        self.read = 0
        """Characters that have come."""

    @property
    def held(self) -> int:
        """How many of the last characters may be the beginning of a stop string."""
        return len(self._held)

    def push(self, token: int) -> str:
        """The text that is now sure."""
        return self._release(self._decoder.decode(self._tokenizer.token_bytes(token)))

    def finish(self, *, cut: bool = False) -> str:
        """The rest, when no more tokens come; an unfinished character becomes U+FFFD, or nothing where the tokens that
        followed were ``cut``."""
        text = "" if cut else self._release(self._decoder.decode(b"", final=True))
        if self.stopped:
            return text
        rest, self._held = self._held, ""
        return text + rest

    def _release(self, new: str) -> str:
        if self.stopped:
            return ""
        self.read += len(new)
        text = self._held + new
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class LoopGuard:
    """Watches the tokens of one answer, as they come, for a loop.

    A loop is an n-gram of 1 to 8 tokens four times in a row. An answer that ends right after the fourth copy (``eos``
    or a stop string) is not cut: "seven seven seven seven" may be what somebody said. One that goes on, with a fifth
    copy or with anything else, or that is ended by its length or the context, is: it then ends before the second copy.
    N-grams of digits alone are numbers (1000000) and count as a loop only from 32 tokens on.

    This class finds the copies; that the answer goes on is for the caller to see.

    Args:
        token_bytes: the bytes that a token spells, as of :meth:`muomni_cli.api.Tokenizer.token_bytes`.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._tokens: list[int] = []
        self._matched = [0] * (LONGEST_NGRAM + 1)
        self.cut: int | None = None
        """How many tokens of the answer stand before the second copy, once there are four copies; None until then."""

    def push(self, token: int) -> None:
        """Take the next token of the answer."""
        self._tokens.append(token)
        for n in range(1, min(LONGEST_NGRAM, len(self._tokens) - 1) + 1):
            self._matched[n] = self._matched[n] + 1 if self._tokens[-1 - n] == token else 0
        if self.cut is None:
            self.cut = next((self._begin(n) for n in range(1, LONGEST_NGRAM + 1) if self._is_loop(n)), None)

    @property
    def sure(self) -> int:
        """How many tokens from the start no loop will take back, however the answer goes on: all of them, unless the
        last ones repeat those before them."""
        return min(self._begin(n) for n in range(LONGEST_NGRAM + 1)) if self.cut is None else self.cut

    def _begin(self, n: int) -> int:
        """Where the copies of the last ``n`` tokens begin, the first left out; the end where there are none."""
        return len(self._tokens) - self._matched[n]

    def _is_loop(self, n: int) -> bool:
        matched = self._matched[n]
        if matched < (COPIES - 1) * n:
            return False
        return matched >= COPIES * LONGEST_NGRAM - n or not self._is_number(self._tokens[-n:])

    def _is_number(self, ngram: Sequence[int]) -> bool:
        return b"".join(map(self._token_bytes, ngram)).isdigit()


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and how to go on from it. Its random numbers are its own: batching changes no text.

    Negative ids stand for what :meth:`muomni_cli.contract.models.Backend.add_embeddings` was given.
    """

    ids: Sequence[int]
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    max_tokens: int = 256
    stop: Sequence[str] = ()
    loop_guard: bool = True
    """End an answer that repeats itself before the second copy: :class:`muomni_cli.generation.loop.LoopGuard`."""


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
    backend: Backend[CheckState], tokenizer: Tokenizer, requests: Sequence[Request], *, hidden: bool = False
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
        tokens = np.full(len(rows), PADDED_ROW, dtype=np.int64)
        states = backend.hidden(state) if hidden else None
        for row in rows:
            if row.running:
                yield from row.advance(logits[row.row], None if states is None else states[row.row])
                if row.running:
                    tokens[row.row] = row.ids[-1]
        if (tokens == PADDED_ROW).all():
            return
        logits = backend.step(state, tokens)


def _check(request: Request, context: int) -> None:
    if not request.ids:
        raise RequestError("the prompt is empty", "give at least one token")
    require_room(request.ids, context)
    if request.max_tokens < 1:
        raise RequestError(f"max_tokens is {request.max_tokens}", "max_tokens must be 1 or more")
