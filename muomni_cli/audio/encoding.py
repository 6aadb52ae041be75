"""Samples to the bytes of an audio file while they are made: for streams, which are never rewound, and whole files."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.dsp import resampled
from muomni_cli.audio.io import UNKNOWN

PCM_RATE = 24_000  # of raw samples, which cannot say their rate; that of OpenAI's interfaces
MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A format of :data:`FORMATS`.

    ``container`` and ``subtype``: of libsndfile; empty for raw samples. ``rates``: those that it can have; any if
    empty. ``media_type``: for HTTP. ``streams``: it can be read before it is complete; the header of others must tell
    the length.
    """

    container: str
    subtype: str
    media_type: str
    rates: tuple[int, ...] = ()
    streams: bool = True

    def rate(self, rate: int) -> int:
        """The rate to write samples of ``rate`` with: the same, or the next higher one."""
        if not self.rates or rate in self.rates:
            return rate
        return min((one for one in self.rates if one > rate), default=self.rates[-1])


FORMATS = {
    "wav": AudioFormat("WAV", "PCM_16", "audio/wav"),
    "pcm": AudioFormat("", "", "audio/pcm", (PCM_RATE,)),
    "flac": AudioFormat("FLAC", "PCM_16", "audio/flac", streams=False),
    "mp3": AudioFormat("MP3", "MPEG_LAYER_III", "audio/mpeg", MPEG_RATES),
    "opus": AudioFormat("OGG", "OPUS", "audio/ogg", OPUS_RATES),
}
"""By name: 16-bit mono WAV, raw little-endian 16-bit samples at 24 kHz, FLAC, MP3, and Opus in Ogg."""


def as_bytes(samples: NDArray[np.float32]) -> bytes:
    """16-bit little-endian samples."""
    return as_integers(samples).astype("<i2").tobytes()


def as_integers(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """16-bit samples, clipped at full scale."""
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)


def wav_header(rate: int) -> bytes:
    """44 bytes: 16-bit mono WAV of unknown length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", UNKNOWN + 36, b"WAVE") + form + struct.pack("<4sI", b"data", UNKNOWN)


def encoded(pieces: Iterable[NDArray[np.float32]], rate: int, form: AudioFormat) -> Iterator[bytes]:
    """Samples (n,), full scale 1, at ``rate`` as a stream with one header, at ``form.rate(rate)``. The header does not
    tell the length, which is not known. What is encoded is passed on at once, or at the end if the format does not
    stream: there is something, or nothing, for every piece."""
    pieces = resampled(pieces, rate, form.rate(rate))
    if form.container in ("", "WAV"):
        header = wav_header(rate) if form.container else b""
        for piece in pieces:
            yield header + as_bytes(piece)
            header = b""
        return
    if not form.streams:
        held = [np.zeros(0, np.float32)]
        for piece in pieces:
            held.append(piece)
            yield b""
        pieces = [np.concatenate(held)]
    for made in _through_libsndfile(pieces, form.rate(rate), form):
        if form.streams:
            yield bytes(made)
            made.clear()
    if not form.streams:
        yield bytes(made)


def encode(samples: NDArray[np.float32], rate: int, form: AudioFormat) -> bytes:
    """A whole file of samples (N,), whose header tells its length. One of no samples holds a silent one, because not
    every format can be empty."""
    if not samples.size:
        samples = np.zeros(1, np.float32)
    pieces = resampled([samples], rate, form.rate(rate))
    if not form.container:
        return b"".join(map(as_bytes, pieces))
    *_, made = _through_libsndfile(pieces, form.rate(rate), form)
    return bytes(made)


def _through_libsndfile(pieces: Iterable[NDArray[np.float32]], rate: int, form: AudioFormat) -> Iterator[bytearray]:
    """The bytes that are not taken yet, after each piece and at the end."""
    import soundfile  # type: ignore[import-untyped]

    sink = _Sink()
    # A decoder estimates the length of a stream from its bit rate, which must therefore not change.
    mode = "CONSTANT" if form.container == "MP3" else None
    with soundfile.SoundFile(
        sink,
        "w",
        rate,
        1,
        form.subtype,
        format=form.container,
        bitrate_mode=mode,
        compression_level=0.5 if mode else None,
    ) as sound:
        for piece in pieces:
            sound.write(as_integers(piece))
            yield sink.fresh
    yield sink.fresh


class _Sink:
    """A file for libsndfile that keeps only the bytes that were not taken out of ``fresh``. Encoders go back to their
    header at the end; what was taken stays as it was."""

    def __init__(self) -> None:
        self.fresh = bytearray()
        self._place = 0  # in the file
        self._end = 0

    def write(self, data: bytes) -> int:
        content = bytes(data)
        place = self._place - (self._end - len(self.fresh))
        kept = content[max(0, -place) :]
        place = max(0, place)
        self.fresh[place : place + len(kept)] = kept
        self._place += len(content)
        self._end = max(self._end, self._place)
        return len(content)

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - it is only written
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._end)[whence]
        return self._place

    def tell(self) -> int:
        return self._place
