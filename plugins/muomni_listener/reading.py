"""A sound file to samples: one channel at the encoder's rate, full scale 1. Knows no torch and no model.

Reads whatever libsndfile reads (WAV, FLAC, Ogg, MP3, AIFF, ...), integers and floats alike, and trusts no header:
memory is bounded by what is really read, and that by the config's ``max_seconds``.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_listener.config import ListenerConfig
from muomni_listener.resampling import resample

RATES = (4_000, 384_000)
"""Samples a second that a file may have."""

CHANNELS = 64
"""Most channels that a file may have."""

LOUDEST = 16.0
"""Largest sample, where full scale is 1. Float files may go over it; ones this far above hold something else, integers
written as floats for example."""

AT_ONCE = 1 << 18
"""Samples, of all channels together, that are read at a time."""


def read(config: ListenerConfig, path: Path) -> NDArray[np.float32]:
    """(N,) samples of the file at ``config.sample_rate``, the mean of its channels.

    Raises:
        RequestError: there is no such file, it is no sound, it holds too little (less than one token's worth of
            samples, 40 ms by default), too much, or samples that are no sound.
    """
    _check_kind(path)
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            _check_header(file, path, config)
            wave, rate = _samples(file, path, config), file.samplerate
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a file named .raw says nothing of its format
        detail = f" ({error.error_string.strip().rstrip('.')})" if isinstance(error, soundfile.LibsndfileError) else ""
        raise RequestError(
            f"{path} is no sound that can be read{detail}", "give a WAV, FLAC, Ogg or MP3 file, or convert it to one"
        ) from error
    _check_samples(wave, path)
    wave = resample(wave, rate, config.sample_rate)
    if wave.size < config.shortest:
        raise RequestError(
            f"{path} holds {_seconds(wave.size / config.sample_rate)}, which is less than one token hears",
            f"give a sound of at least {_seconds(config.shortest / config.sample_rate)}",
        )
    return wave


def _check_kind(path: Path) -> None:
    """A pipe or a device could keep the reader waiting for ever, so only regular files are opened."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RequestError(f"cannot read {path}: {reason}", "check the path and its permissions") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise RequestError(f"{path} is {kind}, not a sound file", "give the path of one sound file")


def _check_header(file: soundfile.SoundFile, path: Path, config: ListenerConfig) -> None:
    """Refuse what the header itself calls impossible; whether it tells the truth shows in reading."""
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise RequestError(
            f"{path} has {file.samplerate} samples a second; from {RATES[0]} to {RATES[1]} can be read",
            "convert it to a common rate, 16000 for example",
        )
    if file.channels > CHANNELS:
        raise RequestError(f"{path} has {file.channels} channels; at most {CHANNELS} can be read", "mix it down first")
    if file.seekable() and file.frames > config.max_seconds * file.samplerate:
        raise _too_long(path, config, f" of {_seconds(file.frames / file.samplerate)}")


def _samples(file: soundfile.SoundFile, path: Path, config: ListenerConfig) -> NDArray[np.float32]:
    """Everything in the file, mixed to one channel piece by piece."""
    size = max(1, AT_ONCE // file.channels)
    limit, held = config.max_seconds * file.samplerate, 0
    pieces: list[NDArray[np.float32]] = []
    while (piece := file.read(size, dtype="float32", always_2d=True)).size:
        held += len(piece)
        if held > limit:
            raise _too_long(path, config, "")
        pieces.append(piece.mean(axis=1, dtype=np.float32) if file.channels > 1 else piece[:, 0])
    if not pieces:
        raise RequestError(f"{path} holds no sound at all", "give a file with samples in it")
    return np.concatenate(pieces)


def _check_samples(wave: NDArray[np.float32], path: Path) -> None:
    wrong = wave.size - int(np.isfinite(wave).sum())
    if wrong:
        raise RequestError(
            f"{path} holds {wrong} samples that are no finite numbers", "write the file again, or cut them out"
        )
    if (peak := float(np.abs(wave).max())) > LOUDEST:
        raise RequestError(
            f"{path} holds samples up to {peak:.5g}, where full scale is 1", "scale its samples to lie from -1 to 1"
        )


def _too_long(path: Path, config: ListenerConfig, length: str) -> RequestError:
    return RequestError(
        f"{path} holds a sound{length}; at most {_seconds(config.max_seconds)} can be read",
        "cut it, or raise max_seconds of the encoder",
    )


def _seconds(seconds: float) -> str:
    """A length for people: ``6.25 ms``, ``61.5 s``, ``10.0 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.4g} ms"
    return f"{seconds:.4g} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"
