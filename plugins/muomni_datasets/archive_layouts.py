"""Converts downloaded archives to the files that recipes read: one uncompressed tar of FLAC, with ``manifest.tsv``.

Archives are streamed clip by clip; nothing is unpacked on disk. Members have no dates or owners, so the same archive
gives the same tar. Clips that cannot be read are left out, counted, and the first of them is named.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile  # type: ignore[import-untyped]

from muomni_cli.api import RequestError, console
from muomni_cli.audio.dsp import resample
from muomni_cli.audio.io import read_samples
from muomni_datasets.story_plots import NUMBERS

Advance = Callable[[int], None]  # progress callback: the number of bytes just read
LARGEST = 1 << 26  # maximum size of a member in bytes; clips are some hundred times smaller
LONGEST = 3600.0  # seconds of a clip
OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""By the first bytes of a compressed file."""


def speech_commands(archives: Sequence[Path], targets: Sequence[Path], advance: Advance) -> None:
    """``word/speaker_nohash_k.flac``, 16 kHz, without the long recordings of noise."""
    clip = re.compile(r"(?:^|/)(?P<word>[a-z]+|_unknown_)/(?P<name>(?P<speaker>[0-9a-f]+)_nohash_\d+)\.wav$")
    with packed(targets[0], ("text", "speaker")) as tar:
        for found, content in _members(archives[0], clip, advance):
            with tar.readable(found.string):
                flac, seconds = to_flac(content, found.string, 16_000)
                tar.add(f"{found['word']}/{found['name']}.flac", flac, (found["word"], found["speaker"]), seconds)


def fsdd(archives: Sequence[Path], targets: Sequence[Path], advance: Advance) -> None:
    """``digit_speaker_take.flac``, 8 kHz as recorded."""
    clip = re.compile(r"/recordings/(?P<name>(?P<digit>\d)_(?P<speaker>[a-z]+)_\d+)\.wav$")
    with packed(targets[0], ("text", "speaker")) as tar:
        for found, content in _members(archives[0], clip, advance):
            with tar.readable(found.string):
                flac, seconds = to_flac(content, found.string, 8_000)
                tar.add(f"{found['name']}.flac", flac, (NUMBERS[int(found["digit"])], found["speaker"]), seconds)


def ljspeech(archives: Sequence[Path], targets: Sequence[Path], advance: Advance) -> None:
    """``LJ001-0001.flac``, resampled to 16 kHz; normalized texts."""
    _ljspeech(archives[0], targets[0], advance, lambda name: True)  # noqa: ARG005


def ljspeech_part(archives: Sequence[Path], targets: Sequence[Path], advance: Advance) -> None:
    """:func:`ljspeech` up to clip ``LJ002-0160``."""
    _ljspeech(archives[0], targets[0], advance, lambda name: name <= "LJ002-0160")


def _ljspeech(archive: Path, target: Path, advance: Advance, wanted: Callable[[str], bool]) -> None:
    member = re.compile(r"(?:^|/)(?:(?P<list>metadata)\.csv|wavs/(?P<name>LJ\d+-\d+)\.wav)$")
    texts: dict[str, str] = {}
    with packed(target, ("text",)) as tar:
        for found, content in _members(archive, member, advance):
            if found["list"]:
                rows = (line.split("|") for line in content.decode("utf-8").splitlines())
                texts |= {row[0]: row[-1].strip() for row in rows if len(row) > 1}
            elif wanted(found["name"]):
                with tar.readable(found.string):
                    flac, seconds = to_flac(content, found.string, 16_000)
                    tar.add(f"{found['name']}.flac", flac, (found["name"],), seconds)
        tar.caption(texts)


def librispeech(archives: Sequence[Path], targets: Sequence[Path], advance: Advance) -> None:
    """``reader/chapter/reader-chapter-k.flac`` as published, 16 kHz; texts in lower case."""
    clip = r"(?P<name>(?P<reader>\d+)-\d+-\d+)\.flac"
    member = re.compile(rf"/(?P<folder>\d+/\d+)/(?:[\d-]+\.(?P<list>trans)\.txt|{clip})$")
    texts: dict[str, str] = {}
    with packed(targets[0], ("text", "speaker")) as tar:
        for found, content in _members(archives[0], member, advance):
            if found["list"]:
                rows = (line.partition(" ") for line in content.decode("utf-8").splitlines())
                texts |= {name: text.strip().lower() for name, _, text in rows if text}
            else:
                with tar.readable(found.string):
                    name, row = f"{found['folder']}/{found['name']}.flac", (found["name"], found["reader"])
                    wave, rate = read_samples(io.BytesIO(content), found.string, LONGEST)
                    tar.add(name, content, row, len(wave) / rate)
        tar.caption(texts)


def to_flac(content: bytes, name: str, rate: int) -> tuple[bytes, float]:
    """Convert a sound file to mono 16-bit FLAC at ``rate``, resampling only if needed; also returns its seconds.
    Raises RequestError: it cannot be read, or is damaged."""
    wave, own = read_samples(io.BytesIO(content), name, LONGEST)
    samples = np.clip(np.rint(resample(wave, own, rate) * 32768), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue(), len(samples) / rate


class PackedClips:
    """Writes a tar of clips with a manifest of path, columns and seconds.

    Attributes:
        unreadable: what is wrong with each clip that was left out, by its name in the archive.
    """

    def __init__(self, archive: tarfile.TarFile, columns: Sequence[str]) -> None:
        self._archive, self._columns = archive, columns
        self._rows: dict[str, tuple[tuple[str, ...], float]] = {}
        self.unreadable: dict[str, str] = {}

    @contextmanager
    def readable(self, name: str) -> Iterator[None]:
        """Around the reading of a clip: it is left out if it is damaged."""
        try:
            yield
        except RequestError as error:
            self.unreadable[name] = error.what

    def add(self, name: str, content: bytes, row: tuple[str, ...], seconds: float) -> None:
        """Write a clip; ``row[0]`` is its text, or the key of its text in :meth:`caption`. Raises ValueError: duplicate
        name."""
        if name in self._rows:
            raise ValueError(f"{name} occurs twice")
        self._rows[name] = row, seconds
        self._write(name, content)

    def caption(self, texts: Mapping[str, str]) -> None:
        """Replace the first column of every row by its text. Raises ValueError: a clip without text."""
        for name, (row, seconds) in self._rows.items():
            if not texts.get(row[0]):
                raise ValueError(f"{name} has no text")
            self._rows[name] = (" ".join(texts[row[0]].split()), *row[1:]), seconds

    def finish(self) -> None:
        """Write the manifest; say how many clips were left out. Raises ValueError: there are no clips."""
        first = next(iter(self.unreadable.values()), "")
        if not self._rows:
            raise ValueError(f"no clip of the archive can be read: {first}" if first else "there are no clips in it")
        if first:
            total = len(self._rows) + len(self.unreadable)
            console.say(f"warning: {len(self.unreadable):,} of {total:,} clips are left out; the first: {first}")
        lines = ["\t".join(("path", *self._columns, "seconds"))]
        lines += ["\t".join((name, *row, f"{seconds:.3f}")) for name, (row, seconds) in self._rows.items()]
        self._write("manifest.tsv", ("\n".join(lines) + "\n").encode("utf-8"))

    def _write(self, name: str, content: bytes) -> None:
        header = tarfile.TarInfo(name)
        header.size = len(content)
        self._archive.addfile(header, io.BytesIO(content))
        self._archive.members = []  # type: ignore[attr-defined]  # tarfile would keep the headers of all members


@contextmanager
def packed(target: Path, columns: Sequence[str]) -> Iterator[PackedClips]:
    """Write a tar of clips to ``target``; the manifest is its last member."""
    with tarfile.open(target, "w") as archive:
        clips = PackedClips(archive, columns)
        yield clips
        clips.finish()


class _Counted(io.RawIOBase):
    """A file that reports how much of it was read."""

    def __init__(self, file: BufferedReader, advance: Advance) -> None:
        self._file, self._advance = file, advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._advance(count)
        return count


class _Blocks(io.RawIOBase):
    """A file that remembers what was read last: the block that tarfile took for the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.last = file, b""

    def read(self, size: int = -1) -> bytes:
        self.last = self._file.read(size)
        return self.last


def _members(archive: Path, wanted: re.Pattern[str], advance: Advance) -> Iterator[tuple[re.Match[str], bytes]]:
    """Regular files whose names match, in archive order. Raises what :data:`OPENERS` raise for damaged archives, and
    ValueError: the archive does not end as it should. tarfile takes any damaged header and any zeros for the end, and
    checks no checksum of gzip."""
    with archive.open("rb") as file:
        begin = file.peek(6)
        opened = next((opener for mark, opener in OPENERS.items() if begin.startswith(mark)), None)
        counted = io.BufferedReader(_Counted(file, advance), 1 << 16)
        content = opened(counted) if opened is not None else counted
        blocks = _Blocks(content)
        with tarfile.open(fileobj=blocks, mode="r|", bufsize=tarfile.BLOCKSIZE) as tar:
            yield from _matching(tar, wanted)
        if blocks.last != bytes(tarfile.BLOCKSIZE):
            raise ValueError("the archive is damaged or truncated")
        while rest := content.read(1 << 20):  # up to the checksum
            if rest.strip(b"\0"):
                raise ValueError("the archive goes on after its end: it is damaged, or several in one")


def _matching(tar: tarfile.TarFile, wanted: re.Pattern[str]) -> Iterator[tuple[re.Match[str], bytes]]:
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]
        found = wanted.search(member.name) if member.isreg() else None
        content = tar.extractfile(member) if found and 0 < member.size <= LARGEST else None
        if found and content:
            yield found, content.read()
        elif found:
            raise ValueError(f"{member.name} has an impossible size ({member.size:,} bytes)")
