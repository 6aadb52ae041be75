"""Speaking a text that is still being written: sentence by sentence, and inside of one as far as its end is known.

Words come from a :class:`muomni_talker.script.Script`, which gives the same words however the text was cut; everything
here is done a word at a time, so the same codes come out as well, bit by bit. Knows arrays and an
:class:`muomni_talker.engine.Engine`, no torch.

Shapes: S symbols, U slots, T frames, W and D widths, Q codebooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Choose, CodeShape, Manner, RequestError, Said
from muomni_talker import symbols
from muomni_talker.engine import Engine
from muomni_talker.script import Spoken, script


def speak(engine: Engine, text: Iterable[Said], manner: Manner, choose: Choose) -> Iterator[NDArray[Any]]:
    """See :class:`muomni_cli.api.Talker`."""
    voice = voice_number(engine, manner.voice)
    manner.require_speed()
    return _speak(engine, text, voice, manner.speed, choose)


def _speak(engine: Engine, text: Iterable[Said], voice: int, speed: float, choose: Choose) -> Iterator[NDArray[Any]]:
    sentence: Sentence | None = None
    for word in script(text):
        sentence = sentence or Sentence(engine, voice, speed)
        plan = sentence.add(word)
        yield from sentence.teller.tell(plan, choose, ended=word.ends)
        if word.ends:
            sentence = None


def voice_number(engine: Engine, name: str | None) -> int:
    """Which voice is meant; the first if none is named. RequestError if there is no such voice."""
    if name is None or name in engine.voices:
        return 0 if name is None else engine.voices.index(name)
    known = ", ".join(filter(None, engine.voices))
    raise RequestError(f"there is no voice {name!r}", f"this model speaks with {known or 'one voice without a name'}")


def bound_of(spoken_words: int) -> int:
    """Most frames of a sentence."""
    return CodeShape.most_frames(spoken_words)


class Sentence:
    """One sentence on its way: symbols as they come, and the plan of the frames that are sure.

    A symbol is sure when all that its features depend on is there; a frame, when its slots and its neighbours' are.
    """

    def __init__(self, engine: Engine, voice: int, speed: float) -> None:
        self._engine, self._voice, self._speed = engine, voice, speed
        self._ids = [symbols.START]
        self._thoughts: list[NDArray[Any] | None] = [None]
        self._features = np.zeros((0, engine.config.d_text), np.float32)  # (S,W) of those that are sure
        self._clock = 0.0  # slots that they last, before rounding
        self._pointer = np.zeros((0, 3), np.int64)  # symbol, elapsed and left of each slot
        self._planned = 0
        self.teller: Teller = (FrameTeller if engine.causal else SentenceTeller)(engine)

    def add(self, word: Spoken) -> NDArray[Any]:
        """(T,D): the plan of the frames that are sure with one more word; T may be 0."""
        added = symbols.numbers(word.text)
        self._ids += added
        self._thoughts += [word.hidden] * len(added)
        if word.ends:
            self._ids.append(symbols.END)
            self._thoughts.append(None)
        self.teller.words += len(word.text.split())
        self._read(word.ends)
        return self._plan(word.ends)

    def _read(self, ended: bool) -> None:
        """Features and durations of the symbols that are sure now."""
        reach, done = self._engine.config.reach, len(self._features)
        sure = len(self._ids) if ended else max(done, len(self._ids) - reach)
        if sure == done:
            return
        first, last = max(0, done - reach), min(len(self._ids), sure + reach)
        ids = np.array(self._ids[first:last])
        kept = slice(done - first, sure - first)
        features, expected = self._engine.read(ids, self._voice, self._thought(first, last), kept)
        self._features = np.concatenate([self._features, features])
        for place, lasting in enumerate(expected.tolist(), start=done):
            self._last(place, lasting / self._speed)
        if ended:  # the last frame is filled up with silence
            self._extend(sure - 1, -len(self._pointer) % self._engine.config.slots)

    def _thought(self, first: int, last: int) -> NDArray[Any] | None:
        width = self._engine.thinker_width
        if not width or all(thought is None for thought in self._thoughts[first:last]):
            return None
        rows = [np.zeros(width, np.float32) if one is None else one for one in self._thoughts[first:last]]
        return np.stack(rows).astype(np.float32)

    def _last(self, place: int, lasting: float) -> None:
        """Let symbol ``place`` last so many slots; what rounding takes from one, the next ones get."""
        self._clock += lasting
        self._extend(place, round(self._clock) - len(self._pointer))

    def _extend(self, place: int, count: int) -> None:
        slots = np.stack([np.full(count, place), np.arange(count), np.arange(count)[::-1]], axis=1)
        self._pointer = np.concatenate([self._pointer, slots])

    def _plan(self, ended: bool) -> NDArray[Any]:
        """The plan of the frames that are sure now and were not before."""
        slots = self._engine.config.slots
        whole = len(self._pointer) // slots
        ready = whole if ended else max(self._planned, whole - 1)
        first, last = max(0, self._planned - 1), min(whole, ready + 1)
        made, self._planned = self._planned, ready
        if ready == made:
            return np.zeros((0, self._engine.config.d_model), np.float32)
        plan = self._engine.plan(self._features, self._pointer[first * slots : last * slots])
        return plan[made - first : ready - first]


class Teller:
    """Plans to codes, never more frames than the bound.

    Args:
        engine: what tells.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.words = 0
        """Spoken words of the sentence so far."""
        self.told = 0
        """Frames told so far."""

    def tell(self, plan: NDArray[Any], choose: Choose, *, ended: bool) -> Iterator[NDArray[Any]]:
        """Codes (n,Q) of the frames that can be told with (T,D) more plan."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Frames that may still come."""
        return min(bound_of(self.words), self.engine.config.ctx_len) - self.told


class FrameTeller(Teller):
    """One frame after the other, each told from those before it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._memory = engine.begin()
        self._before = np.zeros(engine.codes.codebooks, np.int64)

    def tell(self, plan: NDArray[Any], choose: Choose, *, ended: bool) -> Iterator[NDArray[Any]]:  # noqa: ARG002
        """See :class:`Teller`."""
        for row in plan[: self.room]:
            state = self.engine.step(self._before, row, self._memory)
            self._before = self.engine.draw(state, choose)
            self.told += 1
            yield self._before[None]


class SentenceTeller(Teller):
    """All frames at once, when the sentence has ended."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._plans: list[NDArray[Any]] = []

    def tell(self, plan: NDArray[Any], choose: Choose, *, ended: bool) -> Iterator[NDArray[Any]]:
        """See :class:`Teller`."""
        self._plans.append(plan)
        if not ended:
            return
        states = self.engine.whole(np.concatenate(self._plans)[: self.room])
        codes = np.stack([self.engine.draw(state, choose) for state in states])
        self.told = len(codes)
        yield codes
