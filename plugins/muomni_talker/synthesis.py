"""Streaming synthesis: text that is still being written to codes. Needs numpy only.

Words come from a :class:`muomni_talker.text_frontend.TextFrontend`, which yields the same words however the text is
split. Work proceeds word by word, so the codes are bitwise the same too. :class:`Engine` is the inference interface of
a Talker, implemented by PyTorch (:class:`muomni_talker.model.TorchEngine`) and exported graphs (:class:`GraphEngine`).

Shapes: S symbols, U slots, T frames, W width of features, D width of frames, Dh of a Thinker, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import CodeShape, GraphFn, RequestError, Sampler, TextChunk, VoiceSettings
from muomni_talker.plugin import TalkerBaseConfig
from muomni_talker.text_frontend import FrontendChunk, script
from muomni_talker.text_normalization import written_form


class Engine(Protocol):
    """Inference interface of a Talker. States and memories are opaque and may live on a device."""

    @property
    def config(self) -> TalkerBaseConfig: ...
    @property
    def codes(self) -> CodeShape: ...
    @property
    def voices(self) -> Sequence[str]: ...
    @property
    def thinker_width(self) -> int:
        """Dh; 0 without a Thinker."""
        ...

    @property
    def causal(self) -> bool:
        """Whether frames are decoded one by one (:meth:`step`) or all at once (:meth:`whole`)."""
        ...

    def read(
        self, ids: NDArray[Any], voice: int, hidden_states: NDArray[Any] | None, kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """(S,) symbols and (S,Dh) Thinker states -> (n,W) features and (n,) mean durations of the symbols ``kept``."""
        ...

    def plan(self, features: NDArray[Any], alignment: NDArray[Any]) -> NDArray[Any]:
        """(S,W) features and (U,3) symbol, elapsed and left of each slot -> (T,D) conditioning of each frame."""
        ...

    def begin(self) -> Any:
        """An empty KV cache for a new sentence."""
        ...

    def step(self, before: NDArray[Any], plan: NDArray[Any], memory: Any) -> Any:
        """(Q,) previous codes, (D,) plan and the KV cache (updated in place) -> the frame's state."""
        ...

    def whole(self, plan: NDArray[Any]) -> Sequence[Any]:
        """(T,D) plan of a sentence -> the state of each frame."""
        ...

    def draw(self, state: Any, sampler: Sampler) -> NDArray[Any]:
        """A frame's state -> (Q,) int64 codes, each drawn given those before it."""
        ...


def speak(
    engine: Engine, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
) -> Iterator[NDArray[Any]]:
    voice = voice_number(engine, voice_settings.voice)
    voice_settings.require_speed()
    return _speak(engine, text, voice, voice_settings.speed, sampler)


def _speak(
    engine: Engine, text: Iterable[TextChunk], voice: int, speed: float, sampler: Sampler
) -> Iterator[NDArray[Any]]:
    sentence: Sentence | None = None
    for word in script(text):
        sentence = sentence or Sentence(engine, voice, speed)
        plan = sentence.add(word)
        yield from sentence.decoder.decode(plan, sampler, ended=word.ends)
        if word.ends:
            sentence = None


def voice_number(engine: Engine, name: str | None) -> int:
    """Index of a voice, the first by default.

    Raises:
        RequestError: there is no such voice.
    """
    if name is None or name in engine.voices:
        return 0 if name is None else engine.voices.index(name)
    known = ", ".join(filter(None, engine.voices))
    raise RequestError(f"there is no voice {name!r}", f"available voices: {known or 'one without a name'}")


class Sentence:
    """Incremental state of one sentence: symbols so far, and the plan of its final frames.

    A symbol is final when the characters that its features depend on are there; a frame, when its slots and those of
    its neighbors are.
    """

    def __init__(self, engine: Engine, voice: int, speed: float) -> None:
        self._engine, self._voice, self._speed = engine, voice, speed
        self._ids = [written_form.START]
        self._hidden_states: list[NDArray[Any] | None] = [None]
        self._features = np.zeros((0, engine.config.d_text), np.float32)  # (S,W) of the final symbols
        self._clock = 0.0  # their duration in slots, before rounding
        self._pointer = np.zeros((0, 3), np.int64)  # symbol, elapsed and left of each slot
        self._planned = 0
        self.decoder: FrameDecoder = (AutoregressiveDecoder if engine.causal else ParallelDecoder)(engine)

    def add(self, word: FrontendChunk) -> NDArray[Any]:
        """Add a word and return the plan (T,D) of the frames that are now final; T may be 0."""
        added = written_form.numbers(word.text)
        self._ids += added
        self._hidden_states += [word.hidden] * len(added)
        if word.ends:
            self._ids.append(written_form.END)
            self._hidden_states.append(None)
        self.decoder.words += len(word.text.split())
        self._read(word.ends)
        return self._plan(word.ends)

    def _read(self, ended: bool) -> None:
        """Compute features and durations of the symbols that are now final."""
        reach, done = self._engine.config.reach, len(self._features)
        final = len(self._ids) if ended else max(done, len(self._ids) - reach)
        if final == done:
            return
        first, last = max(0, done - reach), min(len(self._ids), final + reach)
        ids = np.array(self._ids[first:last])
        kept = slice(done - first, final - first)
        features, expected = self._engine.read(ids, self._voice, self._thought(first, last), kept)
        self._features = np.concatenate([self._features, features])
        for place, lasting in enumerate(expected.tolist(), start=done):
            self._last(place, lasting / self._speed)
        if ended:  # pad the last frame with silence
            self._extend(final - 1, -len(self._pointer) % self._engine.config.subframes)

    def _thought(self, first: int, last: int) -> NDArray[Any] | None:
        width = self._engine.thinker_width
        if not width or all(thought is None for thought in self._hidden_states[first:last]):
            return None
        rows = [np.zeros(width, np.float32) if one is None else one for one in self._hidden_states[first:last]]
        return np.stack(rows).astype(np.float32)

    def _last(self, place: int, lasting: float) -> None:
        """Give symbol ``place`` its duration in slots; rounding errors carry over to the next symbols."""
        self._clock += lasting
        self._extend(place, round(self._clock) - len(self._pointer))

    def _extend(self, place: int, count: int) -> None:
        slots = np.stack([np.full(count, place), np.arange(count), np.arange(count)[::-1]], axis=1)
        self._pointer = np.concatenate([self._pointer, slots])

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


class FrameDecoder:
    """Decodes plans to codes, up to the maximum number of frames."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.words = 0
        """Spoken words of the sentence so far."""
        self.decoded = 0
        """Frames decoded so far."""

    def decode(self, plan: NDArray[Any], sampler: Sampler, *, ended: bool) -> Iterator[NDArray[Any]]:
        """Feed (T,D) more plan and yield codes (n,Q) of the frames that can be decoded."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Frames left until the maximum."""
        return min(CodeShape.most_frames(self.words), self.engine.config.ctx_len) - self.decoded


class AutoregressiveDecoder(FrameDecoder):
    """Frame by frame."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._memory = engine.begin()
        self._before = np.zeros(engine.codes.codebooks, np.int64)

    def decode(self, plan: NDArray[Any], sampler: Sampler, *, ended: bool) -> Iterator[NDArray[Any]]:  # noqa: ARG002
        for row in plan[: self.room]:
            state = self.engine.step(self._before, row, self._memory)
            self._before = self.engine.draw(state, sampler)
            self.decoded += 1
            yield self._before[None]


class ParallelDecoder(FrameDecoder):
    """All frames at once, at the end of the sentence."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._plans: list[NDArray[Any]] = []

    def decode(self, plan: NDArray[Any], sampler: Sampler, *, ended: bool) -> Iterator[NDArray[Any]]:
        self._plans.append(plan)
        if not ended:
            return
        states = self.engine.whole(np.concatenate(self._plans)[: self.room])
        codes = np.stack([self.engine.draw(state, sampler) for state in states])
        self.decoded = len(codes)
        yield codes


class GraphEngine:
    """An :class:`Engine` on the exported graphs of :mod:`muomni_talker.graphs`."""

    def __init__(
        self,
        config: TalkerBaseConfig,
        codes: CodeShape,
        voices: Sequence[str],
        thinker_width: int,
        graphs: Mapping[str, GraphFn],
    ) -> None:
        self.config, self.codes, self.voices, self.thinker_width = config, codes, tuple(voices), thinker_width
        self.causal = "step" in graphs
        self._graphs = graphs

    def read(
        self, ids: NDArray[Any], voice: int, hidden_states: NDArray[Any] | None, kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        feeds = {"ids": ids[None], "voice": np.array([voice])}
        if self.thinker_width:
            silent = np.zeros((len(ids), self.thinker_width), np.float32)
            feeds["thoughts"] = (silent if hidden_states is None else hidden_states)[None]
        made = self._graphs["reader"](feeds)
        return made["features"][0, kept], made["durations"][0, kept]

    def plan(self, features: NDArray[Any], alignment: NDArray[Any]) -> NDArray[Any]:
        under = alignment.reshape(1, -1, self.config.subframes, 3)
        slots = {name: np.ascontiguousarray(under[..., n]) for n, name in enumerate(("symbol", "elapsed", "left"))}
        made: NDArray[Any] = self._graphs["framer"]({"features": features[None], **slots})["plan"][0]
        return made

    def begin(self) -> dict[str, Any]:
        empty = np.zeros((1, self.config.kv_heads, 0, self.config.head_dim), np.float32)
        layers = range(self.config.n_layers)
        return {f"past_key_values.{layer}.{what}": empty for layer in layers for what in ("key", "value")}

    def step(self, before: NDArray[Any], plan: NDArray[Any], memory: dict[str, Any]) -> NDArray[Any]:
        made = self._graphs["step"]({"before": before[None, None], "plan": plan[None, None], **memory})
        memory.update({name: made[name.replace("past_key_values", "present")] for name in memory})
        state: NDArray[Any] = made["states"][0, 0]
        return state

    def whole(self, plan: NDArray[Any]) -> Sequence[NDArray[Any]]:
        return list(self._graphs["whole"]({"plan": plan[None]})["states"][0])

    def draw(self, state: NDArray[Any], sampler: Sampler) -> NDArray[Any]:
        codes = np.zeros(self.codes.codebooks, np.int64)
        for q in range(self.codes.codebooks):
            given = {"codes": codes[None, :q]} if q else {}
            codes[q] = sampler(self._graphs[f"head{q}"]({"states": state[None], **given})["logits"][0])
        return codes


class TalkerRunner:
    """A :class:`muomni_cli.contract.speech.SpeechGenerator` on a Talker's exported graphs."""

    def __init__(
        self,
        config: TalkerBaseConfig,
        graphs: Mapping[str, GraphFn],
        codes: CodeShape,
        voices: Sequence[str],
        thinker_width: int,
    ) -> None:
        self._engine = GraphEngine(config, codes, voices, thinker_width, graphs)

    @property
    def voices(self) -> Sequence[str]:
        return self._engine.voices

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
    ) -> Iterator[NDArray[Any]]:
        return speak(self._engine, text, voice_settings, sampler)
