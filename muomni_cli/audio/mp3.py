"""MP3 files, decoded by miniaudio: the decoder of libsndfile prints to stderr, and reads what is left of a file.

Frame headers: ISO/IEC 11172-3, 2.4.1.3, and 13818-3 for the lower rates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.containers import SLACK, truncated
from muomni_cli.core.errors import RequestError

SEARCH = 1 << 16  # bytes in which the first frame is looked for
LOST = 12
"""Frames whose samples may not come: the encoder's delay and padding, and, where a recording begins in the middle of a
stream, those whose bits lie in the frames before."""
_KEPT = 0xFFFE_0C00  # bits of a header that no frame of a file changes: version, layer, sample rate
_RATES = (44100, 48000, 32000)
_KBITS = {  # by version (1, or 2 and 2.5) and layer
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, from its 4-byte header."""

    header: int
    size: int  # bytes
    samples: int
    rate: int
    channels: int


def frame_of(head: bytes) -> Frame | None:
    """The frame that begins with ``head``; None if none does, or one of a free bit rate."""
    header = int.from_bytes(head[:4].ljust(4, b"\0"), "big")
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    kbits, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    half = version != 3
    hertz = _RATES[rate] >> (2, 0, 1, 0)[version]
    samples = 384 if layer == 1 else 576 if half and layer == 3 else 1152
    slot = 4 if layer == 1 else 1
    bits = _KBITS[1 + half, layer][kbits - 1] * 1000
    size = (samples // 8 // slot * bits // hertz + (header >> 9 & 1)) * slot
    return Frame(header, size, samples, hertz, 1 if header >> 6 & 3 == 3 else 2)


class Mp3File:
    """An open MP3 file; its frames have been counted.

    Raises:
        RequestError: it is damaged or truncated.
    """

    subtype = "MPEG_LAYER_III"

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._begin, first = _first_frame(file, name)
        count, self._end = _count(file, name, self._begin, first)
        self.samplerate, self.channels = first.rate, first.channels
        self.frames = max(0, count - LOST) * first.samples  # at least

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """All samples, (n,channels) with n at most ``size``."""
        import miniaudio  # type: ignore[import-untyped]

        try:
            source = _source(self._file, self._begin, self._end)
            form, to = miniaudio.FileFormat.MP3, miniaudio.SampleFormat.FLOAT32
            for block in miniaudio.stream_any(source, form, to, self.channels, self.samplerate, size):
                yield np.frombuffer(block, np.float32).reshape(-1, self.channels)
        except miniaudio.MiniaudioError as error:
            raise RequestError(f"{self._name} is damaged: its MP3 frames cannot be decoded", _REPAIR) from error


_REPAIR = "restore the file, or convert what can be played to a WAV file"


def _source(file: BinaryIO, begin: int, end: int) -> object:
    """Part of ``file`` for miniaudio."""
    import miniaudio

    class Source(miniaudio.StreamableSource):  # type: ignore[misc]
        def read(self, num_bytes: int) -> bytes:
            return file.read(max(0, min(num_bytes, end - file.tell())))

        def seek(self, offset: int, origin: miniaudio.SeekOrigin) -> bool:
            file.seek(offset + (begin if origin == miniaudio.SeekOrigin.START else file.tell()))
            return True

    file.seek(begin)
    return Source()


def is_mp3(file: BinaryIO) -> bool:
    """Whether it begins as MP3 files do, perhaps after ID3 tags. Leaves ``file`` at its beginning."""
    file.seek(_past_tags(file, 0))
    head = file.read(4)
    file.seek(0)
    return head[:1] == b"\xff" and head[1:2] >= b"\xe0"


def _past_tags(file: BinaryIO, position: int) -> int:
    """The first byte after the ID3v2, ID3v1 and APE tags at ``position``."""
    while True:
        file.seek(position)
        head = file.read(16)
        if head[:3] == b"ID3" and len(head) == 16:
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            position += 10 + size + (10 if head[5] & 0x10 else 0)
        elif head[:3] == b"TAG":
            position += 128
        elif head[:8] == b"APETAGEX" and len(head) == 16:
            position += 32 + int.from_bytes(head[12:16], "little")
        else:
            return position


def _first_frame(file: BinaryIO, name: str) -> tuple[int, Frame]:
    """Where the first frame begins that another one follows, or the end."""
    start = _past_tags(file, 0)
    file.seek(start)
    head = file.read(SEARCH)
    at = head.find(b"\xff")
    while at >= 0:
        if (frame := frame_of(head[at : at + 4])) is not None:
            file.seek(start + at + frame.size)
            following = file.read(4)
            if not following or following[:3] == b"TAG" or _continues(frame, following):
                return start + at, frame
        at = head.find(b"\xff", at + 1)
    raise RequestError(
        f"{name} is not a readable audio file", "give a WAV, FLAC, Ogg or MP3 file, or convert it to one"
    )


def _continues(first: Frame, head: bytes) -> bool:
    return len(head) == 4 and (int.from_bytes(head, "big") ^ first.header) & _KEPT == 0 and frame_of(head) is not None


def _count(file: BinaryIO, name: str, begin: int, first: Frame) -> tuple[int, int]:
    """Frames of the whole file, and where the last one ends. RequestError if they end early, or if something else lies
    between them."""
    end = file.seek(0, os.SEEK_END)
    announced = _announced(file, begin, first)
    position, last, count = begin, begin, 0
    while position < end:
        file.seek(position)
        head = file.read(4)
        if _continues(first, head):
            frame = frame_of(head)
            assert frame is not None
            position, count = position + frame.size, count + 1
            last = position
        elif (past := _past_tags(file, position)) > position:
            position = past
        elif end - position <= SLACK or not _rest(file, position).strip(b"\0"):
            break
        else:
            raise RequestError(f"{name} is damaged at byte {position:,}: an MP3 frame should begin there", _REPAIR)
    if last > end:
        raise truncated(name, "its last MP3 frame is cut off")
    if count < announced:  # whether the first frame counts is not the same for all programs
        raise truncated(name, f"its header announces {announced:,} MP3 frames, and {count:,} are there")
    if 0 < announced < count - 2:
        raise RequestError(f"{name} holds several recordings, one after another", "give each as a file of its own")
    return count, last


def _announced(file: BinaryIO, begin: int, first: Frame) -> int:
    """Frames after the first one, as that says in its Xing, Info or VBRI header; 0 if it has none."""
    file.seek(begin)
    content = file.read(first.size)
    wide = (17, 32) if first.header >> 19 & 3 == 3 else (9, 17)
    xing = 4 + wide[first.channels - 1]
    if content[xing : xing + 4] in (b"Xing", b"Info") and content[xing + 7 : xing + 8] and content[xing + 7] & 1:
        return int.from_bytes(content[xing + 8 : xing + 12], "big")
    if content[36:40] == b"VBRI":
        return int.from_bytes(content[50:54], "big")
    return 0


def _rest(file: BinaryIO, position: int) -> bytes:
    file.seek(position)
    return file.read(SEARCH)
