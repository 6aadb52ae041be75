"""Augmentation of training sounds: pauses, speed, silence, rooms, noise, background voices, hum, colour, clipping,
telephones and loudness.

All randomness comes from a NumPy generator that is passed in, so the same generator gives the same sound. Shapes:
N samples, S stripes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from muomni_audio_encoder.plugin import AudioAugmentConfig
from muomni_cli.audio.dsp import resample

Wave = NDArray[np.float32]

SPEEDS = 100  # speeds are multiples of 1/SPEEDS, so that resampling filters are computed once
TELEPHONE = 8000  # sample rate of telephones in Hz
NOISE_GRAIN = 512  # noise is drawn in multiples of this many samples: an FFT of prime length is far slower
QUIETEST = 1e-4  # lower bound of the loudness (RMS) that noise is scaled to, so that silence gets some
LOUD = 2048  # samples of the frames whose loudest is the level of speech, as in Picovoice's benchmarks at 16 kHz
QUIET, GAP = 35.0, 0.03  # dB below the loudest, for at least so many seconds: a pause between words
REVERBERATION = (0.1, 0.8)  # of a room in seconds: shortest and longest time of decay by 60 dB
DIRECT = (-2.0, 14.0)  # dB by which the direct sound is above the reverberation
BETWEEN = (0.05, 1.2)  # seconds between two sounds that are joined
APART = 5.0  # dB by which their levels may differ


def vary(wave: Wave, other: Wave, config: AudioAugmentConfig, rate: int, rng: np.random.Generator) -> Wave:
    """Augment (N,) samples at ``rate`` Hz; ``other`` is a sound that may be added in the background. Speed and silence
    change the number of samples."""
    if config.pauses and rng.random() < config.pauses:
        wave = with_longer_pauses(wave, config.pause_seconds, rate, rng)
    wave = with_speed(wave, config.speed, rng)
    before, after = (int(rng.uniform(0, config.shift) * rate) for _ in range(2))
    wave = np.pad(wave, (before, after))
    if config.room and rng.random() < config.room:
        wave = in_room(wave, rate, rng)
    loudness = max(speech_level(wave, rate) if config.of_speech else _loudness(wave), QUIETEST)
    if rng.random() < config.babble:
        wave = wave + _at(fitted(other, wave.size, rng), loudness, config.babble_level, rng)
    if rng.random() < config.noise:
        wave = wave + _at(colored_noise(wave.size, rng), loudness, config.noise_level, rng)
    if config.hum and rng.random() < config.hum:
        wave = wave + _at(hum(wave.size, rate, rng), loudness, config.noise_level, rng)
    if config.color and rng.random() < config.color:
        wave = coloured(wave, config.color_range, rng)
    if config.clip and rng.random() < config.clip:
        wave = clipped(wave, rng)
    if config.narrow and rng.random() < config.narrow:
        wave = narrowed(wave, rate)
    return np.asarray(wave * 10 ** (rng.uniform(-config.gain, config.gain) / 20), np.float32)


def with_speed(wave: Wave, most: float, rng: np.random.Generator) -> Wave:
    """Resample by a random factor of up to ``most`` faster or slower, which also changes the pitch."""
    widest = int(most * SPEEDS)
    speed = SPEEDS + int(rng.integers(-widest, widest + 1))
    return resample(wave, speed, SPEEDS)


def narrowed(wave: Wave, rate: int) -> Wave:
    """Low-pass (N,) samples at 4 kHz, like telephones and 8 kHz files."""
    if rate <= TELEPHONE:
        return wave
    return resample(resample(wave, rate, TELEPHONE), TELEPHONE, rate)[: wave.size]


def colored_noise(samples: int, rng: np.random.Generator) -> Wave:
    """(samples,) noise with a power spectrum of f^-a, a drawn from 0 (white) to 2 (brown)."""
    drawn = -(-samples // NOISE_GRAIN) * NOISE_GRAIN
    spectrum = np.fft.rfft(rng.standard_normal(drawn, np.float32))
    frequencies = np.maximum(np.arange(spectrum.size), 1 + drawn // 500)  # flat at low frequencies: no rumble
    slope = np.asarray(frequencies ** (-rng.uniform(0, 2) / 2), np.float32)
    return np.asarray(np.fft.irfft(spectrum * slope, n=drawn)[:samples], np.float32)


def fitted(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """A random crop of ``wave``, or all of it at a random place in silence."""
    spare = samples - wave.size
    begin = int(rng.integers(0, abs(spare) + 1))
    return wave[begin : begin + samples] if spare < 0 else np.pad(wave, (begin, spare - begin))


def stripes(count: int, widest: float, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count,2) begin and end (exclusive) of random stripes, up to ``widest`` wide, within ``size``."""
    widths = (rng.random(count) * (int(widest) + 1)).astype(np.int64).clip(0, size)
    begins = (rng.random(count) * (size - widths + 1)).astype(np.int64)
    return np.stack([begins, begins + widths], axis=1)


def speech_level(wave: Wave, rate: int) -> float:
    """RMS of the loudest frame of :data:`LOUD` samples (at 16 kHz): the level of speech, however much silence is
    around it."""
    size = min(LOUD * rate // 16_000, wave.size)
    if not size:
        return 0.0
    rows = wave[: wave.size // size * size].reshape(-1, size)
    return float(np.sqrt(np.square(rows, dtype=np.float64).mean(1).max()))


def crowd(waves: Sequence[Wave], most: int, samples: int, rng: np.random.Generator) -> Wave:
    """(samples,) of one to ``most`` of ``waves`` at a time, each repeated and about equally loud; one alone is not
    repeated."""
    count = int(rng.integers(1, most + 1)) if most > 1 else 1
    chosen = [waves[int(rng.integers(len(waves)))] for _ in range(count)]
    if count == 1:
        return chosen[0]
    mixed = np.zeros(samples, np.float32)
    for wave in chosen:
        level = _loudness(wave)
        if level > QUIETEST:
            turned = np.roll(np.resize(wave, max(samples, 1)), int(rng.integers(samples or 1)))
            mixed += turned[:samples] / np.float32(level) * np.float32(10 ** (rng.uniform(-APART, 0) / 20))
    return mixed


def joined(wave: Wave, other: Wave, rate: int, rng: np.random.Generator) -> Wave:
    """Two sounds one after the other, about equally loud, with a pause between."""
    level, own = speech_level(other, rate), speech_level(wave, rate)
    if level > QUIETEST and own > QUIETEST:
        other = other * np.float32(own / level * 10 ** (rng.uniform(-APART, APART) / 20))
    silence = np.zeros(int(rng.uniform(*BETWEEN) * rate), np.float32)
    return np.concatenate([wave, silence, other])


def with_longer_pauses(wave: Wave, most: float, rate: int, rng: np.random.Generator) -> Wave:
    """Lengthen some of the quiet gaps inside a sound by up to ``most`` seconds. What is added is silence, faded in and
    out."""
    step = round(0.01 * rate)
    if wave.size < 10 * step:
        return wave
    power = np.square(wave[: wave.size // step * step].reshape(-1, step), dtype=np.float64).mean(1)
    quiet = power < power.max() * 10 ** (-QUIET / 10)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    gaps = [
        (begin + end) // 2
        for begin, end in zip(turns[::2], turns[1::2], strict=True)
        if begin > 0 and end < quiet.size and (end - begin) * step >= GAP * rate
    ]
    chosen = [gap for gap in gaps if rng.random() < 0.5]
    parts, last = [], 0
    for gap in chosen:
        silence = np.zeros(int(rng.uniform(0.05, most) * rate), np.float32)
        parts += [wave[last : gap * step], silence]
        last = gap * step
    return np.concatenate([*parts, wave[last:]])


def in_room(wave: Wave, rate: int, rng: np.random.Generator) -> Wave:
    """Convolve with a made impulse response: the direct sound, a few early reflections, and noise that decays
    exponentially."""
    decay = rng.uniform(*REVERBERATION)
    times = np.arange(round(decay * rate)) / rate
    tail = rng.standard_normal(times.size) * 10 ** (-3 * times / decay)
    begin = round(rng.uniform(0.002, 0.02) * rate)
    tail[:begin] = 0
    for place in rng.integers(1, max(2, 4 * begin), 4):
        if place < tail.size:
            tail[place] += rng.uniform(-1, 1) * 5
    tail *= 10 ** (-rng.uniform(*DIRECT) / 20) / max(math.sqrt(float(np.square(tail).sum())), 1e-9)
    tail[0] = 1.0
    size = _fast(wave.size + tail.size)
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(tail.astype(np.float32), size)
    return np.asarray(np.fft.irfft(spectrum, size)[: wave.size], np.float32)


def coloured(wave: Wave, most: float, rng: np.random.Generator) -> Wave:
    """Filter by a random smooth response of up to ``most`` dB up or down, as microphones and loudspeakers do, and
    perhaps without the lowest or highest frequencies."""
    size = _fast(wave.size)
    points = np.linspace(0, 1, 9) ** 1.7  # denser where speech has more
    gains = rng.uniform(-most, most, points.size)
    if rng.random() < 0.3:
        gains[0] -= 30
    if rng.random() < 0.2:
        gains[-2:] -= 30
    response = 10 ** (np.interp(np.linspace(0, 1, size // 2 + 1), points, gains) / 20)
    return np.asarray(np.fft.irfft(np.fft.rfft(wave, size) * response, size)[: wave.size], np.float32)


def clipped(wave: Wave, rng: np.random.Generator) -> Wave:
    """Cut off the peaks, of 0.1 to 3 percent of the samples of speech."""
    loud = np.abs(wave)
    limit = float(np.quantile(loud[::7], 1 - rng.uniform(0.001, 0.03)))
    return wave.clip(-limit, limit) if limit > QUIETEST else wave


def hum(samples: int, rate: int, rng: np.random.Generator) -> Wave:
    """(samples,) hum of a machine: a tone of 45 to 250 Hz and its overtones, slowly louder and quieter."""
    times = np.arange(samples, dtype=np.float32) / rate
    tone = rng.uniform(45, 250)
    parts = [
        rng.uniform(0.1, 1) / number * np.sin(2 * np.pi * (tone * number * times + rng.random()))
        for number in range(1, int(rng.integers(3, 12)))
    ]
    swell = 1 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.1, 4) * times + rng.random()))
    return np.asarray(sum(parts) * swell, np.float32)


def _fast(size: int) -> int:
    """The smallest size of a fast FFT from ``size`` on: 2^a, 3 * 2^a or 5 * 2^a."""
    return min(factor << max(0, math.ceil(math.log2(max(size, 1) / factor))) for factor in (1, 3, 5))


def _loudness(wave: Wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def _at(sound: Wave, loudness: float, level: tuple[float, float], rng: np.random.Generator) -> Wave:
    """Scale ``sound`` to a level in dB below ``loudness``, drawn from ``level``."""
    wanted = loudness * 10 ** (-rng.uniform(*level) / 20)
    return np.asarray(sound * (wanted / max(_loudness(sound), QUIETEST)), np.float32)
