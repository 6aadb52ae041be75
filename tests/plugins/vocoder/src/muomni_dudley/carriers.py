"""What a channel vocoder speaks with: one second or less of a carrier, cut into bands. NumPy, no torch.

Shapes: L mel frames of the carrier, H samples of a mel frame, P = L * H, F mel bins = bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import MelConfig
from muomni_cli.audio.dsp import mel_filters
from muomni_dudley.config import DudleyConfig

SEED = 1939
"""Of the noise, which is always the same."""


def carriers(config: DudleyConfig, mel: MelConfig) -> NDArray[np.float32]:
    """(L,H,F) samples of each band, which go on with the first after the last.

    Bands are the triangles of the mel, so that amplitudes between the middles of two bands change evenly. Each has the
    density of white noise of deviation 1.
    """
    frames = max(round(config.seconds * mel.sample_rate / mel.hop), -(-mel.n_fft // mel.hop))
    frames += frames * mel.hop % 2
    size = frames * mel.hop
    bands = mel_filters(mel.model_copy(update={"n_fft": size}))  # (P/2+1, F)
    spectrum = _noise(size) if config.carrier == "whisper" else _buzz(size, config.pitch * size / mel.sample_rate)
    waves = np.fft.irfft(np.sqrt(size) * spectrum[:, None] * bands, n=size, axis=0)
    bank: NDArray[np.float32] = waves.reshape(frames, mel.hop, mel.n_mels).astype(np.float32)
    return bank


def gains(mel: MelConfig) -> NDArray[np.float32]:
    """(F,) the power of white noise in each band, for a power of 1 in the mel."""
    window = np.hanning(mel.window + 1)[:-1]
    found: NDArray[np.float32] = (1 / (mel_filters(mel).sum(0) * np.square(window).sum())).astype(np.float32)
    return found


def _noise(size: int) -> NDArray[np.complex128]:
    phases = np.random.default_rng(SEED).uniform(0, 2 * np.pi, size // 2 + 1)
    spectrum: NDArray[np.complex128] = np.exp(1j * phases)
    return spectrum


def _buzz(size: int, step: float) -> NDArray[np.complex128]:
    """A tone with all its harmonics, ``step`` frequencies apart, in the phases of Schroeder (1970): no click stands out
    as it would if all of them began together."""
    spectrum = np.zeros(size // 2 + 1, np.complex128)
    apart = max(1, round(step))
    numbers = np.arange(1, size // 2 // apart + 1)
    spectrum[numbers * apart] = np.sqrt(apart) * np.exp(-1j * np.pi * numbers * (numbers - 1) / len(numbers))
    return spectrum
