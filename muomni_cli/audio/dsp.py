"""Resampling and log-mel spectrograms in numpy, for the same features without PyTorch.

Resampling is polyphase filtering by a Kaiser-windowed sinc (Crochiere and Rabiner, Multirate Digital Signal
Processing, 1983), written as one matrix product: a block of input samples times the filter's phases gives a block of
output samples. The log-mel equals that of :class:`muomni_cli.audio.mel.LogMel`.

Shapes: N samples, T frames, F mel bins, K = n_fft / 2 + 1 frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from muomni_cli.contract.speech import MelSettings
from muomni_cli.core.errors import RequestError

# Zero crossings of the sinc on each side: flat to 0.92 of the lower Nyquist frequency, stop band from there.
CROSSINGS = 64
ATTENUATION = 80.0  # stop-band attenuation in dB
# Largest denominator of a rate ratio, which bounds the filter. Common rates are exact; others are within one part in
# two thousand, less than a hundredth of a semitone.
FINEST = 1000
BLOCK = 256  # fewest output samples per row of the product


def resample(wave: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """(N,) samples at ``rate`` -> (ceil(N * target / rate),) at ``target``, with silence beyond both ends."""
    if rate == target or not wave.size:
        return wave
    filters, reach, step = _filters(rate, target)
    held = np.concatenate([np.zeros(reach, np.float32), wave])
    return _last(held, -(-wave.size * target // rate), filters, step)


def resampled(pieces: Iterable[NDArray[np.float32]], rate: int, target: int) -> Iterator[NDArray[np.float32]]:
    """:func:`resample` of audio in chunks of any size: the same samples, in bounded memory."""
    if rate == target:
        yield from pieces
        return
    stream = ResamplingStream(rate, target)
    for piece in pieces:
        if (made := stream.push(piece)).size:
            yield made
    if (rest := stream.finish()).size:
        yield rest


class ResamplingStream:
    """:func:`resample` of audio that comes chunk by chunk: an ``ArrayStream`` of (N,) samples, reusable after
    :meth:`finish`. The output is at most about 20 ms behind the input."""

    def __init__(self, rate: int, target: int) -> None:
        self._rate, self._target = rate, target
        self._begin()

    def _begin(self) -> None:
        self._held = np.zeros(0, np.float32)
        if self._rate != self._target:
            self._filters, reach, self._step = _filters(self._rate, self._target)
            self._held = np.zeros(reach, np.float32)
        self._given = self._size = 0

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """Feed (N,) samples and return the output that is now final; may be empty."""
        if self._rate == self._target:
            return piece
        self._size += piece.size
        self._held = np.concatenate([self._held, piece])
        rows = (self._held.size - self._filters.shape[0]) // self._step + 1
        if rows <= 0:
            return np.zeros(0, np.float32)
        made = _filtered(self._held, rows, self._filters, self._step)
        self._held, self._given = self._held[rows * self._step :], self._given + made.size
        return made

    def finish(self) -> NDArray[np.float32]:
        """The rest of the output."""
        count = -(-self._size * self._target // self._rate) - self._given if self._rate != self._target else 0
        rest = _last(self._held, count, self._filters, self._step) if count > 0 else np.zeros(0, np.float32)
        self._begin()
        return rest


def _last(held: NDArray[np.float32], count: int, filters: NDArray[np.float64], step: int) -> NDArray[np.float32]:
    """The ``count`` output samples of what is left, followed by silence."""
    rows = -(-count // filters.shape[1])
    padded = np.zeros(rows * step + filters.shape[0], np.float32)
    padded[: held.size] = held[: padded.size]  # a rounded ratio may leave the last sample unread
    return _filtered(padded, rows, filters, step)[:count]


def _filtered(held: NDArray[np.float32], rows: int, filters: NDArray[np.float64], step: int) -> NDArray[np.float32]:
    # In double precision: the order of the sums depends on the number of rows, and must not show.
    made: NDArray[np.float64] = sliding_window_view(held, filters.shape[0])[::step][:rows] @ filters
    return made.ravel().astype(np.float32)


@lru_cache(maxsize=96)  # rates of files, and speeds of augmentation
def _filters(rate: int, target: int) -> tuple[NDArray[np.float64], int, int]:
    """Matrix (input samples, output samples) of one block, the input samples that it needs before its start, and those
    from one block to the next.

    Output j of a block is at ``j * down / up`` input samples; its column is the sinc around that position.
    """
    ratio = Fraction(target, rate).limit_denominator(FINEST)
    up, down = ratio.numerator, ratio.denominator
    periods = -(-BLOCK // up)
    lower = min(1.0, up / down)  # Nyquist frequency of the lower rate, in those of the input
    width = (ATTENUATION - 8) / (2.285 * 2 * CROSSINGS * math.pi)  # of the transition, for Kaiser's window
    cutoff = lower * (1 - width / 2)
    reach = math.ceil(CROSSINGS / lower)
    places = np.arange(-reach * up, reach * up + 1)  # in steps of 1 / up input samples
    window = np.kaiser(places.size, 0.1102 * (ATTENUATION - 8.7))
    response = np.append(cutoff * np.sinc(cutoff / up * places) * window, 0)
    inputs, outputs = np.arange(periods * down + 2 * reach), np.arange(periods * up)
    index = up * inputs[:, None] - down * outputs
    index[(index < 0) | (index >= places.size)] = -1  # out of range: the zero at the end
    return response[index], reach, periods * down


def mel_filters(config: MelSettings) -> NDArray[np.float64]:
    """(K,F) triangles, evenly spaced on a mel scale: HTK's, 2595 log10(1 + f / 700), with peak 1, or Slaney's, linear
    up to 1 kHz, with area 1 Hz. RequestError if one is narrower than a bin."""
    slaney = config.filters == "slaney"
    edges = (_slaney_edges if slaney else _htk_edges)(config.f_min, config.top, config.n_mels + 2)
    frequencies = np.linspace(0, config.sample_rate / 2, config.n_fft // 2 + 1)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    if empty := int((filters.sum(0) == 0).sum()):
        raise RequestError(
            f"{empty} of {config.n_mels} mel filters are narrower than an FFT bin, and always zero",
            f"set n_mels below {config.n_mels}, or n_fft above {config.n_fft}",
        )
    return filters * (2 / (edges[2:] - edges[:-2])) if slaney else filters


def _htk_edges(low: float, high: float, count: int) -> NDArray[np.float64]:
    first, last = (2595 * math.log10(1 + f / 700) for f in (low, high))
    edges: NDArray[np.float64] = 700 * (10 ** (np.linspace(first, last, count) / 2595) - 1)
    return edges


def _slaney_edges(low: float, high: float, count: int) -> NDArray[np.float64]:
    """Slaney, Auditory Toolbox, 1998: 200/3 Hz a mel up to 1 kHz, then 27 mels for each factor of 6.4."""
    bend, linear, growth = 15.0, 200 / 3, math.log(6.4) / 27
    first, last = (f / linear if f < 1000 else bend + math.log(f / 1000) / growth for f in (low, high))
    mels = np.linspace(first, last, count)
    edges: NDArray[np.float64] = np.where(mels < bend, mels * linear, 1000 * np.exp((mels - bend) * growth))
    return edges


def log_mel(wave: NDArray[np.floating], config: MelSettings) -> NDArray[np.float32]:
    """(N,) samples -> (T,F) log-mel, T = N // hop."""
    split = config.window // 2
    samples = wave.astype(np.float64)
    if config.padding == "reflect" and len(wave):
        padded = samples[reflected(np.arange(-split, len(wave) + split), len(wave))]
    else:
        padded = np.pad(samples, split)
    frames = sliding_window_view(padded, 2 * split)[:: config.hop][: len(wave) // config.hop]
    hann = 0.5 - 0.5 * np.cos(2 * math.pi / config.window * np.arange(config.window))
    spectrum = np.fft.rfft(frames * hann, n=config.n_fft)
    power = spectrum.real**2 + spectrum.imag**2
    sums = (power if config.spectrum == "power" else np.sqrt(power)) @ mel_filters(config)
    floored = np.maximum(sums, config.mel_floor) if config.mel_clip else sums + config.mel_floor
    mel: NDArray[np.float32] = (np.log10 if config.log == "log10" else np.log)(floored).astype(np.float32)
    return mel


def reflected(places: Any, count: Any) -> Any:
    """Places outside of 0 to ``count`` - 1 mirrored at the ends; at the other end, those that are still outside."""
    return (count - 1 - abs(count - 1 - abs(places))).clip(0)


def whole_frames(wave: NDArray[np.floating], step: int) -> NDArray[np.float32]:
    """(N,) samples, zero-padded to a multiple of ``step``."""
    filled: NDArray[np.float32] = np.pad(wave, (0, -len(wave) % step)).astype(np.float32)
    return filled
