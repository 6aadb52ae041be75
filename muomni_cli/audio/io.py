"""Read audio files as mono samples at a part's rate, full scale 1.

Reads all formats of libsndfile (WAV, FLAC, Ogg, MP3, AIFF, ...), without trusting headers: memory is bounded by
``max_seconds`` of what is really read. Longer files can be read in pieces. A truncated WAV file is refused:
libsndfile would read the rest without an error.
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

RATES = (4_000, 384_000)  # accepted sample rates
CHANNELS = 64  # most channels per file
LOUDEST = 16.0  # largest sample; float files may exceed full scale, but far larger values are mis-scaled integers
UNKNOWN = 0x7FFF_F000  # smallest size in a WAV header that means unknown, as written to a pipe
AT_ONCE = 1 << 18  # samples per read, over all channels


def read(config: ReadSettings, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """(N,) samples of a seekable file at ``config.sample_rate``, the mean of its channels.

    Raises:
        RequestError: it is not audio, too short (less than one token, 40 ms by default), too long, or has invalid
            samples.
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
    """As :func:`read`, in pieces, up to ``max_seconds`` in all. An error late in the file is raised when its piece is
    read."""
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
    _check_promise(file, name)
    try:
        with soundfile.SoundFile(file) as sound:
            yield sound
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a .raw file has no format
        detail = f" ({error.error_string.strip().rstrip('.')})" if isinstance(error, soundfile.LibsndfileError) else ""
        raise RequestError(
            f"{name} is not a readable audio file{detail}", "give a WAV, FLAC, Ogg or MP3 file, or convert it to one"
        ) from error


def _check_promise(file: BinaryIO, name: str) -> None:
    """Refuse a truncated WAV file; leaves ``file`` at its beginning."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        while len(chunk := file.read(8)) == 8:
            claimed, there = int.from_bytes(chunk[4:], "little"), end - file.tell()
            if chunk[:4] == b"data" and 0 < there < claimed < UNKNOWN:
                raise RequestError(
                    f"{name} is truncated: its header says {claimed:,} bytes of samples, and {there:,} are there",
                    "restore the file, or save the rest with a correct header",
                )
            if chunk[:4] == b"data" or claimed > there:
                break
            file.seek(claimed + claimed % 2, io.SEEK_CUR)
    file.seek(0)


def _check_header(sound: soundfile.SoundFile, name: str, max_seconds: float, longer: str) -> None:
    """Refuse an impossible header; whether it is true shows in reading."""
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        raise RequestError(
            f"{name} has a sample rate of {sound.samplerate}; supported are {RATES[0]} to {RATES[1]}",
            "convert it to a common rate, 16000 for example",
        )
    if sound.channels > CHANNELS:
        raise RequestError(f"{name} has {sound.channels} channels; at most {CHANNELS} can be read", "mix it down first")
    if sound.seekable() and sound.frames > max_seconds * sound.samplerate:
        raise _too_long(name, max_seconds, f" of {_seconds(sound.frames / sound.samplerate)}", longer)


def _mixed(sound: soundfile.SoundFile, name: str, max_seconds: float, longer: str) -> Iterator[NDArray[np.float32]]:
    """The whole file as mono, in at least one piece."""
    size = max(1, AT_ONCE // sound.channels)
    limit, held = max_seconds * sound.samplerate, 0
    while (piece := sound.read(size, dtype="float32", always_2d=True)).size:
        held += len(piece)
        if held > limit:
            raise _too_long(name, max_seconds, "", longer)
        mixed = piece.mean(axis=1, dtype=np.float32) if sound.channels > 1 else piece[:, 0]
        if wrong := mixed.size - int(np.isfinite(mixed).sum()):
            raise RequestError(
                f"{name} contains samples that are not finite ({wrong} of {mixed.size:,} checked)",
                "write the file again, or remove them",
            )
        if (peak := float(np.abs(mixed).max())) > LOUDEST:
            raise RequestError(
                f"{name} contains samples up to {peak:.5g}, where full scale is 1",
                "scale its samples to lie from -1 to 1",
            )
        yield mixed
    if not held:
        raise RequestError(f"{name} contains no samples", "give a file with samples in it")


def _check_enough(config: ReadSettings, samples: int, name: str) -> None:
    if samples < config.shortest:
        raise RequestError(
            f"{name} is {_seconds(samples / config.sample_rate)} long, less than one token",
            f"give a recording of at least {_seconds(config.shortest / config.sample_rate)}",
        )


def _too_long(name: str, max_seconds: float, length: str, longer: str) -> RequestError:
    return RequestError(f"{name} holds audio{length}; at most {_seconds(max_seconds)} can be read", longer)


def _seconds(seconds: float) -> str:
    """``6.25 ms``, ``61.5 s``, ``10.0 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.4g} ms"
    return f"{seconds:.4g} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"
