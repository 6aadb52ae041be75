"""Waveforms and log-mels made different in training: speed, silence, loudness, noise, other voices, missing stripes.

Everything is drawn from the generator that is handed in, on the host, so the same generator gives the same sound.
Knows samples and settings, no texts and no network.

Shapes: N samples, T frames, F mel bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muomni_cli.sound.resampling import resample
from muomni_listener.config import AugmentConfig

Wave = NDArray[np.float32]

SPEEDS = 100
"""Speeds are drawn in steps of one in so many, so that their filters are made once."""

TELEPHONE = 8000
"""Samples a second of telephones."""

NOISE_GRAIN = 512
"""Noise is drawn in multiples of so many samples: the Fourier transform of a prime number of them takes far longer."""

QUIETEST = 1e-4
"""Loudness (root mean square) that noise is measured against where a sound is quieter than this: silence gets some."""


def vary(wave: Wave, other: Wave, config: AugmentConfig, rate: int, rng: np.random.Generator) -> Wave:
    """(N,) samples at ``rate`` -> the same words said differently, as many samples as the new speed and silence take.

    Args:
        wave: what is said.
        other: another sound, which may be heard under it.
        config: how much of what.
        rate: samples a second.
        rng: where everything is drawn from.
    """
    wave = with_speed(wave, config.speed, rng)
    before, after = (int(rng.uniform(0, config.shift) * rate) for _ in range(2))
    wave = np.pad(wave, (before, after))
    loudness = max(_loudness(wave), QUIETEST)
    if rng.random() < config.babble:
        wave = wave + _at(fitted(other, wave.size, rng), loudness, config.babble_level, rng)
    if rng.random() < config.noise:
        wave = wave + _at(coloured_noise(wave.size, rng), loudness, config.noise_level, rng)
    if config.narrow and rng.random() < config.narrow:
        wave = narrowed(wave, rate)
    return np.asarray(wave * 10 ** (rng.uniform(-config.gain, config.gain) / 20), np.float32)


def with_speed(wave: Wave, most: float, rng: np.random.Generator) -> Wave:
    """Played up to ``most`` faster or slower; its pitch moves along."""
    widest = int(most * SPEEDS)
    speed = SPEEDS + int(rng.integers(-widest, widest + 1))
    return resample(wave, speed, SPEEDS)


def narrowed(wave: Wave, rate: int) -> Wave:
    """(N,) samples at ``rate`` -> (N,) without what is above 4 kHz, as telephones and 8 kHz files have it."""
    if rate <= TELEPHONE:
        return wave
    return resample(resample(wave, rate, TELEPHONE), TELEPHONE, rate)[: wave.size]


def coloured_noise(samples: int, rng: np.random.Generator) -> Wave:
    """(samples,) of noise whose power falls with frequency, by a power drawn from 0 (white) to 2 (brown)."""
    drawn = -(-samples // NOISE_GRAIN) * NOISE_GRAIN
    spectrum = np.fft.rfft(rng.standard_normal(drawn, np.float32))
    frequencies = np.maximum(np.arange(spectrum.size), 1 + drawn // 500)  # level below: no rumble that drowns all
    slope = np.asarray(frequencies ** (-rng.uniform(0, 2) / 2), np.float32)
    return np.asarray(np.fft.irfft(spectrum * slope, n=drawn)[:samples], np.float32)


def fitted(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """A part of ``wave`` of so many samples, or all of it somewhere in silence."""
    spare = samples - wave.size
    begin = int(rng.integers(0, abs(spare) + 1))
    return wave[begin : begin + samples] if spare < 0 else np.pad(wave, (begin, spare - begin))


def stripes(count: int, widest: float, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count,2): where each stripe begins and ends, ``end`` not included, up to ``widest`` of ``size`` places wide."""
    widths = (rng.random(count) * (int(widest) + 1)).astype(np.int64).clip(0, size)
    begins = (rng.random(count) * (size - widths + 1)).astype(np.int64)
    return np.stack([begins, begins + widths], axis=1)


def _loudness(wave: Wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def _at(sound: Wave, loudness: float, level: tuple[float, float], rng: np.random.Generator) -> Wave:
    """``sound`` scaled to lie some dB, drawn from ``level``, below ``loudness``."""
    wanted = loudness * 10 ** (-rng.uniform(*level) / 20)
    return np.asarray(sound * (wanted / max(_loudness(sound), QUIETEST)), np.float32)
