"""Text to code frames, sentence by sentence, with any engine; must not import torch.

Shapes: S symbols, T frames, D width, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import CodeShape, RequestError, Sampler, TextChunk, VoiceSettings
from muomni_newpart.config import NewpartConfig
from muomni_newpart.symbols import numbers, sentences

Array = NDArray[Any]


class Engine(Protocol):
    """Inference interface of the network, implemented by PyTorch and by exported graphs."""

    config: NewpartConfig
    codes: CodeShape
    voices: Sequence[str]

    def read(self, ids: Array, voice: int) -> tuple[Array, Array]:
        """(S,) -> (S,D) features, (S,) durations in frames."""
        ...

    def begin(self) -> Any:
        """The initial state of the layers."""
        ...

    def step(self, under: Array, elapsed: float, before: Array, memory: Any) -> tuple[Array, Any]:
        """(D,) features, elapsed share, (Q,) previous codes, states of the layers -> (D,) state, new states."""
        ...

    def logits(self, state: Array, codes: Array) -> Array:
        """(D,) state, (Q,) codes so far -> (Q,K)."""
        ...


def speak(
    engine: Engine, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
) -> Iterator[Array]:
    voice = _number(engine.voices, voice_settings.voice)
    for sentence in sentences(text):
        features, lasting = engine.read(np.array(numbers(sentence)), voice)
        yield from _frames(engine, features, lasting / voice_settings.speed, sampler)


def _frames(engine: Engine, features: Array, lasting: Array, sampler: Sampler) -> Iterator[Array]:
    under, elapsed = pointer(lasting, engine.config.longest)
    before, memory = np.zeros(engine.codes.codebooks, np.int64), engine.begin()
    for place, share in zip(under.tolist(), elapsed.tolist(), strict=True):
        state, memory = engine.step(features[place], share, before, memory)
        codes = np.zeros(engine.codes.codebooks, np.int64)
        for q in range(len(codes)):
            codes[q] = sampler(engine.logits(state, codes)[q])
        yield codes[None]
        before = codes


def pointer(lasting: Array, longest: int) -> tuple[Array, Array]:
    """(S,) durations in frames -> for each frame the symbol at its center (T,), and its elapsed share (T,)."""
    ends = np.cumsum(lasting, dtype=np.float64)
    frames = min(longest, max(1, round(float(ends[-1]))))
    middles = (np.arange(frames) + 0.5).clip(max=max(float(ends[-1]) - 1e-6, 0.0))
    under = np.searchsorted(ends, middles, side="right").clip(max=len(ends) - 1)
    share = (middles - (ends - lasting)[under]) / np.maximum(lasting[under], 1e-6)
    return under, share.astype(np.float32).clip(0.0, 1.0)


def _number(voices: Sequence[str], name: str | None) -> int:
    if name is None:
        return 0
    if name not in voices:
        raise RequestError(f"there is no voice {name!r}", f"voices: {', '.join(voices) or 'one without a name'}")
    return list(voices).index(name)
