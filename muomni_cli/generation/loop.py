"""The generation loop: prompts in, a stream of events out, the same for every :class:`Backend`. Imports only numpy."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.form import Form
from muomni_cli.contract.models import PADDED_ROW, Backend, CheckState, Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import end_ids, require_room
from muomni_cli.structured_output.mask import FormState

LONGEST_NGRAM = 8  # longest n-gram that is checked, in tokens
COLDEST = 1e-200  # logits divided by a smaller temperature would overflow; the likeliest token is drawn there anyway
COPIES = 4  # consecutive copies of an n-gram that make a loop
Finish = Literal["eos", "stop", "length", "context", "loop"]
"""Why a row ended: end token, stop string, ``max_tokens``, full context, or repetition (:class:`LoopGuard`). An answer
with a form also ends by ``eos`` where nothing can follow it, and is complete whatever the reason."""

LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda value: 0 <= value < inf, "0 or more"),
    "top_k": (lambda value: value >= 0, "0 (all tokens) or more"),
    "top_p": (lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "min_p": (lambda value: 0 <= value <= 1, "from 0 to 1"),
    "repetition_penalty": (lambda value: 0 < value < inf, "more than 0"),
    "max_tokens": (lambda value: value >= 1, "1 or more"),
    "seed": (lambda value: value >= 0, "0 or more"),
    "max_seconds": (lambda value: value > 0, "more than 0"),
}
"""Which values each setting of an answer may have, and the same in words."""


def check_limits(settings: object, number_format: str = "") -> None:
    """RequestError for the first attribute of ``settings`` whose value is out of its range; None is none."""
    for name, (holds, wanted) in LIMITS.items():
        value = getattr(settings, name, None)
        if value is not None and not holds(value):
            raise RequestError(f"{name} is {value:{number_format}}", f"{name} must be {wanted}")


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings. The defaults draw from the model's own distribution.

    Args:
        temperature: divides the logits; 0 takes the most likely token.
        top_k: draw from the k most likely tokens; 0 for all.
        top_p: draw from the smallest set of most likely tokens that holds this probability (arXiv:1904.09751).
        min_p: draw from tokens at least this fraction as likely as the most likely one (arXiv:2407.01082).
        repetition_penalty: reduces the probability of earlier tokens; 1 for none (arXiv:1909.05858).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_limits(self)

    @classmethod
    def of(cls, settings: object) -> Self:
        """The sampling settings among the attributes of ``settings``, for example of a recipe's ``[chat]``."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


def penalize(logits: NDArray[np.float32], seen: Sequence[int], penalty: float) -> NDArray[np.float32]:
    """(V,) logits with those of ``seen`` tokens divided by ``penalty`` where positive, multiplied where negative."""
    if penalty == 1.0 or not seen:
        return logits
    changed = logits.copy()
    index = np.unique(np.asarray(seen, dtype=np.int64))
    index = index[index >= 0]  # negative: media
    chosen = changed[index]
    changed[index] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    return changed


def candidates(logits: NDArray[np.float32], sampling: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tokens that may be drawn, and their probabilities; most likely first if any were excluded."""
    tokens, weights = _likely(logits, sampling)
    if _excludes(sampling):
        order = np.lexsort((tokens, -weights))
        kept = _kept(weights[order], sampling)
        return tokens[order[: len(kept)]], kept / kept.sum()
    return tokens, weights / weights.sum()


def draw(logits: NDArray[np.float32], sampling: Sampling, rng: np.random.Generator, seen: Sequence[int] = ()) -> int:
    """One of the :func:`candidates` of (V,) ``logits``. ``seen``: tokens for the repetition penalty."""
    logits = penalize(logits, seen, sampling.repetition_penalty)
    if sampling.temperature < COLDEST:
        return int(logits.argmax())
    tokens, weights = _likely(logits, sampling)
    if not _excludes(sampling):
        return int(tokens[_place(weights, rng)])
    # Sorting the weights and looking for the token of one of them is several times faster than sorting the tokens.
    ranked = np.sort(-weights)
    np.negative(ranked, out=ranked)
    kept = _kept(ranked, sampling)
    place = _place(kept, rng)
    equal = np.sort(tokens[weights == ranked[place]])
    return int(equal[place - np.count_nonzero(ranked > ranked[place])])


def _place(weights: NDArray[np.float64], rng: np.random.Generator) -> int:
    """An index, drawn with probabilities in proportion to ``weights``."""
    place = int(np.searchsorted((weights / weights.sum()).cumsum(), rng.random(), side="right"))
    return min(place, len(weights) - 1)


def _excludes(sampling: Sampling) -> bool:
    """Whether unlikely tokens are not drawn."""
    return sampling.top_k > 0 or sampling.top_p < 1 or sampling.min_p > 0


def _likely(logits: NDArray[np.float32], sampling: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The tokens of ``top_k``, less some that ``top_p`` excludes, and their probabilities."""
    scaled = logits.astype(np.float64) / sampling.temperature
    tokens = np.arange(len(scaled))
    if 0 < sampling.top_k < len(scaled):
        tokens = np.argpartition(scaled, -sampling.top_k)[-sampling.top_k :]
        scaled = scaled[tokens]
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    if sampling.top_p < 1:  # sort few: all tokens below this weight together have less than half of 1 - top_p
        likely = weights >= (1 - sampling.top_p) / (2 * len(weights))
        tokens, weights = tokens[likely], weights[likely]
    return tokens, weights


def _kept(weights: NDArray[np.float64], sampling: Sampling) -> NDArray[np.float64]:
    """Those of descending ``weights`` that ``top_p`` and ``min_p`` leave."""
    if sampling.top_p < 1:
        before = weights.cumsum() - weights
        weights = weights[: int(np.count_nonzero(before < sampling.top_p))]
    if sampling.min_p > 0:
        weights = weights[: int(np.count_nonzero(weights >= sampling.min_p * weights[0]))]
    return weights


class TextStream:
    """Decodes the tokens of one row. Holds back what may become a stop string, and bytes of incomplete characters.

    Args:
        tokenizer: of the tokens.
        stops: stop strings.
        may_end: whether the answer may end after this text, if it must have a form; else a stop string there is text.
    """

    def __init__(
        self, tokenizer: Tokenizer, stops: Sequence[str] = (), may_end: Callable[[str], bool] | None = None
    ) -> None:
        self._tokenizer, self._may_end = tokenizer, may_end
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = [stop for stop in stops if stop]
        self.held = ""  # the end of the text, which may begin a stop string
        self.stopped = False  # by a stop string, after which no text follows
        self.read = 0  # characters decoded so far
        self._said = ""  # all text that was released, where it is needed

    def push(self, token: int) -> str:
        """The text that is final after ``token``."""
        return self._release(self._decoder.decode(self._tokenizer.token_bytes(token)))

    def finish(self, *, cut: bool = False) -> str:
        """The rest, after the last token; an incomplete character becomes U+FFFD, or is dropped if later tokens were
        ``cut``."""
        text = "" if cut else self._release(self._decoder.decode(b"", final=True))
        rest, self.held = self.held, ""  # nothing is held back after a stop string
        return text + rest

    def _release(self, new: str) -> str:
        if self.stopped:
            return ""
        self.read += len(new)
        if not self._stops:
            return new
        text = self.held + new
        places = [place for stop in self._stops if (place := self._find(text, stop)) >= 0]
        if places:
            self.stopped, self.held = True, ""
            return text[: min(places)]
        final = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self.held = text[final:]
        if self._may_end is not None:
            self._said += text[:final]
        return text[:final]

    def _find(self, text: str, stop: str) -> int:
        """Where ``stop`` first ends the answer; -1 if nowhere."""
        place = text.find(stop)
        while place >= 0 and self._may_end is not None and not self._may_end(self._said + text[:place]):
            place = text.find(stop, place + 1)
        return place


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class LoopGuard:
    """Detects repetition in the tokens of one answer; ``token_bytes``: :meth:`muomni_cli.api.Tokenizer.token_bytes`.

    A loop is an n-gram of 1 to 8 tokens four times in a row. An answer that ends right after the fourth copy (``eos``
    or a stop string) is kept: "seven seven seven seven" may be right. If it continues, with a fifth copy or otherwise,
    or ends by its length or the context, it is cut before the second copy. N-grams of digits alone are numbers
    (1000000) and count as a loop only from 32 tokens on. This class finds the copies; the caller checks that the answer
    continues.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._tokens: list[int] = []
        self._matched: dict[int, int] = {}  # n -> how many of the last tokens equal those n places before, if any do
        self.cut: int | None = None  # tokens before the second copy, once there are four copies

    def push(self, token: int) -> None:
        last = self._tokens[-LONGEST_NGRAM:]
        self._tokens.append(token)
        if token not in last:
            self._matched = {}
            return
        distances = [n for n in range(1, len(last) + 1) if last[-n] == token]
        self._matched = {n: self._matched.get(n, 0) + 1 for n in distances}
        if self.cut is None:
            self.cut = next((len(self._tokens) - self._matched[n] for n in distances if self._is_loop(n)), None)

    @property
    def sure(self) -> int:
        """Number of tokens from the start that no loop can cut, however the answer continues."""
        return len(self._tokens) - max(self._matched.values(), default=0) if self.cut is None else self.cut

    def _is_loop(self, n: int) -> bool:
        matched = self._matched[n]
        if matched < (COPIES - 1) * n:
            return False
        number = b"".join(map(self._token_bytes, self._tokens[-n:])).isdigit()
        return matched >= COPIES * LONGEST_NGRAM - n or not number


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and its settings. It has its own random numbers, so batching does not change its text.

    Negative ids refer to embeddings from :meth:`muomni_cli.contract.models.Backend.add_embeddings`.
    """

    ids: Sequence[int]
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    max_tokens: int = 256
    stop: Sequence[str] = ()
    loop_guard: bool = True  # end an answer that repeats itself; see LoopGuard
    form: Form | None = None  # what the answer must be


class Event(NamedTuple):
    """One new token of row ``row``, with the ``text`` that became final; the row's last event has ``finish``.
    ``hidden``: (D,) state that predicted the token, if requested. If a loop was cut, the last event's token is
    ``eos``."""

    row: int
    text: str
    token: int
    finish: Finish | None = None
    hidden: NDArray[np.float32] | None = None


class RequestRow:
    """A request in progress.

    An answer with a form is complete whatever ends it: near the limit of its length, and when it repeats itself, it is
    completed on the shortest way that is known, so nothing of it is cut off or held back. RequestError if that is
    impossible.
    """

    def __init__(self, row: int, request: Request, tokenizer: Tokenizer, context: int) -> None:
        self.row, self.request, self.tokenizer = row, request, tokenizer
        self.eos, self.ends = tokenizer.specials["eos"], end_ids(tokenizer)
        self.rng = np.random.default_rng(request.seed)
        # the number of ids that it may have, and what limits them
        ends: list[tuple[int, Finish]] = [(len(request.ids) + request.max_tokens, "length"), (context + 1, "context")]
        self._most, self._limit = min(ends, key=lambda end: end[0])
        room = self._most - len(request.ids)
        self.form = FormState(request.form, tokenizer, room) if request.form is not None else None
        self.shortened: Finish | None = None  # why the answer with a form says less than was drawn
        self.stream = TextStream(tokenizer, request.stop, self.form.matches if self.form is not None else None)
        self.guard = LoopGuard(tokenizer.token_bytes) if request.loop_guard else None
        self.ids = list(request.ids)
        self.running = True
        self._said = self._given = 0  # characters and tokens of the events that were final
        self._held: list[Event] = []
        self._read_at_cut = 0

    def advance(self, logits: NDArray[np.float32], hidden: NDArray[np.float32] | None = None) -> list[Event]:
        """Draw a token from (V,) ``logits``; returns the events that are final. Possible loops are held back."""
        formed = self.form is not None
        if self.form is not None:
            token = self._formed(self.form, logits)
        else:
            token = draw(logits, self.request.sampling, self.rng, self.ids)
        self.ids.append(token)
        text = self.stream.push(token)
        finish = self._finish(token)
        self.running = finish is None
        if finish == "loop" and not formed:
            return self._cut_off()
        if finish is not None:
            text += self.stream.finish()
        event = Event(self.row, text, token, finish, hidden)
        if formed or self.guard is None:
            return [event]
        self._held.append(event)
        sure = self.guard.sure - self._given if self.running else len(self._held)
        events, self._held = self._held[:sure], self._held[sure:]
        self._said += _length(events)
        self._given += len(events)
        return events

    def _formed(self, form: FormState, logits: NDArray[np.float32]) -> int:
        """A token of the form: drawn, or on the shortest way to its end."""
        sampling = self.request.sampling
        logits = penalize(logits, self.ids, sampling.repetition_penalty)
        unpenalized = replace(sampling, repetition_penalty=1.0)

        def pick(ids: NDArray[np.int64]) -> int:
            return int(ids[draw(logits[ids], unpenalized, self.rng)]) if len(ids) > 1 else int(ids[0])

        if self.guard is not None and self.guard.cut is not None:
            token, shortened = form.close(pick)
            self.shortened = "loop" if shortened else self.shortened
            return token
        token, shortened = form.next(pick, self._most - len(self.ids))
        self.shortened = self._limit if shortened else self.shortened
        return token

    def _cut_off(self) -> list[Event]:
        """The text before the second copy, and ``eos`` instead of the rest."""
        cut = self.guard.cut if self.guard is not None else None
        assert cut is not None, "only a loop is cut off"
        sure = self._held[: cut - self._given]
        said = self._said + _length(sure)
        stream = TextStream(self.tokenizer, self.request.stop)
        begin = len(self.request.ids)
        whole = "".join(map(stream.push, self.ids[begin : begin + cut])) + stream.finish(cut=True)
        return [*sure, Event(self.row, whole[said:], self.eos, "loop")]

    def _finish(self, token: int) -> Finish | None:
        if token in self.ends:
            return self.shortened or "eos"
        if self.stream.stopped:
            return "stop"
        if self.form is not None:
            return self._finish_formed(self.form, token)
        goes_on = False
        if self.guard is not None and self.guard.cut is not None:
            # whether an answer continues is unknown while the text after the loop may become a stop string
            goes_on = not 0 < len(self.stream.held) >= self.stream.read - self._read_at_cut
        elif self.guard is not None:
            self.guard.push(token)
            self._read_at_cut = self.stream.read
        ended = self._limit if len(self.ids) >= self._most else None
        looped = self.guard is not None and self.guard.cut is not None
        return "loop" if looped and (goes_on or ended) else ended

    def _finish_formed(self, form: FormState, token: int) -> Finish | None:
        if self.guard is not None and self.guard.cut is None:
            self.guard.push(token)
        if form.finished:
            return self.shortened or "eos"
        return (self.shortened or self._limit) if len(self.ids) >= self._most else None


def _length(events: Sequence[Event]) -> int:
    """Of their texts together."""
    return sum([len(event.text) for event in events])


def generate(
    backend: Backend[CheckState], tokenizer: Tokenizer, requests: Sequence[Request], *, hidden: bool = False
) -> Iterator[Event]:
    """Continue every request until it finishes; one event per token, rows interleaved.

    The joined texts of a row are its decoded tokens up to a stop string or the second copy of a loop. Events of a
    possible loop are held back until it is decided. ``hidden``: events carry the states that predicted their tokens;
    the backend must keep them. RequestError at once if a prompt is empty or exceeds the context, or no answer of its
    form fits.
    """
    return _events(backend, rows_of(requests, tokenizer, backend.context), hidden=hidden)


def rows_of(requests: Sequence[Request], tokenizer: Tokenizer, context: int) -> list[RequestRow]:
    """The requests, checked; errors as of :func:`generate`."""
    for request in requests:
        if not request.ids:
            raise RequestError("the prompt is empty", "give at least one token")
        require_room(request.ids, context)
        check_limits(request)
    return [RequestRow(number, request, tokenizer, context) for number, request in enumerate(requests)]


def _events(backend: Backend[CheckState], rows: Sequence[RequestRow], *, hidden: bool) -> Iterator[Event]:
    if not rows:
        return
    requests = [row.request for row in rows]
    wanted = max(len(request.ids) + request.max_tokens for request in requests)
    state, logits = backend.begin([request.ids for request in requests], min(wanted, backend.context))
    while True:
        states = backend.hidden(state) if hidden else None
        for row in rows:
            if row.running:
                yield from row.advance(logits[row.row], None if states is None else states[row.row])
        tokens = [row.ids[-1] if row.running else PADDED_ROW for row in rows]
        if tokens.count(PADDED_ROW) == len(tokens):
            return
        logits = backend.step(state, np.array(tokens, np.int64))
