"""Samples to files and streams, as they come. Knows formats, not who speaks.

Files appear by rename when they are whole. What goes to a pipe begins with a WAV header that leaves the length open, as
other programs write it; ``raw`` is 16-bit little-endian samples and nothing else.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import replacing
from muomni_cli.sound.reading import UNKNOWN

Write = Callable[[NDArray[np.float32]], None]
"""Takes samples (n,), full scale 1."""

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")} | {
    ".mp3": ("MP3", "MPEG_LAYER_III")
}
STDOUT = Path("-")


class _Bytes(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object: ...


def known_suffixes() -> list[str]:
    """Those that this machine's libsndfile can write."""
    import soundfile  # type: ignore[import-untyped]  # loads a library, which chat without a file need not wait for

    there = soundfile.available_formats()
    return [suffix for suffix, (kind, _) in FORMATS.items() if kind in there]


def check_output(output: Path, *, raw: bool) -> None:
    """Refuse, before anything is spoken, what cannot be written.

    Raises:
        RequestError: the suffix says of no format, it is a folder, or stdout is a terminal.
    """
    if output == STDOUT:
        if sys.stdout is not None and sys.stdout.isatty():
            raise RequestError("samples do not belong on a terminal", "write to a file, or pipe: ... -o - | aplay")
        return
    if output.is_dir():
        raise RequestError(f"{output} is a folder", f"name a file in it: -o {output / 'out.wav'}")
    known = known_suffixes()
    if not raw and not _is_stream(output) and output.suffix.lower() not in known:
        raise RequestError(
            f"the suffix of {output} says of no format that can be written", f"one of: {', '.join(known)}, or --raw"
        )


@contextmanager
def writing(output: Path, rate: int, *, raw: bool = False) -> Iterator[Write]:
    """What writes samples to ``output``: by rename to a file, as they come to stdout (``-``), a pipe or a device.

    Raises:
        MuomniError: the file cannot be written; what was there before is untouched.
        BrokenPipeError: whoever read stdout has gone.
    """
    if output == STDOUT:
        yield streamed(sys.stdout.buffer, rate, raw=raw)
    elif _is_stream(output):
        with output.open("wb", buffering=0) as device:
            yield streamed(device, rate, raw=raw)
    else:
        with replacing(output) as temporary, temporary.open("wb+") as file:
            if raw:
                yield lambda samples: (file.write(as_bytes(samples)), None)[1]
            else:
                with _encoded(file, output, rate) as write:
                    yield write


def streamed(out: _Bytes, rate: int, *, raw: bool) -> Write:
    """Writes to what cannot seek, each time at once; the header with the first samples."""
    begun = raw

    def write(samples: NDArray[np.float32]) -> None:
        nonlocal begun
        out.write((b"" if begun else open_header(rate)) + as_bytes(samples))
        begun = True
        flush = getattr(out, "flush", None)
        if flush is not None:
            flush()

    return write


def open_header(rate: int) -> bytes:
    """The 44 bytes before 16-bit mono samples of a WAV whose length is not known yet."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", UNKNOWN + 36, b"WAVE") + form + struct.pack("<4sI", b"data", UNKNOWN)


def as_bytes(samples: NDArray[np.float32]) -> bytes:
    """16-bit little-endian samples."""
    return as_integers(samples).astype("<i2").tobytes()


def as_integers(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """16-bit samples; what is louder than full scale is cut off."""
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)


class _Watched:
    """A file for libsndfile, which cannot tell us what went wrong: the first error is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """As a file does; nothing after an error."""
        if self.error is not None:
            return 0
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            return 0

    def read(self, size: int = -1) -> bytes:
        """As a file does."""
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file does."""
        try:
            return self.file.seek(offset, whence)
        except OSError as error:  # seeking writes what was held back
            self.error = self.error or error
            return -1

    def tell(self) -> int:
        """As a file does."""
        return self.file.tell()

    def check(self) -> None:
        """Raise what was kept."""
        if self.error is not None:
            raise self.error


@contextmanager
def _encoded(file: BinaryIO, output: Path, rate: int) -> Iterator[Write]:
    """Samples through libsndfile into ``file``."""
    import soundfile

    kind, subtype = FORMATS[output.suffix.lower()]
    watched = _Watched(file)
    try:
        with soundfile.SoundFile(watched, "w", rate, 1, subtype, format=kind) as sound:

            def write(samples: NDArray[np.float32]) -> None:
                try:
                    sound.write(as_integers(samples))
                except (soundfile.SoundFileError, AssertionError):  # it counts what it could write
                    watched.check()
                    raise
                watched.check()

            yield write
        watched.check()
        file.flush()
    except soundfile.SoundFileError as error:
        watched.check()
        raise MuomniError(f"could not write {output}: {error}", "try another format: -o out.wav") from error


def _is_stream(output: Path) -> bool:
    """A device or a named pipe, which must not be replaced."""
    return output.exists() and not output.is_file() and not output.is_dir()
