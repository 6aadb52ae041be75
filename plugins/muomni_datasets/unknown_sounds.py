"""Sounds that have no name: what a model is to say that it does not know. Those of :data:`HELD` are for measuring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from muomni_datasets.story_plots import StoryRandom

CAPTION = "I do not know what that is."

Wave = NDArray[np.float64]
Make = Callable[[int, int], Wave]  # number of samples N and sample rate -> (N,)


def _seconds(size: int, rate: int) -> Wave:
    return np.arange(size) / rate


def _loud(samples: Wave, level: float) -> Wave:
    return samples * (level / max(float(np.abs(samples).max()), 1e-9))


def _smooth(samples: Wave, width: int) -> Wave:
    return np.convolve(samples, np.ones(width) / width, "same")


def _white(rng: StoryRandom) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(rng.below(1 << 30)))


def warble(rng: StoryRandom) -> Make:
    """A tone whose pitch swings."""
    pitch, swing, speed, level = (
        rng.between(200, 2000),
        rng.between(0.1, 0.5),
        rng.between(3, 14),
        rng.between(0.2, 0.7),
    )

    def make(size: int, rate: int) -> Wave:
        time = _seconds(size, rate)
        return level * np.sin(2 * np.pi * pitch * (time + swing / speed * np.sin(2 * np.pi * speed * time) / 6))

    return make


def chord(rng: StoryRandom) -> Make:
    """Three to five tones at once."""
    pitches, level = [rng.between(150, 1800) for _ in range(3 + rng.below(3))], rng.between(0.2, 0.7)
    return lambda size, rate: _loud(
        np.sum([np.sin(2 * np.pi * pitch * _seconds(size, rate)) for pitch in pitches], axis=0), level
    )


def buzz(rng: StoryRandom) -> Make:
    """A sawtooth, as of an engine, whose pitch may rise."""
    pitch, rise, level = rng.between(40, 220), rng.between(0.8, 1.6), rng.between(0.2, 0.6)

    def make(size: int, rate: int) -> Wave:
        turns = np.cumsum(pitch * rise ** (np.arange(size) / size)) / rate
        return level * (2 * (turns % 1) - 1)

    return make


def rumble(rng: StoryRandom) -> Make:
    """Noise without high frequencies, in gusts."""
    width, speed, level, white = 8 + rng.below(60), rng.between(0.5, 6), rng.between(0.2, 0.7), _white(rng)

    def make(size: int, rate: int) -> Wave:
        gusts = 0.6 + 0.4 * np.sin(2 * np.pi * speed * _seconds(size, rate))
        return _loud(_smooth(white.normal(size=size), width) * gusts, level)

    return make


def melody(rng: StoryRandom) -> Make:
    """Four to eight notes that fade."""
    notes, level = [220 * 2 ** (rng.below(24) / 12) for _ in range(4 + rng.below(5))], rng.between(0.2, 0.7)

    def make(size: int, rate: int) -> Wave:
        place = np.arange(size) * len(notes) / size
        pitch = np.array(notes)[place.astype(int)]
        return level * np.sin(2 * np.pi * np.cumsum(pitch) / rate) * np.exp(-4 * (place % 1))

    return make


def ring(rng: StoryRandom) -> Make:
    """A bell: partials that are no harmonics and fade."""
    pitch, level = rng.between(300, 1500), rng.between(0.3, 0.8)
    partials = [(pitch * rng.between(0.5, 5), rng.between(2, 9)) for _ in range(5)]

    def make(size: int, rate: int) -> Wave:
        time = _seconds(size, rate)
        made = [np.sin(2 * np.pi * one * time) * np.exp(-fade * time) for one, fade in partials]
        return _loud(np.sum(made, axis=0), level)

    return make


def chatter(rng: StoryRandom) -> Make:
    """Bursts through moving resonances, as of an animal or of speech that is none."""
    speed, level, white = rng.between(4, 12), rng.between(0.3, 0.7), _white(rng)
    first, second = rng.between(90, 300), rng.between(400, 2500)

    def make(size: int, rate: int) -> Wave:
        time = _seconds(size, rate)
        bursts = np.clip(np.sin(2 * np.pi * speed * time + np.sin(3 * time)), 0, 1)
        low = np.sign(np.sin(2 * np.pi * first * time))
        carrier = low * np.sin(2 * np.pi * second * time * (1 + 0.2 * np.sin(9 * time)))
        return _loud((carrier + 0.3 * white.normal(size=size)) * bursts, level)

    return make


def siren(rng: StoryRandom) -> Make:
    """Two tones in turn."""
    pitches, speed, level = (rng.between(400, 900), rng.between(1000, 1800)), rng.between(1.5, 5), rng.between(0.2, 0.7)

    def make(size: int, rate: int) -> Wave:
        turn = (_seconds(size, rate) * speed % 1 < 0.5).astype(int)
        return level * np.sin(2 * np.pi * np.cumsum(np.array(pitches)[turn]) / rate)

    return make


def drops(rng: StoryRandom) -> Make:
    """Short chirps at random moments, as of water or birds."""
    count, level, white = 4 + rng.below(12), rng.between(0.3, 0.8), _white(rng)

    def make(size: int, rate: int) -> Wave:
        made = np.zeros(size)
        length = min(rate // 12, size)
        time = np.arange(length) / rate
        for place in white.integers(0, max(size - length, 1), count):
            pitch = white.uniform(600, 3500)
            made[place : place + length] += np.sin(2 * np.pi * pitch * time * (1 + 4 * time)) * np.exp(-40 * time)
        return _loud(made, level)

    return make


TRAINED = (warble, chord, buzz, rumble, melody, ring)
HELD = (chatter, siren, drops)
