"""Speaking a text that is still being written: sentence by sentence, and inside of one as far as its end is known.

Words come from a :class:`muomni_talker.script.Script`, which gives the same words however the text was cut; everything
here is done a word at a time, so the same codes come out as well, bit by bit.

Shapes: S symbols, U slots, T frames, W and D widths, Q codebooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import Choose, Manner, RequestError, Said
from muomni_talker import symbols
from muomni_talker.reading import Pointer
from muomni_talker.script import Spoken, script

if TYPE_CHECKING:
    from muomni_talker.model import Speaker

FEWEST, MOST, A_WORD = 50, 1000, 30
"""The specification's bound on frames: 30 a word, but from 50 to 1000 a sentence."""

SPEEDS = (0.5, 2.0)
"""Slowest and fastest speech, relative to the voice's own."""


def speak(talker: Speaker, text: Iterable[Said], manner: Manner, choose: Choose) -> Iterator[NDArray[Any]]:
    """See :class:`muomni_cli.api.Talker`."""
    voice, speed = voice_number(talker, manner.voice), manner.speed
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise RequestError(f"speed is {speed:g}", f"speed must be from {SPEEDS[0]:g} to {SPEEDS[1]:g}")
    return _speak(talker, text, voice, speed, choose)


def _speak(talker: Speaker, text: Iterable[Said], voice: int, speed: float, choose: Choose) -> Iterator[NDArray[Any]]:
    sentence: Sentence | None = None
    for word in script(text):
        sentence = sentence or Sentence(talker, voice, speed)
        plan = sentence.add(word)
        yield from sentence.teller.tell(plan, choose, ended=word.ends)
        if word.ends:
            sentence = None


def voice_number(talker: Speaker, name: str | None) -> int:
    """Which voice is meant; the first if none is named. RequestError if there is no such voice."""
    if name is None or name in talker.voices:
        return 0 if name is None else talker.voices.index(name)
    known = ", ".join(filter(None, talker.voices))
    raise RequestError(f"there is no voice {name!r}", f"this model speaks with {known or 'one voice without a name'}")


def bound_of(spoken_words: int) -> int:
    """Most frames of a sentence."""
    return max(FEWEST, min(MOST, A_WORD * spoken_words))


class Sentence:
    """One sentence on its way: symbols as they come, and the plan of the frames that are sure.

    A symbol is sure when all that its features depend on is there; a frame, when its slots and its neighbours' are.
    """

    def __init__(self, talker: Speaker, voice: int, speed: float) -> None:
        self._talker, self._speed = talker, speed
        self._device = talker.framer.nothing.device
        self._voice = torch.tensor([voice], device=self._device)
        self._ids = [symbols.START]
        self._thoughts: list[NDArray[Any] | None] = [None]
        self._features = talker.framer.nothing.new_zeros(1, 0, talker.config.d_text)  # (1,S,W) of those that are sure
        self._clock = 0.0  # slots that they last, before rounding
        self._pointer = np.zeros((0, 3), np.int64)  # symbol, elapsed and left of each slot
        self._planned = 0
        self.teller: Teller = (FrameTeller if talker.causal else SentenceTeller)(talker)

    def add(self, word: Spoken) -> Tensor:
        """(1,T,D): the plan of the frames that are sure with one more word; T may be 0."""
        added = symbols.numbers(word.text)
        self._ids += added
        self._thoughts += [word.hidden] * len(added)
        if word.ends:
            self._ids.append(symbols.END)
            self._thoughts.append(None)
        self.teller.words += len(word.text.split())
        with torch.inference_mode():
            self._read(word.ends)
            return self._plan(word.ends)

    def _read(self, ended: bool) -> None:
        """Features and durations of the symbols that are sure now."""
        reach, done = self._talker.config.reach, self._features.shape[1]
        sure = len(self._ids) if ended else max(done, len(self._ids) - reach)
        if sure == done:
            return
        first, last = max(0, done - reach), min(len(self._ids), sure + reach)
        ids = torch.tensor([self._ids[first:last]], device=self._device)
        thoughts = self._thought(first, last)
        features = self._talker.reader(ids, self._voice, thoughts)[:, done - first : sure - first]
        self._features = torch.cat((self._features, features), dim=1)
        for place, lasting in enumerate(self._talker.reader.expected(features)[0].tolist(), start=done):
            self._last(place, lasting / self._speed)
        if ended:  # the last frame is filled up with silence
            self._extend(sure - 1, -len(self._pointer) % self._talker.config.slots)

    def _thought(self, first: int, last: int) -> Tensor | None:
        width = self._talker.thinker_width
        if not width or all(thought is None for thought in self._thoughts[first:last]):
            return None
        rows = [np.zeros(width, np.float32) if one is None else one for one in self._thoughts[first:last]]
        return torch.from_numpy(np.stack(rows).astype(np.float32))[None].to(self._device)

    def _last(self, place: int, lasting: float) -> None:
        """Let symbol ``place`` last so many slots; what rounding takes from one, the next ones get."""
        self._clock += lasting
        self._extend(place, round(self._clock) - len(self._pointer))

    def _extend(self, place: int, count: int) -> None:
        slots = np.stack([np.full(count, place), np.arange(count), np.arange(count)[::-1]], axis=1)
        self._pointer = np.concatenate([self._pointer, slots])

    def _plan(self, ended: bool) -> Tensor:
        """The plan of the frames that are sure now and were not before."""
        slots = self._talker.config.slots
        whole = len(self._pointer) // slots
        ready = whole if ended else max(self._planned, whole - 1)
        first, last = max(0, self._planned - 1), min(whole, ready + 1)
        made, self._planned = self._planned, ready
        if ready == made:
            return self._talker.framer.nothing.new_zeros(1, 0, self._talker.config.d_model)
        chosen = torch.from_numpy(self._pointer[first * slots : last * slots]).to(self._device)
        pointer = Pointer(*(column[None] for column in chosen.unbind(1)))
        plan: Tensor = self._talker.framer(self._features, pointer)
        return plan[:, made - first : ready - first]


class Teller:
    """Plans to codes, never more frames than the bound.

    Args:
        talker: what tells.
    """

    def __init__(self, talker: Speaker) -> None:
        self.talker = talker
        self.words = 0
        """Spoken words of the sentence so far."""
        self.told = 0
        """Frames told so far."""

    def tell(self, plan: Tensor, choose: Choose, *, ended: bool) -> Iterator[NDArray[Any]]:
        """Codes (n,Q) of the frames that can be told with (1,T,D) more plan."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Frames that may still come."""
        return min(bound_of(self.words), self.talker.config.ctx_len) - self.told

    def draw(self, state: Tensor, choose: Choose) -> Tensor:
        """(D,) -> (Q,) codes."""
        return self.talker.heads.draw(state, lambda logits: torch.tensor(choose(logits.float().cpu().numpy())))


class FrameTeller(Teller):
    """One frame after the other, each told from those before it."""

    def __init__(self, talker: Speaker) -> None:
        super().__init__(talker)
        with torch.inference_mode():
            self._cache = talker.stack.new_cache(1, talker.config.ctx_len)
        self._before = torch.zeros(1, 1, talker.codes.codebooks, dtype=torch.long, device=talker.framer.nothing.device)

    def tell(self, plan: Tensor, choose: Choose, *, ended: bool) -> Iterator[NDArray[Any]]:  # noqa: ARG002
        """See :class:`Teller`."""
        for place in range(min(plan.shape[1], self.room)):
            with torch.inference_mode():
                state = self.talker.states(self._before, plan[:, place : place + 1], self._cache)[0, 0]
                codes = self.draw(state, choose)
                self._before = codes.view(1, 1, -1)
            self.told += 1
            yield codes[None].cpu().numpy()


class SentenceTeller(Teller):
    """All frames at once, when the sentence has ended."""

    def __init__(self, talker: Speaker) -> None:
        super().__init__(talker)
        self._plans: list[Tensor] = []

    def tell(self, plan: Tensor, choose: Choose, *, ended: bool) -> Iterator[NDArray[Any]]:
        """See :class:`Teller`."""
        self._plans.append(plan)
        if not ended:
            return
        with torch.inference_mode():
            whole = torch.cat(self._plans, dim=1)[:, : self.room]
            before = torch.zeros(1, whole.shape[1], self.talker.codes.codebooks, dtype=torch.long, device=whole.device)
            states = self.talker.states(before, whole)[0]
            codes = torch.stack([self.draw(state, choose) for state in states])
        self.told = len(codes)
        yield codes.cpu().numpy()
