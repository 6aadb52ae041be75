"""A Talker, a codec and a vocoder as one voice: chunks of text to chunks of samples, over any engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.engine import Engine
from muomni_cli.contract.speech import ArrayStream, Sampler, SpeechGenerator, TextChunk, VoiceSettings
from muomni_cli.core.errors import RequestError
from muomni_cli.generation.loop import Sampling, check_limits, draw
from muomni_cli.registry.registry import did_you_mean


@dataclass(frozen=True, slots=True)
class SpeechSampling:
    """How code frames are sampled.

    Args:
        seed: random seed.
        temperature: 0 is greedy; None for the temperature in the Talker's config, else 0.
        max_seconds: maximum length.
    """

    seed: int = 0
    temperature: float | None = None
    max_seconds: float = float("inf")

    def __post_init__(self) -> None:
        check_limits(self, "g")


@dataclass(slots=True)
class SpeechStats:
    """Statistics of the speech so far.

    ``first``: seconds until the first samples; None before. ``busy``: seconds of synthesis, without the time that
    consumers of the samples take. ``cut``: the speech was truncated.
    """

    rate: int
    samples: int = 0
    frames: int = 0
    first: float | None = None
    busy: float = 0.0
    cut: bool = False

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return self.samples / self.rate

    @property
    def factor(self) -> float:
        """Real-time factor: seconds of synthesis per second of audio; 0 before there is any."""
        return self.busy / self.seconds if self.samples else 0.0

    def require(self) -> None:
        """Raises RequestError if nothing was spoken."""
        if not self.samples:
            fix = "write words in Latin letters, numbers or common signs"
            raise RequestError("nothing in the text can be spoken", fix)


@dataclass(frozen=True, slots=True)
class Voice:
    """A Talker with codec and vocoder.

    Args:
        talker: text to codes.
        sounds: starts a stream from (T,Q) codes to (N,) samples.
        sample_rate: in Hz.
        label: name for messages.
        vocoder_name: name of the vocoder.
        temperature: default sampling temperature; 0 is greedy.
    """

    talker: SpeechGenerator
    sounds: Callable[[], ArrayStream]
    sample_rate: int
    label: str
    vocoder_name: str
    temperature: float = 0.0

    def voice_settings(self, voice: str | None = None, speed: float = 1.0) -> VoiceSettings:
        """Validated voice settings. RequestError if there is no such voice, or the speed is out of range."""
        names = list(self.talker.voices)
        if voice is not None and voice not in names:
            listed = f"its voices: {', '.join(names)}" if names else "this model has one unnamed voice"
            raise RequestError(f"this model has no voice {voice!r}", did_you_mean(voice, names, listed))
        settings = VoiceSettings(voice, speed)
        settings.require_speed()
        return settings

    def say(
        self,
        pieces: Iterable[TextChunk],
        voice_settings: VoiceSettings,
        sampling: SpeechSampling,
        speech: SpeechStats | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Samples (n,), full scale 1, as soon as they are computed; ``pieces`` is consumed lazily. The result depends
        on the text, not on how it is split. ``speech`` is updated before samples are yielded."""
        speech = speech or SpeechStats(self.sample_rate)
        limit = sampling.max_seconds * self.sample_rate
        temperature = self.temperature if sampling.temperature is None else sampling.temperature
        rng = np.random.default_rng(sampling.seed)
        sampler = partial(draw, sampling=Sampling(temperature=temperature), rng=rng)
        made = self._samples(pieces, voice_settings, sampler, speech)
        while True:
            begin = time.perf_counter()
            samples = next(made, None)
            speech.busy += time.perf_counter() - begin
            if samples is None:
                return
            if speech.first is None and samples.size:
                speech.first = speech.busy
            if speech.samples + samples.size > limit:
                speech.cut = True
                samples = samples[: max(0, int(limit) - speech.samples)]
            speech.samples += samples.size
            if samples.size:
                yield samples
            if speech.cut:
                return

    def _samples(
        self, pieces: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler, speech: SpeechStats
    ) -> Iterator[NDArray[np.float32]]:
        sounds = self.sounds()
        for codes in self.talker.speak(pieces, voice_settings, sampler):
            speech.frames += len(codes)
            samples = sounds.push(codes)
            if samples.size:
                yield samples
        if speech.frames:
            yield sounds.finish()


def voice_of(engine: Engine, vocoder: str | None = None) -> Voice:
    """The voice of a model, with the named vocoder or else the model's own. RequestError if the model does not speak or
    has no such vocoder."""
    talker, name = engine.talker(), engine.vocoder_name(vocoder)
    engine.vocoder(name)
    temperature = float(engine.parts["talker"]["config"].get("temperature", 0.0))
    rate, label = engine.codec().mel.sample_rate, engine.source("talker")
    return Voice(talker, lambda: codes_to_audio(engine, name), rate, label, name, temperature)


def codes_to_audio(engine: Engine, vocoder: str | None = None) -> CodesToAudio:
    """A new stream through a model's codec and vocoder; errors as of :func:`voice_of`."""
    return CodesToAudio(engine.codec().stream(), engine.vocoder(engine.vocoder_name(vocoder)).stream())


class CodesToAudio:
    """Streaming synthesis, (T,Q) codes -> (N,) samples. ``mels``: codes to log-mel. ``waves``: log-mel to samples."""

    def __init__(self, mels: ArrayStream, waves: ArrayStream) -> None:
        self._mels, self._waves = mels, waves

    def push(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Feed (T,Q) codes; returns the samples that are now final."""
        made: NDArray[np.float32] = self._waves.push(self._mels.push(codes))
        return made

    def finish(self) -> NDArray[np.float32]:
        """The remaining samples."""
        return np.concatenate([self._waves.push(self._mels.finish()), self._waves.finish()])
