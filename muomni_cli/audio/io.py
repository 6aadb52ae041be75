"""Read audio files as mono samples at a part's rate, full scale 1.

Reads WAV, RF64, W64, AIFF, AU, CAF, FLAC, Ogg, MP3 and NIST files, without trusting headers: memory is bounded by
``max_seconds`` of what is really read. Longer files can be read in pieces. Truncated files are refused, whatever their
container; other formats of libsndfile are too, because what they lack would not be noticed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import numpy as np
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray

from muomni_cli.audio.containers import complete, truncated
from muomni_cli.audio.dsp import resample, resampled
from muomni_cli.audio.mp3 import Mp3File, is_mp3
from muomni_cli.contract.speech import ReadSettings
from muomni_cli.core.errors import RequestError

RATES = (4_000, 384_000)  # accepted sample rates
CHANNELS = 64  # most channels per file
LOUDEST = 16.0  # largest sample; float files may exceed full scale, but far larger values are mis-scaled integers
UNKNOWN = 0x7FFF_F000  # a size in a WAV header that means unknown, as written to a pipe
QUIETEST = 2.0**-15
"""Smallest peak of a sound that is not silence: what is quieter, 16 bits cannot hold. It was scaled by mistake."""
AT_ONCE = 1 << 18  # samples per read, over all channels
CHECKED = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "SVX", "AU", "CAF", "NIST", "FLAC", "OGG"})
"""Formats of libsndfile whose end is known."""
PLAIN = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")
"""Encodings of single samples, where some bytes too few are a rounding error of a header. Elsewhere a block is gone."""
CANCELING = 0.5
"""Channels cancel out if their mean has less than this share of the energy that independent channels would leave."""


class Sound(Protocol):
    """An open audio file."""

    @property
    def samplerate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def frames(self) -> int: ...  # samples of a channel, at least; 0 if unknown
    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """All samples, (n,channels) with n at most ``size``."""


def read(config: ReadSettings, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """(N,) samples of a seekable file at ``config.sample_rate``, the mean of its channels.

    Raises:
        RequestError: it is not audio, too short (less than one token, 40 ms by default), too long, or has invalid
            samples.
    """
    wave, rate = read_samples(file, name, config.max_seconds, "cut it, or raise max_seconds of the encoder")
    wave = resample(wave, rate, config.sample_rate)
    _check_enough(config, wave.size, name)
    return wave


def read_samples(
    file: BinaryIO, name: str, max_seconds: float, longer: str = "cut it"
) -> tuple[NDArray[np.float32], int]:
    """As :func:`read`, of any length up to ``max_seconds``, at the rate of the file, which is the second value.
    ``longer``: what to do about a longer one."""
    with _opened(file, name) as sound:
        _check_header(sound, name, max_seconds, longer)
        return np.concatenate(list(_mixed(sound, name, max_seconds, longer))), sound.samplerate


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


class _SndFile:
    """An audio file that libsndfile reads."""

    def __init__(self, sound: soundfile.SoundFile) -> None:
        self._sound = sound
        self.samplerate: int = sound.samplerate
        self.channels: int = sound.channels
        self.frames: int = sound.frames if sound.frames < 1 << 62 else 0

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        gain = np.float32((1 << 31) / self._full_scale(size))
        while (block := self._sound.read(size, dtype="float32", always_2d=True)).size:
            yield block if gain == 1 else block * gain

    def _full_scale(self, size: int) -> int:
        """Full scale of 32-bit integers: theirs, or that of 16 or 24 bits if the values need no more. A recording of 32
        bits is hardly that quiet, and one of 24 leaves the lowest byte empty."""
        if self._sound.subtype != "PCM_32":
            return 1 << 31
        peak, bits = 0, 0
        while peak < 1 << 23 and (block := self._sound.read(size, dtype="int32")).size:
            peak = max(peak, int(block.max()), -int(block.min()))
            bits |= int(np.bitwise_or.reduce(block, axis=None))
        self._sound.seek(0)
        if 0 < peak <= 1 << 15:
            return 1 << 15
        return 1 << 23 if peak < 1 << 23 and bits & 0xFF else 1 << 31


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[Sound]:
    if is_mp3(file):
        yield Mp3File(file, name)
        return
    seen, missing = complete(file, name)
    try:
        with soundfile.SoundFile(seen) as sound:
            if sound.format not in CHECKED:
                raise RequestError(f"{name} is in the format {sound.format_info}, which is not read", _CONVERT)
            if missing and not sound.subtype.startswith(PLAIN):
                raise truncated(name, f"{missing} bytes are missing")
            yield _SndFile(sound)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a .raw file has no format
        detail = f" ({error.error_string.strip().rstrip('.')})" if isinstance(error, soundfile.LibsndfileError) else ""
        raise RequestError(f"{name} is not a readable audio file{detail}", _CONVERT) from error


_CONVERT = "give a WAV, FLAC, Ogg or MP3 file, or convert it to one"


def _check_header(sound: Sound, name: str, max_seconds: float, longer: str) -> None:
    """Refuse an impossible header; whether it is true shows in reading."""
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        raise RequestError(
            f"{name} has a sample rate of {sound.samplerate}; supported are {RATES[0]} to {RATES[1]}",
            "convert it to a common rate, 16000 for example",
        )
    if sound.channels > CHANNELS:
        raise RequestError(f"{name} has {sound.channels} channels; at most {CHANNELS} can be read", "mix it down first")
    if sound.frames > max_seconds * sound.samplerate:
        raise _too_long(name, max_seconds, f" of {_seconds(sound.frames / sound.samplerate)}", longer)


def _mixed(sound: Sound, name: str, max_seconds: float, longer: str) -> Iterator[NDArray[np.float32]]:
    """The whole file as mono, in at least one piece."""
    size = max(1, AT_ONCE // sound.channels)
    limit, held, peak = max_seconds * sound.samplerate, 0, 0.0
    for piece in sound.blocks(size):
        held += len(piece)
        if held > limit:
            raise _too_long(name, max_seconds, "", longer)
        peak = max(peak, _checked_peak(piece, name))
        yield piece[:, 0] if sound.channels == 1 else _mono(piece)
    if not held:
        raise RequestError(f"{name} contains no samples", "give a file with samples in it")
    if held < sound.frames:
        raise truncated(name, f"its header says {sound.frames:,} samples, and {held:,} can be read")
    if 0 < peak < QUIETEST:
        raise RequestError(
            f"{name} is quieter than 16 bits can hold: its peak is {20 * math.log10(peak):.0f} dB of full scale",
            "scale its samples to lie from -1 to 1",
        )


def _checked_peak(piece: NDArray[np.float32], name: str) -> float:
    """The largest sample. RequestError for samples that are no numbers, or far beyond full scale."""
    if wrong := len(piece) - int(np.isfinite(piece).all(1).sum()):
        raise RequestError(
            f"{name} contains samples that are not finite ({wrong} of {len(piece):,} checked)",
            "write the file again, or remove them",
        )
    if (peak := float(np.abs(piece).max())) > LOUDEST:
        raise RequestError(
            f"{name} contains samples up to {peak:.5g}, where full scale is 1", "scale its samples to lie from -1 to 1"
        )
    return peak


def _mono(piece: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,channels) -> (n,): their mean; where they cancel out, with the sign that each has to the loudest."""
    mean: NDArray[np.float32] = piece.mean(axis=1, dtype=np.float32)
    energy = np.square(piece).sum(0, dtype=np.float64)
    if np.square(mean).sum(dtype=np.float64) >= CANCELING * energy.sum() / piece.shape[1] ** 2:
        return mean
    signs = np.sign(piece.T @ piece[:, energy.argmax()])
    mixed: NDArray[np.float32] = (piece * signs).mean(axis=1, dtype=np.float32)
    return mixed


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
