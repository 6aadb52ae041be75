"""Tones, sweeps, noise and clicks with labels and captions. Sounds are generated when opened."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Example
from muomni_datasets import unknown_sounds
from muomni_datasets.config import SIDES, SoundsConfig
from muomni_datasets.story_plots import NUMBERS, StoryRandom
from muomni_datasets.text import GeneratedSource

LOW, HIGH = (150.0, 400.0), (1200.0, 3000.0)  # ranges of pitch in Hz
FADE = 0.01  # fade-in and fade-out in seconds

Wave = NDArray[np.float64]
Make = Callable[[int, int], Wave]  # number of samples N and sample rate -> (N,)


@dataclass(frozen=True, slots=True)
class Sound:
    """Label, caption, facts and generator of a sound."""

    label: str
    caption: str
    facts: Mapping[str, str]
    make: Make


def _tone(rng: StoryRandom, begin: float, end: float) -> Make:
    phase, loud = rng.between(0, 6), rng.between(0.2, 0.7)

    def make(size: int, rate: int) -> Wave:
        pitch = begin * (end / begin) ** (np.arange(size) / max(size - 1, 1))
        return np.asarray(loud * np.sin(phase + 2 * np.pi * np.cumsum(pitch) / rate) * _fade(size, rate))

    return make


def _noise(rng: StoryRandom) -> Make:
    loud, more = rng.between(0.1, 0.5), StoryRandom(f"noise {rng.below(1 << 30)}")
    return lambda size, rate: loud * _hiss(more, size) * _fade(size, rate)


def _clicks(rng: StoryRandom, count: int) -> Make:
    loud, early = rng.between(0.4, 0.9), rng.between(0.1, 0.6)

    def make(size: int, rate: int) -> Wave:
        found = np.zeros(size)
        pulse = loud * np.exp(-np.arange(rate // 200) / (rate / 2000)) * (-1.0) ** np.arange(rate // 200)
        for number in range(count):
            at = int((number + early) / count * size)
            piece = pulse[: size - at]
            found[at : at + piece.size] += piece
        return found

    return make


def _joined(first: Make, second: Make) -> Make:
    return lambda size, rate: np.concatenate([first(size // 2, rate), second(size - size // 2, rate)])


def _fade(size: int, rate: int) -> Wave:
    from_ends = np.minimum(np.arange(size), np.arange(size)[::-1])
    return np.asarray(np.minimum(1.0, from_ends / (FADE * rate)))


def _hiss(rng: StoryRandom, size: int) -> Wave:
    return np.asarray([rng.between(-1, 1) for _ in range(size)])


def imagine(config: SoundsConfig, index: int) -> tuple[Sound, StoryRandom]:
    """Sound number ``index``, and the generator to continue with."""
    rng = StoryRandom(f"sound/{config.split}/{config.seed}/{index}")
    kind = rng.one(config.kinds)
    low, high = rng.between(*LOW), rng.between(*HIGH)
    if kind == "noise":
        return Sound(kind, "Noise.", {}, _noise(rng)), rng
    if kind == "clicks":
        count = 1 + rng.below(5)
        words = f"{NUMBERS[count].capitalize()} click{'' if count == 1 else 's'}."
        return Sound(kind, words, {"count": NUMBERS[count]}, _clicks(rng, count)), rng
    if kind in ("unknown", "held"):
        family = unknown_sounds.TRAINED if kind == "unknown" else unknown_sounds.HELD
        made, faded = rng.one(family)(rng), _fade
        return Sound(
            "unknown", unknown_sounds.CAPTION, {}, lambda size, rate: made(size, rate) * faded(size, rate)
        ), rng
    if kind == "two tones":
        names = rng.some(["low", "high"], 2)
        tones = [_tone(rng, pitch, pitch) for pitch in ((low, high) if names[0] == "low" else (high, low))]
        said = {"first": names[0], "second": names[1]}
        return Sound(kind, f"A {names[0]} tone, then a {names[1]} tone.", said, _joined(*tones)), rng
    ends = {"high tone": (high, high), "low tone": (low, low), "rising tone": (low, high), "falling tone": (high, low)}
    word = kind.split()[0]
    name = "pitch" if word in ("high", "low") else "direction"
    return Sound(kind, f"A {kind}.", {name: word}, _tone(rng, *ends[kind])), rng


@dataclass(frozen=True, slots=True)
class SoundMedia:
    """Sound number ``index``, opened as WAV."""

    modality: str
    config: SoundsConfig
    index: int

    @property
    def name(self) -> str:
        return f"sound {self.index} of seed {self.config.seed}"

    @property
    def facts(self) -> Mapping[str, str]:
        """``pitch``, ``direction``, ``count``, or ``first`` and ``second``, by kind."""
        return imagine(self.config, self.index)[0].facts

    def open(self) -> BinaryIO:
        rate = self.config.sample_rate
        sound, rng = imagine(self.config, self.index)
        size = round(self.config.seconds * rate)
        length = round(size * rng.between(0.6, 1.0))
        begin = rng.below(size - length + 1)
        recording = StoryRandom(f"recording/{self.config.split}/{self.config.seed}/{self.index}")
        before, after = (round(recording.between(0, self.config.around) * rate) for _ in range(2))
        size, begin = before + size + after, before + begin
        samples = np.zeros(size)
        samples[begin : begin + length] = sound.make(length, rate)
        samples += rng.between(0, self.config.hiss) * _hiss(rng, size)
        samples *= 10 ** (-recording.between(0, self.config.quieter) / 20)
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
        file.seek(0)
        return file


class SyntheticSounds(GeneratedSource):
    """A source of ``count`` sounds."""

    def __init__(self, config: SoundsConfig) -> None:
        self._config = config

    def documents(self) -> Iterator[Example]:
        config, split = self._config, SIDES[self._config.split]
        for index in range(config.count):
            sound, _ = imagine(config, index)
            key = f"sound {config.seed}{config.split}/{index}"
            media = SoundMedia("audio", config, index)
            yield Example(media, sound.caption, key, sound.label, source="sounds", split=split)
