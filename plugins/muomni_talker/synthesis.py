"""Streaming synthesis: text that is still being written to codes. Needs numpy only.

Words come from a :class:`muomni_talker.text_frontend.TextFrontend`, which yields the same words however the text is
split. Work proceeds word by word, so the codes are bitwise the same too. What computes is an
:class:`muomni_talker.frames.Engine`.

Shapes: S symbols, U slots, T frames, W width of features, D width of frames, Dh of a Thinker, Q codebooks, K codes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import (
    CodeShape,
    FrameSpan,
    GraphFn,
    RequestError,
    RowsGraph,
    RowsGraphFn,
    Sampler,
    TextChunk,
    VoiceSettings,
)
from muomni_talker.frames import MOST_ROWS, Engine, FrameBatch
from muomni_talker.plugin import TalkerBaseConfig
from muomni_talker.text_frontend import FrontendChunk, pronounced, script
from muomni_talker.text_normalization import written_form

TRIED = (2, 5, MOST_ROWS)  # numbers of rows
DIFFERENT = 3  # rows of these, each as many frames ahead as its number
TRIED_FRAMES = 2  # that rows decode together
PAUSES = " .,?!;:-"  # symbols after a word that are no part of it: spaces and marks


def speak(
    engine: Engine, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
) -> Iterator[NDArray[Any]]:
    """RequestError, before any text is read: there is no such voice, or the speed is out of range."""
    name = voice_settings.voice
    if name is not None and name not in engine.voices:
        known = ", ".join(filter(None, engine.voices))
        raise RequestError(f"there is no voice {name!r}", f"available voices: {known or 'one without a name'}")
    voice_settings.require_speed()
    voice = 0 if name is None else engine.voices.index(name)
    batch = engine.batch if voice_settings.together else FrameBatch(engine)
    return _speak(engine, text, voice, voice_settings, sampler, batch)


def _speak(
    engine: Engine,
    text: Iterable[TextChunk],
    voice: int,
    voice_settings: VoiceSettings,
    sampler: Sampler,
    batch: FrameBatch,
) -> Iterator[NDArray[Any]]:
    sentence: Sentence | None = None
    times = WordTimes(voice_settings.report.spans, engine.config.subframes)
    try:
        for word in pronounced(script(text, voice_settings.report.skipped)):
            sentence = sentence or Sentence(engine, voice, voice_settings, sampler, batch)
            yield from sentence.decode(sentence.add(word), ended=word.ends)
            times.add(sentence.timed(ended=word.ends), sentence.decoded)
            if word.ends:
                times.end_sentence(sentence.decoded)
                sentence.end()
                sentence = None
        times.finish()
    finally:
        if sentence is not None:
            sentence.end()


class WordTimes:
    """Joins the times of chunks to those of written words, which may extend over several chunks and sentences."""

    def __init__(self, spans: list[FrameSpan], subframes: int) -> None:
        self._spans, self._subframes = spans, subframes
        self._start = 0  # frames before this sentence
        self._number = 0  # of the word that may go on
        self._word: FrameSpan | None = None

    def add(self, timed: Iterable[tuple[FrontendChunk, int, int]], decoded: int) -> None:
        """Add chunks with the slots where they begin and end, counted from the start of the sentence. What lies after
        the ``decoded`` frames was cut off."""
        for chunk, begin, end in timed:
            if begin > decoded * self._subframes:
                continue
            places = [self._start + min(slot / self._subframes, decoded) for slot in (begin, end)]
            if self._word is not None and chunk.number == self._number:
                self._word = replace(self._word, text=self._word.text + chunk.written, end=places[1])
            else:
                self.finish()
                self._number, self._word = chunk.number, FrameSpan(chunk.written, *places)

    def end_sentence(self, frames: int) -> None:
        """The next chunks belong to a sentence after ``frames`` more frames."""
        self._start += frames

    def finish(self) -> None:
        """Report the word that cannot go on."""
        if self._word is not None:
            self._spans.append(self._word)
            self._word = None


class Sentence:
    """Incremental state of one sentence: symbols so far, the plan of its final frames, and their codes.

    A symbol is final when the characters that its features depend on are there; a frame, when its slots and those of
    its neighbors are.
    """

    def __init__(
        self, engine: Engine, voice: int, voice_settings: VoiceSettings, sampler: Sampler, batch: FrameBatch
    ) -> None:
        self._engine, self._voice, self._sampler, self._batch = engine, voice, sampler, batch
        self._speed, self._report = voice_settings.speed, voice_settings.report
        self._words = self._letters = 0  # spoken so far
        self._ids = [written_form.START]
        self._hidden_states = [np.zeros(engine.thinker_width, np.float32)]  # of each symbol, zeros if it has none
        self._features = np.zeros((0, engine.config.d_text), np.float32)  # (S,W) of the final symbols
        self._clock = 0.0  # their duration in slots, before rounding
        self._pointer = np.zeros((0, 3), np.int64)  # symbol, elapsed and left of each slot
        self._begins: list[int] = []  # slot at which each final symbol begins
        self._untimed: deque[tuple[FrontendChunk, int]] = deque()  # chunks, and their first symbols
        self._planned = 0  # final frames
        self._plans: list[NDArray[Any]] = []  # of the frames that are not decoded before the end of the sentence
        self.decoded = 0  # frames
        self._row = batch.join(sampler) if engine.causal else None

    def end(self) -> None:
        """Leave the batch."""
        if self._row is not None:
            self._batch.leave(self._row)

    def add(self, word: FrontendChunk) -> NDArray[Any]:
        """Add a word and return the plan (T,D) of the frames that are now final; T may be 0."""
        width, added = self._engine.thinker_width, written_form.numbers(word.text)
        silent = np.zeros(width, np.float32)
        self._untimed.append((word, len(self._ids)))
        self._ids += added
        self._hidden_states += [word.hidden if width and word.hidden is not None else silent] * len(added)
        if word.ends:
            self._ids.append(written_form.END)
            self._hidden_states.append(silent)
        spoken = word.text.split()
        self._words += len(spoken)
        self._letters += sum(map(len, spoken))
        self._read(word.ends)
        return self._plan(word.ends)

    def _read(self, ended: bool) -> None:
        """Compute features and durations of the symbols that are now final."""
        reach, done = self._engine.config.reach, len(self._features)
        final = len(self._ids) if ended else max(done, len(self._ids) - reach)
        if final == done:
            return
        first, last = max(0, done - reach), min(len(self._ids), final + reach)
        hidden_states = np.array(self._hidden_states[first:last], np.float32)
        ids, kept = np.array(self._ids[first:last]), slice(done - first, final - first)
        features, expected = self._engine.read(ids, self._voice, hidden_states, kept)
        self._features = np.concatenate([self._features, features])
        slots: list[tuple[int, int, int]] = []
        before = len(self._pointer)
        for place, lasting in enumerate(expected.tolist(), start=done):
            self._begins.append(before + len(slots))
            self._clock += lasting / self._speed  # so that rounding errors carry over to the next symbols
            slots += _slots(place, round(self._clock) - self._begins[-1])
        if ended:  # pad the last frame with silence
            slots += _slots(final - 1, -(before + len(slots)) % self._engine.config.subframes)
        self._pointer = np.concatenate([self._pointer, np.array(slots, np.int64).reshape(-1, 3)])

    def timed(self, *, ended: bool) -> Iterator[tuple[FrontendChunk, int, int]]:
        """The chunks whose frames are decoded, with the slots where their first letter begins and their last one ends;
        at the end of the sentence all that are left."""
        while self._untimed:
            chunk, first = self._untimed[0]
            after = first + len(chunk.text.rstrip(PAUSES))
            known = after < len(self._begins)
            if not ended and not (known and self._begins[after] <= self.decoded * self._engine.config.subframes):
                return
            self._untimed.popleft()
            yield chunk, self._begins[first], self._begins[after]

    def _plan(self, ended: bool) -> NDArray[Any]:
        """The plan of the frames that became final."""
        slots = self._engine.config.subframes
        whole = len(self._pointer) // slots
        ready = whole if ended else max(self._planned, whole - 1)
        first, last = max(0, self._planned - 1), min(whole, ready + 1)
        made, self._planned = self._planned, ready
        if ready == made:
            return np.zeros((0, self._engine.config.d_model), np.float32)
        plan = self._engine.plan(self._features, self._pointer[first * slots : last * slots])
        return plan[made - first : ready - first]

    @property
    def most(self) -> int:
        """Maximum number of frames for the words so far."""
        return min(CodeShape.most_frames(self._words, self._letters, self._speed), self._engine.config.ctx_len)

    def decode(self, plan: NDArray[Any], *, ended: bool) -> Iterator[NDArray[Any]]:
        """Take the plan (T,D) of the next frames and yield the codes (n,Q) of those that can be decoded, up to the
        maximum number of frames."""
        engine, most = self._engine, self.most
        room = most - self.decoded
        if engine.causal or ended:
            self._report.cut |= self._planned > most
        if ended:
            self._report.limits.append(most)
        if self._row is not None:
            for codes in self._batch.decode(self._row, plan[:room]):
                self.decoded += 1
                yield codes[None]
            return
        self._plans.append(plan)
        if ended:
            states = engine.whole(np.concatenate(self._plans)[:room])
            self.decoded = len(states)
            yield np.concatenate(
                [engine.draw(states[place : place + 1], [self._sampler]) for place in range(len(states))]
            )


def _slots(place: int, count: int) -> list[tuple[int, int, int]]:
    """Symbol, elapsed and left of ``count`` slots of the symbol ``place``."""
    return [(place, elapsed, count - 1 - elapsed) for elapsed in range(count)]


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """The memory of a sentence whose cache is written in place, in a call of ``graph`` for several rows."""

    graph: RowsGraph
    row: Any


class Heads:
    """The heads of the codebooks for B rows, with arrays of their own where the graphs can be bound, which costs a
    fraction of a call with new ones. For one thread at a time."""

    def __init__(self, graphs: Mapping[str, GraphFn], codes: CodeShape, states: NDArray[Any]) -> None:
        self._states, self._shape = np.zeros_like(states, order="C"), (len(states), codes.codebooks)
        self._heads = [self._head(graphs[f"head{q}"], q, codes.size) for q in range(codes.codebooks)]

    def _head(self, graph: GraphFn, number: int, size: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """(B,Q) codes, of which those before ``number`` count -> (B,K) logits."""
        given = np.zeros((len(self._states), number), np.int64)
        feeds = {"states": self._states, **({"codes": given} if number else {})}
        logits = np.zeros((len(self._states), size), np.float32)
        bind = getattr(graph, "bind", None)  # of a muomni_cli.contract.bundle.BindableGraphFn
        bound = None if bind is None else bind({**feeds, "logits": logits})

        def call(codes: NDArray[Any]) -> NDArray[Any]:
            given[:] = codes[:, :number]
            if bound is None:
                return graph(feeds)["logits"]
            bound()
            return logits

        return call

    def draw(self, states: NDArray[Any], samplers: Sequence[Sampler]) -> NDArray[Any]:
        """As of :meth:`TalkerRunner.draw`."""
        self._states[:] = states
        codes = np.zeros(self._shape, np.int64)
        for q, head in enumerate(self._heads):
            logits = head(codes)
            for row, sampler in enumerate(samplers):
                codes[row, q] = sampler(logits[row])
        return codes


def _noted(logits: list[bytes], row: NDArray[Any]) -> int:
    """A sampler that keeps the logits."""
    logits.append(row.tobytes())
    return int(row.argmax())


class TalkerRunner(Engine):
    """A :class:`muomni_cli.contract.speech.SpeechGenerator` on the exported graphs of :mod:`muomni_talker.graphs`."""

    def __init__(
        self,
        config: TalkerBaseConfig,
        graphs: Mapping[str, GraphFn],
        codes: CodeShape,
        voices: Sequence[str],
        thinker_width: int,
    ) -> None:
        self.config, self.codes, self.voices, self.thinker_width = config, codes, tuple(voices), thinker_width
        self.causal = "step" in graphs
        self._graphs = graphs
        self._heads: dict[int, list[Heads]] = {}  # that no thread uses, by number of rows

    def read(
        self, ids: NDArray[Any], voice: int, hidden_states: NDArray[Any], kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        feeds = {"ids": ids[None], "voice": np.array([voice])}
        if self.thinker_width:
            feeds["thoughts"] = hidden_states[None]
        made = self._graphs["reader"](feeds)
        return made["features"][0, kept], made["durations"][0, kept]

    def plan(self, features: NDArray[Any], alignment: NDArray[Any]) -> NDArray[Any]:
        under = alignment.reshape(1, -1, self.config.subframes, 3)
        slots = {name: np.ascontiguousarray(under[..., n]) for n, name in enumerate(("symbol", "elapsed", "left"))}
        made: NDArray[Any] = self._graphs["framer"]({"features": features[None], **slots})["plan"][0]
        return made

    def begin(self) -> Any:
        step = self._graphs["step"]
        if isinstance(step, RowsGraphFn) and (shared := step.rows()) is not None:
            return PlacedRow(shared, shared.begin())
        empty = np.zeros((1, self.config.kv_heads, 0, self.config.head_dim), np.float32)
        layers = range(self.config.n_layers)
        return {f"past_key_values.{layer}.{what}": empty for layer in layers for what in ("key", "value")}

    def step(self, before: NDArray[Any], plan: NDArray[Any], memories: Sequence[Any]) -> NDArray[Any]:
        if all(isinstance(memory, PlacedRow) and memory.graph is memories[0].graph for memory in memories):
            feeds = {"before": before[:, None], "plan": plan[:, None]}
            states: NDArray[Any] = memories[0].graph([memory.row for memory in memories], feeds)["states"][:, 0]
            return states
        return np.concatenate([self._one_step(*row) for row in zip(before, plan, memories, strict=True)])

    def _one_step(self, before: NDArray[Any], plan: NDArray[Any], memory: Any) -> NDArray[Any]:
        """A step of one row -> (1,D)."""
        if isinstance(memory, PlacedRow):
            return self.step(before[None], plan[None], [memory])
        made = self._graphs["step"]({"before": before[None, None], "plan": plan[None, None], **memory})
        memory.update({name: made[name.replace("past_key_values", "present")] for name in memory})
        states: NDArray[Any] = made["states"][:, 0]
        return states

    def whole(self, plan: NDArray[Any]) -> NDArray[Any]:
        states: NDArray[Any] = self._graphs["whole"]({"plan": plan[None]})["states"][0]
        return states

    def draw(self, states: NDArray[Any], samplers: Sequence[Sampler]) -> NDArray[Any]:
        idle = self._heads.setdefault(len(states), [])  # several threads may draw
        try:
            heads = idle.pop()
        except IndexError:
            heads = Heads(self._graphs, self.codes, states)
        codes = heads.draw(states, samplers)
        idle.append(heads)
        return codes

    @cached_property
    def rows(self) -> int:
        """As of :class:`Engine`. It is tried with the graphs themselves: onnxruntime's kernels, which differ by CPU,
        may sum a row in an order that depends on the number of rows, and quantized activations magnify the last bit."""
        if not isinstance(self.begin(), PlacedRow):
            return 1
        alone = [self._tried([number])[0] for number in range(DIFFERENT)]
        equal = all(
            made == alone[number % DIFFERENT]
            for count in TRIED
            for number, made in enumerate(self._tried(range(count)))
        )
        return MOST_ROWS if equal else 1

    def _tried(self, numbers: Sequence[int]) -> list[list[bytes]]:
        """The logits of a few frames of each row, decoded together but for the first ones."""
        batch = FrameBatch(self, len(numbers))
        made: list[list[bytes]] = [[] for _ in numbers]
        rows = [batch.join(partial(_noted, logits)) for logits in made]
        for number, row in zip(numbers, rows, strict=True):
            random = np.random.default_rng(number % DIFFERENT)
            list(batch.decode(row, random.standard_normal((number % DIFFERENT, self.config.d_model), np.float32)))
            row.plans.extend(random.standard_normal((TRIED_FRAMES, self.config.d_model), np.float32))
        for row in rows * TRIED_FRAMES:
            batch.next_event(row)
        return made

    @cached_property
    def batch(self) -> FrameBatch:
        return FrameBatch(self, self.rows)

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
    ) -> Iterator[NDArray[Any]]:
        return speak(self, text, voice_settings, sampler)
