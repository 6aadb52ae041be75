"""The log-mel of :mod:`muomni_cli.sound.mel` without PyTorch: what a sound is measured by, whoever made it.

Shapes: N samples, T frames, F mel bins, K = n_fft / 2 + 1 frequencies.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from muomni_cli.contract.sound import MelSettings
from muomni_cli.core.errors import RequestError


def mel_filters(config: MelSettings) -> NDArray[np.float64]:
    """(K,F) weights of triangles that are evenly spaced on the HTK mel scale, 2595 log10(1 + f / 700), peak 1.

    Raises:
        RequestError: a filter lies between two frequencies of the transform and would hear nothing.
    """
    low, high = (2595 * math.log10(1 + f / 700) for f in (config.f_min, config.top))
    edges = 700 * (10 ** (np.linspace(low, high, config.n_mels + 2) / 2595) - 1)
    frequencies = np.linspace(0, config.sample_rate / 2, config.n_fft // 2 + 1)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    if deaf := int((filters.sum(0) == 0).sum()):
        raise RequestError(
            f"{deaf} of {config.n_mels} mel filters are narrower than a step of the transform, and hear nothing",
            f"set n_mels below {config.n_mels}, or n_fft above {config.n_fft}",
        )
    return filters


def log_mel(wave: NDArray[np.floating], config: MelSettings) -> NDArray[np.float32]:
    """(N,) samples -> (T,F) log-mel, T = N // hop."""
    side = config.window // 2
    padded = np.pad(wave.astype(np.float64), side)
    frames = sliding_window_view(padded, 2 * side)[:: config.hop][: len(wave) // config.hop]
    hann = 0.5 - 0.5 * np.cos(2 * math.pi / config.window * np.arange(config.window))
    spectrum = np.fft.rfft(frames * hann, n=config.n_fft)
    power = spectrum.real**2 + spectrum.imag**2
    mel: NDArray[np.float32] = np.log(power @ mel_filters(config) + config.mel_floor).astype(np.float32)
    return mel


def whole_frames(wave: NDArray[np.floating], step: int) -> NDArray[np.float32]:
    """(N,) samples, filled up with silence to a multiple of ``step``."""
    filled: NDArray[np.float32] = np.pad(wave, (0, -len(wave) % step)).astype(np.float32)
    return filled
