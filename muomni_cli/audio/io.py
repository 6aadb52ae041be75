"""Read an audio file as samples: one channel at a part's rate, full scale 1.

Reads whatever libsndfile reads (WAV, FLAC, Ogg, MP3, AIFF, ...), integers and floats alike, and trusts no header:
memory is bounded by what is really read, and that by the config's ``max_seconds``. Longer files can be read in pieces.
A truncated WAV file is refused: libsndfile would read what is left without an error.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray

from muomni_cli.audio.dsp import resample, resampled
from muomni_cli.contract.speech import ReadSettings
from muomni_cli.core.errors import RequestError

RATES = (4_000, 384_000)
"""Samples a second that a file may have."""

CHANNELS = 64
"""Most channels that a file may have."""

LOUDEST = 16.0
"""Largest sample, where full scale is 1. Float files may go over it; ones this far above hold something else, integers
written as floats for example."""

UNKNOWN = 0x7FFF_F000
"""Bytes that a WAV header claims at least where the length was not known, as when a program writes to a pipe."""

AT_ONCE = 1 << 18
"""Samples, of all channels together, that are read at a time."""


def read(config: ReadSettings, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """(N,) samples of a file at ``config.sample_rate``, the mean of its channels.

    Args:
        config: rate, and longest sound.
        file: its bytes; it can seek.
        name: what to call it.

    Raises:
        RequestError: it is no sound, it holds too little (less than one token's worth of samples, 40 ms by default),
            too much, or samples that are no sound.
    """
    longer = "cut it, or raise max_seconds of the encoder"
    with _opened(file, name) as sound:
        _check_header(sound, name, config.max_seconds, longer)
        wave = np.concatenate(list(_mixed(sound, name, config.max_seconds, longer)))
        rate = sound.samplerate
    wave = resample(wave, rate, config.sample_rate)
    _check_enough(config, wave.size, name)
    return wave


def pieces(config: ReadSettings, file: BinaryIO, name: str, max_seconds: float) -> Iterator[NDArray[np.float32]]:
    """The samples of a file as :func:`read` gives them, piece by piece, of up to ``max_seconds``.

    The cuts do not show: each piece is resampled together with what lies around it.

    Raises:
        RequestError: as :func:`read`; what comes late in the file is found when its piece is read.
    """
    longer = "cut it, or allow more with --max-seconds"
    with _opened(file, name) as sound:
        _check_header(sound, name, max_seconds, longer)
        size = 0
        for piece in resampled(_mixed(sound, name, max_seconds, longer), sound.samplerate, config.sample_rate):
            size += piece.size
            yield piece
    _check_enough(config, size, name)


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[soundfile.SoundFile]:
    """The file as libsndfile sees it, whose complaints become ours."""
    _check_promise(file, name)
    try:
        with soundfile.SoundFile(file) as sound:
            yield sound
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a file named .raw says nothing of its format
        detail = f" ({error.error_string.strip().rstrip('.')})" if isinstance(error, soundfile.LibsndfileError) else ""
        raise RequestError(
            f"{name} is no sound that can be read{detail}", "give a WAV, FLAC, Ogg or MP3 file, or convert it to one"
        ) from error


def _check_promise(file: BinaryIO, name: str) -> None:
    """Refuse a WAV file that ends before its samples do; leaves ``file`` at its beginning."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        while len(chunk := file.read(8)) == 8:
            claimed, there = int.from_bytes(chunk[4:], "little"), end - file.tell()
            if chunk[:4] == b"data" and 0 < there < claimed < UNKNOWN:
                raise RequestError(
                    f"{name} is cut off: its header promises {claimed:,} bytes of samples, and {there:,} are there",
                    "restore the file, or save what is left of it with a true header",
                )
            if chunk[:4] == b"data" or claimed > there:
                break
            file.seek(claimed + claimed % 2, io.SEEK_CUR)
    file.seek(0)


def _check_header(sound: soundfile.SoundFile, name: str, max_seconds: float, longer: str) -> None:
    """Refuse what the header itself calls impossible; whether it tells the truth shows in reading."""
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        raise RequestError(
            f"{name} has {sound.samplerate} samples a second; from {RATES[0]} to {RATES[1]} can be read",
            "convert it to a common rate, 16000 for example",
        )
    if sound.channels > CHANNELS:
        raise RequestError(f"{name} has {sound.channels} channels; at most {CHANNELS} can be read", "mix it down first")
    if sound.seekable() and sound.frames > max_seconds * sound.samplerate:
        raise _too_long(name, max_seconds, f" of {_seconds(sound.frames / sound.samplerate)}", longer)


def _mixed(sound: soundfile.SoundFile, name: str, max_seconds: float, longer: str) -> Iterator[NDArray[np.float32]]:
    """Everything in the file, one channel, piece by piece; at least one piece."""
    size = max(1, AT_ONCE // sound.channels)
    limit, held = max_seconds * sound.samplerate, 0
    while (piece := sound.read(size, dtype="float32", always_2d=True)).size:
        held += len(piece)
        if held > limit:
            raise _too_long(name, max_seconds, "", longer)
        mixed = piece.mean(axis=1, dtype=np.float32) if sound.channels > 1 else piece[:, 0]
        _check_samples(mixed, name)
        yield mixed
    if not held:
        raise RequestError(f"{name} holds no sound at all", "give a file with samples in it")


def _check_samples(wave: NDArray[np.float32], name: str) -> None:
    wrong = wave.size - int(np.isfinite(wave).sum())
    if wrong:
        raise RequestError(
            f"{name} holds samples that are no finite numbers ({wrong} of {wave.size:,} looked at)",
            "write the file again, or cut them out",
        )
    if (peak := float(np.abs(wave).max())) > LOUDEST:
        raise RequestError(
            f"{name} holds samples up to {peak:.5g}, where full scale is 1", "scale its samples to lie from -1 to 1"
        )


def _check_enough(config: ReadSettings, samples: int, name: str) -> None:
    if samples < config.shortest:
        raise RequestError(
            f"{name} holds {_seconds(samples / config.sample_rate)}, which is less than one token hears",
            f"give a sound of at least {_seconds(config.shortest / config.sample_rate)}",
        )


def _too_long(name: str, max_seconds: float, length: str, longer: str) -> RequestError:
    return RequestError(f"{name} holds a sound{length}; at most {_seconds(max_seconds)} can be read", longer)


def _seconds(seconds: float) -> str:
    """A length for people: ``6.25 ms``, ``61.5 s``, ``10.0 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.4g} ms"
    return f"{seconds:.4g} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"
