"""Where the samples of an audio file lie, and whether all of them are there.

libsndfile believes the lengths in headers: it reads what is left of a truncated file, and no more than a header says,
both without an error. :func:`complete` compares the header with the file before libsndfile sees it: a length that is
unknown, 0 or a few bytes wrong is corrected, and a truncated file is refused.
"""

from __future__ import annotations

import io
import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from muomni_cli.core.errors import RequestError

SLACK = 256
"""Bytes by which a length may be wrong, or that may follow the samples: 8 ms of 16-bit samples at 16 kHz. Headers and
tags that were counted, or forgotten, are that small."""
MOST_CHUNKS = 1000  # before the samples
_CHUNK = re.compile(rb"[A-Za-z(_][A-Za-z0-9 _)]{3}")
_COMMON = re.compile(rb"LIST|list|id3 |ID3 |bext|iXML|_PMX|JUNK|junk|PAD |fact|PEAK|cue |smpl|inst|COMM|MARK|ANNO|info")
_FLAC = re.compile(rb"fLaC[\0\x80]\0\0\x22")  # with the header of its first block
_W64_ID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # the rest of its 16-byte names


@dataclass(frozen=True, slots=True)
class Layout:
    """How the chunks of a container are laid out."""

    first: int  # where the first chunk begins
    name: int  # bytes of a chunk's name
    size: str  # struct format of its size, which follows the name
    data: bytes  # the chunk of the samples
    align: int = 2
    counted: int = 0  # bytes of its header that the size includes
    prefix: int = 0  # bytes of the chunk before the samples
    last: bool = False  # whether libsndfile takes all that follows for samples


@dataclass(frozen=True, slots=True)
class Samples:
    """What a header says of the samples, and where it says it."""

    start: int  # first byte
    claimed: int  # bytes
    field: int = 0  # offset of the length in the file; 0: it cannot be corrected
    size: str = ""  # its struct format
    besides: int = 0  # what it counts besides the samples
    layout: Layout | None = None  # of the chunks that may follow
    last: bool = False  # whether libsndfile takes all that follows for samples


def layout_of(head: bytes) -> Layout | None:
    """The layout of a container of chunks, from its first 40 bytes."""
    magic, form = head[:4], head[8:12]
    if form == b"WAVE" and magic in (b"RIFF", b"RF64", b"BW64"):
        return Layout(12, 4, "<I", b"data")
    if form == b"WAVE" and magic == b"RIFX":
        return Layout(12, 4, ">I", b"data")
    if magic == b"FORM" and form in (b"AIFF", b"AIFC"):
        return Layout(12, 4, ">I", b"SSND", prefix=8)
    if magic == b"FORM" and form in (b"8SVX", b"16SV"):
        return Layout(12, 4, ">I", b"BODY", last=True)
    if magic == b"riff" and head[24:28] == b"wave":
        return Layout(40, 16, "<Q", b"data" + _W64_ID, align=8, counted=24, last=True)
    if magic == b"caff":
        return Layout(8, 4, ">Q", b"data", align=1, prefix=4)
    return None


def complete(file: BinaryIO, name: str) -> tuple[io.RawIOBase, int]:
    """``file`` at its beginning, as libsndfile should read it, and how many bytes it may lack, at most :data:`SLACK`.

    Raises:
        RequestError: it is truncated, or several files in one.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(40)
    file.seek(0)
    seen, missing = _Corrected(file, end), 0
    if head[:4] == b"OggS":
        check_pages(file, end, name)
    elif head[:4] == b"fLaC":
        _check_single(file, name)
    elif (samples := _samples(file, head, end)) is not None and samples.start < end:
        size = _true_size(file, samples, end, name)
        missing = 0 if _is_unknown(samples.claimed) else max(0, samples.claimed - size)
        correct = b""
        if size != samples.claimed and samples.field:
            correct = struct.pack(samples.size, min(size + samples.besides, 256 ** struct.calcsize(samples.size) - 1))
        seen = _Corrected(file, samples.start + size if samples.last else end, samples.field, correct)
    file.seek(0)
    return seen, missing


def truncated(name: str, what: str) -> RequestError:
    return RequestError(f"{name} is truncated: {what}", "restore the file, or save the rest with a correct header")


def _samples(file: BinaryIO, head: bytes, end: int) -> Samples | None:
    """What the header says; None for formats that have no such length."""
    if head[:4] in (b".snd", b"dns."):
        code = ">I" if head[:4] == b".snd" else "<I"
        start, claimed = struct.unpack(code[0] + "II", head[4:12].ljust(8, b"\0"))
        return Samples(start, claimed, 8, code)
    if head[:7] == b"NIST_1A":
        return _sphere(file)
    layout = layout_of(head)
    return None if layout is None else _chunk(file, layout, end)


def _sphere(file: BinaryIO) -> Samples | None:
    """NIST SPHERE: a header of text."""
    text = file.read(1024)
    fields = {key: int(value) for key, value in re.findall(rb"\n(\w+) -i (\d{1,15})\b", text)}
    try:
        size = fields[b"sample_count"] * fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 1)
        return Samples(int(text[8:16]), size, last=True)
    except (KeyError, ValueError):
        return None


def _chunk(file: BinaryIO, layout: Layout, end: int) -> Samples | None:
    """The chunk of the samples."""
    position, long = layout.first, None
    for _ in range(MOST_CHUNKS):
        if position >= end:  # also what no offset can be
            break
        file.seek(position)
        head = file.read(layout.name + struct.calcsize(layout.size))
        if len(head) < layout.name + struct.calcsize(layout.size):
            break
        (size,) = struct.unpack(layout.size, head[layout.name :])
        begin, field, code = position + len(head), position + layout.name, layout.size
        if head[:4] == b"ds64":  # 64-bit sizes of RF64: of the file, then of the samples
            long = (begin + 8, int.from_bytes(file.read(16)[8:], "little"))
        if head[: layout.name] == layout.data:
            if long is not None and size == 0xFFFF_FFFF:
                (field, size), code = long, "<Q"
            besides = layout.counted + layout.prefix
            claimed = max(0, size - besides)
            return Samples(begin + layout.prefix, claimed, field, code, besides, layout, layout.last)
        size = max(0, size - layout.counted)
        position = begin + size + -size % layout.align
    return None


def _true_size(file: BinaryIO, samples: Samples, end: int, name: str) -> int:
    """Bytes of samples in a file of ``end`` bytes. RequestError if some are missing."""
    there = end - samples.start
    if samples.claimed > there:
        if samples.claimed - there > SLACK and not _is_unknown(samples.claimed):
            raise truncated(name, f"its header says {samples.claimed:,} bytes of samples, and {there:,} are there")
        return there
    if there - samples.claimed <= SLACK:
        return samples.claimed
    last, layout = samples.start + samples.claimed, samples.layout
    file.seek(0)
    magic = file.read(4)
    file.seek(last)
    after = file.read(40)
    padded = after[-samples.claimed % layout.align :] if layout is not None else after
    if magic in (after[:4], padded[:4]):
        raise RequestError(f"{name} holds several recordings, one after another", "give each as a file of its own")
    if layout is not None and (_is_chunk(after, layout, end - last) or _is_chunk(padded, layout, end - last)):
        return samples.claimed
    return there


def _is_chunk(head: bytes, layout: Layout, there: int) -> bool:
    """Whether a chunk begins with ``head``, and not more samples: a common one, or one that ends in the file."""
    size = head[layout.name : layout.name + struct.calcsize(layout.size)]
    ends = len(size) == struct.calcsize(layout.size) and struct.unpack(layout.size, size)[0] <= there
    return bool(_COMMON.match(head) or (ends and _CHUNK.match(head)))


def _is_unknown(claimed: int) -> bool:
    """Sizes that programs write which do not know the length, to a pipe for example: 2 or 4 GiB, or the largest that
    fits, perhaps less a header."""
    return 0x7FFF_0000 <= claimed <= 0x8000_1000 or 0xFFFF_0000 <= claimed <= 0xFFFF_FFFF or claimed >= 1 << 62


class _Corrected(io.RawIOBase):
    """A file up to ``end``, with some bytes exchanged. Seeks stay within it: soundfile prints what they raise."""

    def __init__(self, file: BinaryIO, end: int, at: int = 0, content: bytes = b"") -> None:
        self._file, self._end, self._at, self._content = file, end, at, content

    def read(self, size: int = -1) -> bytes:
        begin = self._file.tell()
        room = max(0, self._end - begin)
        found = self._file.read(room if size < 0 else min(size, room))
        first, last = max(self._at, begin), min(self._at + len(self._content), begin + len(found))
        if first < last:
            exchanged = self._content[first - self._at : last - self._at]
            found = found[: first - begin] + exchanged + found[last - begin :]
        return found

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = 0) -> int:
        origin = (0, self._file.tell(), self._end)[whence]
        return self._file.seek(min(max(0, origin + offset), self._end))

    def tell(self) -> int:
        return self._file.tell()


def check_pages(file: BinaryIO, end: int, name: str) -> None:
    """RequestError if pages of an Ogg file are missing, up to the one that is marked as the last (RFC 3533)."""
    position, closed = 0, False
    numbers: dict[bytes, int] = {}  # of the last page, by stream
    while position < end:
        file.seek(position)
        head = file.read(27)
        lengths = file.read(head[26]) if len(head) == 27 else b""
        whole = len(head) == 27 and len(lengths) == head[26] and position + 27 + len(lengths) + sum(lengths) <= end
        if head[:4] != b"OggS"[: len(head)]:
            if closed and end - position <= SLACK:
                return
            raise RequestError(f"{name} is damaged at byte {position:,}: an Ogg page should begin there", _REPAIR)
        if not whole:
            raise truncated(name, "its last Ogg page is cut off")
        if closed and head[5] & 2:
            raise RequestError(f"{name} holds several recordings, one after another", "give each as a file of its own")
        number = int.from_bytes(head[18:22], "little")
        if number != numbers.get(head[14:18], number - 1) + 1:
            raise RequestError(f"{name} is damaged at byte {position:,}: Ogg pages before it are missing", _REPAIR)
        closed, numbers[head[14:18]] = bool(head[5] & 4), number
        position += 27 + len(lengths) + sum(lengths)
    if not closed:
        raise truncated(name, "no Ogg page is marked as the last")


def _check_single(file: BinaryIO, name: str) -> None:
    """RequestError if a second FLAC file begins in this one: libsndfile would read the first."""
    file.seek(4)
    before = b""
    while block := file.read(1 << 20):
        if _FLAC.search(before + block):
            raise RequestError(f"{name} holds several recordings, one after another", "give each as a file of its own")
        before = block[-7:]


_REPAIR = "restore the file, or convert what can be played to a WAV file"
