"""A Talker, a codec and a vocoder as one voice: chunks of text to chunks of samples, over any engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.stretch import MelStretch
from muomni_cli.contract.codecs import is_waveform, sample_rate_of, samples_per_frame
from muomni_cli.contract.engine import Engine
from muomni_cli.contract.models import Word
from muomni_cli.contract.speech import (
    VOICE_SPEEDS,
    ArrayStream,
    Sampler,
    SpeechGenerator,
    SpeechReport,
    TextChunk,
    VoiceSettings,
)
from muomni_cli.core.errors import RequestError
from muomni_cli.generation.loop import Sampling, check_limits, draw
from muomni_cli.models.locate import makes_samples
from muomni_cli.registry.entries import use_of
from muomni_cli.registry.registry import did_you_mean

SHOWN, LONGEST_SHOWN = 8, 40  # pieces of text that a message lists, and characters of each


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
    consumers of the samples take. ``limited``: the speech was truncated at ``max_seconds``. ``timed``: words
    of the report whose times are known. ``report``: what the Talker
    left out, and when it says each word.
    """

    rate: int
    samples: int = 0
    frames: int = 0
    first: float | None = None
    busy: float = 0.0
    limited: bool = False
    timed: int = 0
    report: SpeechReport = field(default_factory=SpeechReport)

    @property
    def cut(self) -> bool:
        """Whether the speech, or a sentence of it, was truncated."""
        return self.limited or self.report.cut

    @property
    def skipped(self) -> list[str]:
        """Pieces of the text that are not spoken, each once, in order."""
        return list(self.report.skipped)

    @property
    def words(self) -> list[Word]:
        """The written words of the speech so far, with start and end in seconds of its audio."""
        return self.report.words

    def time_words(self, seconds_per_frame: float, *, ended: bool) -> None:
        """Add the words that now are in the audio; at the end of it the rest, and none that begins after it."""
        words = self.report.words
        for span in self.report.spans[self.timed :]:
            start, end = (round(frames * seconds_per_frame, 6) for frames in (span.start, span.end))
            if not ended and end > self.seconds:
                return
            self.timed += 1
            if start < self.seconds:
                words.append(Word(span.text, start, min(end, self.seconds)))

    @property
    def losses(self) -> list[str]:
        """A sentence for each way in which the speech lacks something of its text."""
        found = []
        if skipped := self.skipped:
            more = f", and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
            listed = ", ".join(repr(_short(piece)) for piece in skipped[:SHOWN])
            found.append(f"left out, because it cannot be spoken: {listed}{more}")
        if self.report.cut:
            found.append("a sentence was too long for the voice and is cut short")
        return found

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
class Speech:
    """Speech that is synthesized while this is iterated: chunks of samples (n,), full scale 1. ``stats`` is updated
    before each chunk."""

    stats: SpeechStats
    chunks: Iterator[NDArray[np.float32]]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return self.chunks


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


@dataclass(frozen=True, slots=True)
class Voice:
    """A Talker with codec and vocoder.

    Args:
        talker: text to codes.
        sounds: starts a stream from (T,Q) codes to (N,) samples, faster by a factor.
        sample_rate: in Hz.
        frame_samples: samples of a code frame.
        label: name for messages.
        vocoder_name: name of the vocoder.
        temperature: default sampling temperature; 0 is greedy.
        added: opens voices that were added to the model, by name, each at the same sample rate.
        stretches: whether ``sounds`` changes the speed; else the Talker does all of it.
    """

    talker: SpeechGenerator
    sounds: Callable[[float], ArrayStream]
    sample_rate: int
    frame_samples: int
    label: str
    vocoder_name: str
    temperature: float = 0.0
    added: Mapping[str, Callable[[], Voice]] = field(default_factory=dict)
    stretches: bool = True

    @property
    def names(self) -> list[str]:
        """The names of all voices, the default one first."""
        return [*self.talker.voices, *(name for name in self.added if name not in self.talker.voices)]

    def of(self, name: str | None) -> Voice:
        """What speaks with the voice of that name: this, or a voice that was added."""
        if name is None or name not in self.added or name in self.talker.voices:
            return self
        return self.added[name]()

    def voice_settings(self, voice: str | None = None, speed: float = 1.0, *, together: bool = False) -> VoiceSettings:
        """Validated voice settings. RequestError if there is no such voice, or the speed is out of range."""
        names = self.names
        if voice is not None and voice not in names:
            listed = f"its voices: {', '.join(names)}" if names else "this model has one unnamed voice"
            raise RequestError(f"this model has no voice {voice!r}", did_you_mean(voice, names, listed))
        settings = VoiceSettings(voice, speed, together)
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
        if (other := self.of(voice_settings.voice)) is not self:
            yield from other.say(pieces, voice_settings, sampling, speech)
            return
        speech = speech or SpeechStats(self.sample_rate)
        speech.report.spans.clear()
        speech.report.words.clear()
        seconds_per_frame = self.frame_samples / self.sample_rate / self._factor(voice_settings.speed)
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
                speech.time_words(seconds_per_frame, ended=True)
                return
            if speech.first is None and samples.size:
                speech.first = speech.busy
            if speech.samples + samples.size > limit:
                speech.limited = True
                samples = samples[: max(0, int(limit) - speech.samples)]
            speech.samples += samples.size
            if speech.limited:
                self._time_last_words(made, speech, seconds_per_frame)
            speech.time_words(seconds_per_frame, ended=speech.limited)
            if samples.size:
                yield samples
            if speech.limited:
                return

    def _factor(self, speed: float) -> float:
        """By how much the speech is made faster after the Talker."""
        return stretched(speed) if self.stretches else 1.0

    def _time_last_words(
        self, made: Iterator[NDArray[np.float32]], speech: SpeechStats, seconds_per_frame: float
    ) -> None:
        """Go on, unheard, until all words in the audio are reported: that of a word comes when the next one begins."""
        frames, spans = speech.frames, speech.report.spans
        while spans and spans[-1].end * seconds_per_frame < speech.seconds and next(made, None) is not None:
            pass
        speech.frames = frames

    def _samples(
        self, pieces: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler, speech: SpeechStats
    ) -> Iterator[NDArray[np.float32]]:
        factor = self._factor(voice_settings.speed)
        sounds = self.sounds(factor)
        asked = replace(voice_settings, speed=voice_settings.speed / factor, report=speech.report)
        for codes in self.talker.speak(pieces, asked, sampler):
            speech.frames += len(codes)
            samples = sounds.push(codes)
            if samples.size:
                yield samples
        if speech.frames:
            yield sounds.finish()


def stretched(speed: float) -> float:
    """The factor by which the log-mel of speech at ``speed`` is made faster; the Talker is asked for the rest."""
    own = max(speed, VOICE_SPEEDS[0]) if speed <= VOICE_SPEEDS[1] else 1.0
    return speed / own


def voice_of(engine: Engine, vocoder: str | None = None) -> Voice:
    """The voice of a model, with the named vocoder or else the model's own. RequestError if the model does not speak or
    has no such vocoder."""
    talker, alone = engine.talker(), "codec" in engine.parts and makes_samples(engine.parts["codec"])
    name = _without_vocoder(engine, vocoder) if alone else engine.vocoder_name(vocoder)
    if not alone:
        engine.vocoder(name)
    temperature = float(engine.parts["talker"]["config"].get("temperature", 0.0))
    codec, label = engine.codec(), engine.source("talker")
    rate, frame_samples = sample_rate_of(codec), samples_per_frame(codec)
    sounds = partial(codes_to_audio, engine, None if alone else name)
    added = {voice: cache(partial(_added_voice, one, voice, rate)) for voice, one in engine.voice_models.items()}
    return Voice(talker, sounds, rate, frame_samples, label, name, temperature, added, stretches=not alone)


def _without_vocoder(engine: Engine, vocoder: str | None) -> str:
    """The name of the codec, which makes samples itself. RequestError if a vocoder was asked for."""
    name = use_of(engine.parts["codec"])
    if vocoder is not None:
        what = f"the codec {name} of {engine.label} makes samples itself, without the vocoder {vocoder}"
        raise RequestError(what, "leave --vocoder out")
    return name


def _added_voice(engine: Engine, name: str, rate: int) -> Voice:
    """The voice of a model that was added to another one, which has ``rate``. RequestError if it does not fit."""
    voice = voice_of(engine)
    if voice.sample_rate != rate:
        what = f"the voice {name} has {voice.sample_rate} samples a second, and the model that it was added to {rate}"
        raise RequestError(what, f"speak with that voice's own run: -m {engine.label.removeprefix('run ')}")
    return voice


def codes_to_audio(engine: Engine, vocoder: str | None = None, speed: float = 1.0) -> ArrayStream:
    """A new stream through a model's codec and vocoder, (T,Q) codes -> (N,) samples, with the log-mel between them made
    faster by ``speed``, where there is one; errors as of :func:`voice_of`."""
    codec: Any = engine.codec()
    if is_waveform(codec):
        assert speed == 1.0, "the Talker changes the speed"
        stream: ArrayStream = codec.stream()
        return stream
    mels: ArrayStream = codec.stream()
    if speed != 1.0:
        mels = Chain(mels, MelStretch(speed, codec.mel.n_mels))
    return Chain(mels, engine.vocoder(engine.vocoder_name(vocoder)).stream())


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """Samples (n,) of speech, full scale 1, and the words that are complete with them, timed from its start."""

    samples: NDArray[np.float32]
    words: list[Word]


def with_words(samples: Iterable[NDArray[np.float32]], speech: SpeechStats) -> Iterator[SpeechChunk]:
    """Speech that updates ``speech``, with the words of each chunk; the last chunk may have words only."""
    told = 0
    for piece in samples:
        words = speech.words[told:]
        told += len(words)
        yield SpeechChunk(piece, words)
    if rest := speech.words[told:]:
        yield SpeechChunk(np.zeros(0, np.float32), rest)


class Chain:
    """Two streams as one, such as codes to log-mel and log-mel to samples. An ``ArrayStream``."""

    def __init__(self, first: ArrayStream, second: ArrayStream) -> None:
        self._first, self._second = first, second

    def push(self, piece: NDArray[Any]) -> NDArray[np.float32]:
        """Feed a piece of the first stream's input; returns the output of the second that is now final."""
        made: NDArray[np.float32] = self._second.push(self._first.push(piece))
        return made

    def finish(self) -> NDArray[np.float32]:
        """The rest of the output."""
        return np.concatenate([self._second.push(self._first.finish()), self._second.finish()])
