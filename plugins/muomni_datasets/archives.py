"""Sources in archives: tar, and IDX (MNIST and its successors), plain or gzipped.

Tar members are read in place: the archive is indexed once and never unpacked. A path may be one archive, a folder of
them, or a glob (shards). Links, sparse members, and names that lead out of the archive are skipped and reported.

IDX: two zero bytes, the data type (8: bytes), the number of axes, the length of each axis as a big-endian 32-bit
integer, and the data. <http://yann.lecun.com/exdb/mnist/>
"""

from __future__ import annotations

import gzip
import io
import math
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from muomni_cli.api import Example, RequestError, SliceMedia, expand_path, files
from muomni_datasets.config import SIDES, IdxConfig, TarConfig
from muomni_datasets.labeled_files import LONGEST, Namer, read_beside, read_captions, safe_name
from muomni_datasets.text import Files, FilesSource

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""Magic numbers of compressed files, which cannot be read in place."""

MOST = 1 << 30
"""Maximum size of an IDX file's data in bytes, since it is held in memory."""


@dataclass(frozen=True, slots=True)
class ArchiveSlice:
    """Where a member's bytes lie in its archive."""

    offset: int
    size: int


class Tar(FilesSource):
    """The examples of tar archives, in the order of archive names and members."""

    def __init__(self, config: TarConfig) -> None:
        self._config = config
        self._namer = Namer(config)
        super().__init__(Files(config, (".tar",)), self._namer.holdout)

    def documents(self) -> Iterator[Example]:
        for path in self._files.paths():
            self._files.forget(path)
            _refuse_compressed(path)
            yield from self._examples(path)

    def _examples(self, path: Path) -> Iterator[Example]:
        index = self._index(path)

        def beside(name: str) -> str | None:
            place = index.get(name)
            if place is None or place.size > LONGEST:
                return None
            with SliceMedia("", path, place.offset, place.size, name).open() as file:
                return read_beside(file)

        captions = self._captions(path, index)
        for name, place in index.items():
            modality = self._namer.modality(name)
            if modality is None:
                continue
            media = SliceMedia(modality, path, place.offset, place.size, name)
            found = self._namer.example(name, media, str(path), captions, beside)
            if isinstance(found, str):
                self._files.note(path, found)
            elif found is not None:
                yield found

    def _captions(self, path: Path, index: dict[str, ArchiveSlice]) -> dict[str, str]:
        wanted = self._config.captions
        if not wanted:
            return {}
        if wanted not in index:
            self._files.note(path, f"there is no captions file {wanted}")
            return {}
        with SliceMedia("", path, index[wanted].offset, index[wanted].size, wanted).open() as file:
            return read_captions(file, lambda reason: self._files.note(path, reason))

    def _index(self, path: Path) -> dict[str, ArchiveSlice]:
        """Names and positions of regular members; of duplicate names the last one counts, as in tar."""
        index: dict[str, ArchiveSlice] = {}
        try:
            end = path.stat().st_size
            for member in _members(path):
                if member.isdir():
                    continue
                name = safe_name(member.name)
                if name is None:
                    self._files.note(path, f"the name {member.name[:80]!r} leads out of the archive or is not text")
                elif not member.isreg() or member.issparse():
                    self._files.note(path, f"{name} is a link, sparse, or not a file")
                elif member.size < 0 or member.offset_data + member.size > end:
                    self._files.note(path, f"the archive ends inside {name}")
                    break
                elif member.size:
                    index[name] = ArchiveSlice(member.offset_data, member.size)
                else:
                    self._files.note(path, f"{name} is empty")
        except (OSError, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            self._files.note(path, f"damaged tar archive ({' '.join(str(error).split())[:100]})")
        return index


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The headers of an archive, without keeping them. A header that points backwards is an error, since it would loop
    forever; so is an end of the archive that is not zeros, which tarfile accepts."""
    with tarfile.open(path, "r:") as archive:
        reached = -1
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]
            if member.offset <= reached:
                raise tarfile.ReadError("a header points backwards")
            reached = member.offset
            yield member
        with path.open("rb") as file:
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"damaged or truncated at byte {archive.offset:,}")


def _refuse_compressed(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(8)
    for mark, kind in COMPRESSED.items():
        if begin.startswith(mark):
            raise RequestError(
                f"{path} is compressed ({kind}), and members of a compressed archive cannot be read in place",
                "decompress it first; pictures and sounds are already compressed",
            )


@dataclass(frozen=True, slots=True)
class IdxMedia:
    """Picture number ``index`` of an IDX file, opened as PNG."""

    modality: str
    path: Path
    index: int

    @property
    def name(self) -> str:
        return f"picture {self.index} in {self.path}"

    def open(self) -> BinaryIO:
        shape, numbers = load(self.path, 3)
        _, rows, columns = shape
        begin = self.index * rows * columns
        picture = Image.frombytes("L", (columns, rows), bytes(numbers[begin : begin + rows * columns]))
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        file.seek(0)
        return file


class Idx:
    """The examples of an IDX file of pictures and one of labels."""

    def __init__(self, config: IdxConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        if not self._config.images or not self._config.labels:
            raise RequestError("an idx source needs images and labels", "write images = ... and labels = ...")
        found = [expand_path(self._config.images), expand_path(self._config.labels)]
        for path in found:
            files.open_regular(path).close()  # raises if it does not exist
        return found

    def documents(self) -> Iterator[Example]:
        images, labels = self.files()
        (count, _, _), _ = load(images, 3)
        (named,), numbers = load(labels, 1)
        if count != named:
            raise RequestError(
                f"{images} has {count:,} pictures, and {labels} has {named:,} labels",
                "use two files that belong together",
            )
        self.unreadable.clear()
        for index, number in enumerate(numbers):
            label = self._label(number)
            if label is None:
                self.unreadable[str(labels)] = (
                    f"label {number} has no name: there are {len(self._config.classes)} classes"
                )
                continue
            yield Example(
                media=IdxMedia("image", images, index),
                text=label.replace("_", " "),
                key=f"{images.name} {index}",
                label=label,
                source=str(images),
                split=SIDES[self._config.split],
            )

    def _label(self, number: int) -> str | None:
        if not self._config.classes:
            return str(number)
        return self._config.classes[number] if number < len(self._config.classes) else None


def load(path: Path, axes: int) -> tuple[tuple[int, ...], memoryview]:
    """Shape and data of an IDX file of bytes; the last few files are cached.

    Raises:
        RequestError: it does not exist, is not IDX, is too large, or its size does not match its header.
    """
    with files.open_regular(path):
        state = path.stat()
    return _load(path, axes, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _load(path: Path, axes: int, changed: int, size: int) -> tuple[tuple[int, ...], memoryview]:  # noqa: ARG001
    try:
        with files.open_regular(path) as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _parsed(cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw, path, axes)
    except (OSError, EOFError, zlib.error) as error:
        reason = str(error) or type(error).__name__
        raise RequestError(f"{path} cannot be read: {reason}", "download it again") from error


def _parsed(file: BinaryIO, path: Path, axes: int) -> tuple[tuple[int, ...], memoryview]:
    header = file.read(4 + 4 * axes)
    if len(header) < 4 + 4 * axes or header[:4] != bytes([0, 0, 8, axes]):
        what = "gray pictures" if axes == 3 else "labels"
        raise RequestError(
            f"{path} is no IDX file of {what} (it begins with {header[:4].hex() or 'nothing'}, not 000008{axes:02x})",
            "check that images and labels are not swapped",
        )
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, len(header), 4))
    wanted = math.prod(shape)
    if wanted > MOST or wanted == 0:
        raise RequestError(
            f"{path} claims the shape {shape}, {wanted:,} bytes", f"only 1 to {MOST:,} bytes can be read"
        )
    numbers = file.read(wanted + 1)
    if len(numbers) != wanted:
        held = "more" if len(numbers) > wanted else f"{len(numbers):,}"
        raise RequestError(
            f"{path} should hold {wanted:,} bytes after its header, and holds {held}", "download it again"
        )
    return shape, memoryview(numbers)
