"""Sounds for a pretrained encoder with a window of fixed length. Imports no torch."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_cli.audio.dsp import resample
from muomni_cli.audio.io import read_samples
from muomni_transformers.plugin import WhisperConfig


def read(config: WhisperConfig, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """(N,) samples at 16 kHz, the mean of the file's channels, no longer than the encoder's window. RequestError if it
    is not audio, longer, or shorter than a frame."""
    wave, rate = read_samples(file, name, config.max_seconds, "cut it: the encoder hears no more at once")
    wave = resample(wave, rate, config.sample_rate)[: config.window]
    if wave.size < config.frame:
        raise RequestError(
            f"{name} has {wave.size} samples at 16 kHz; the encoder needs {config.frame}", "give a longer sound"
        )
    return wave


def count(config: WhisperConfig, inputs: NDArray[np.float32]) -> int:
    """Tokens of (N,) samples."""
    return config.num_tokens(len(inputs))


def inputs(config: WhisperConfig) -> dict[str, NDArray[np.float32]]:
    """Noise for benchmarks, as :func:`read` returns sounds."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=config.window).astype(np.float32)
    return {"one second": noise[: config.sample_rate], "the longest": noise}
