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
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from muomni_cli.api import Example, RequestError, SliceMedia, expand_path, files
from muomni_datasets.config import SIDES, IdxConfig, TarConfig
from muomni_datasets.labeled_files import LONGEST, Namer, read_beside, read_captions, safe_name
from muomni_datasets.text import Files, FilesSource, Notes

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""Magic numbers of compressed files, which cannot be read in place."""

MOST = 1 << 30  # maximum size of an IDX file's data in bytes, since it is held in memory


class Archives(FilesSource):
    """Base of sources that read members of tar archives in place."""

    def archives(self) -> Iterator[tuple[Path, dict[str, SliceMedia]]]:
        """Each archive with its :meth:`_index`. Raises RequestError: one is compressed."""
        for path in self._files.paths():
            self._files.forget(path)
            with path.open("rb") as file:
                begin = file.read(8)
            for mark, kind in COMPRESSED.items():
                if begin.startswith(mark):
                    raise RequestError(
                        f"{path} is compressed ({kind}), and members of a compressed archive cannot be read in place",
                        "decompress it first; pictures and sounds are already compressed",
                    )
            yield path, self._index(path)

    def _index(self, path: Path) -> dict[str, SliceMedia]:
        """Regular members by name, without their modality; of duplicate names the last one counts, as in tar."""
        index: dict[str, SliceMedia] = {}
        try:
            end = path.stat().st_size
            for member in _members(path):
                if member.isdir():
                    continue
                name = safe_name(member.name)
                if name is None:
                    reason = f"a name leads out of the archive or is not text ({member.name[:80]!r})"
                    self._files.note(path, reason)
                elif not member.isreg() or member.issparse():
                    self._files.note(path, "is a link, sparse, or not a file", name)
                elif member.size < 0 or member.offset_data + member.size > end:
                    self._files.note(path, f"the archive ends inside {name}")
                    break
                elif member.size:
                    index[name] = SliceMedia("", path, member.offset_data, member.size, name)
                else:
                    self._files.note(path, "is empty", name)
        except (OSError, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            self._files.note(path, f"damaged tar archive ({' '.join(str(error).split())[:100]})")
        return index


class Tar(Archives):
    """The examples of tar archives, in the order of archive names and members."""

    def __init__(self, config: TarConfig) -> None:
        self._config = config
        self._namer = Namer(config)
        super().__init__(Files(config, (".tar",)), self._namer.holdout)

    @property
    def left_out(self) -> Mapping[str, int]:
        return self._files.left_out + self._namer.left_out

    def documents(self) -> Iterator[Example]:
        self._namer.left_out = Counter()
        for path, index in self.archives():
            yield from self._examples(path, index)

    def _examples(self, path: Path, index: Mapping[str, SliceMedia]) -> Iterator[Example]:
        note = partial(self._files.note, path)

        def beside(name: str) -> str | None:
            if name not in index or index[name].size > LONGEST:
                return None
            with index[name].open() as file:
                return read_beside(file, partial(self._files.note, f"{name} in {path}"))

        captions: Mapping[str, str] = {}
        wanted = self._config.captions
        if wanted in index:
            with index[wanted].open() as file:
                captions = read_captions(file, note)
        elif wanted:
            note(f"there is no captions file {wanted}")
        for name, member in index.items():
            found = self._namer.example(name, member, path, captions, beside)
            if isinstance(found, str):
                note(found, name)
            elif found is not None:
                yield found


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
        (_, rows, columns), numbers = load(self.path, 3)
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
        self._notes = Notes()

    @property
    def unreadable(self) -> dict[str, str]:
        return self._notes.unreadable

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
        self._notes.forget(labels)
        classes = self._config.classes
        for index, number in enumerate(numbers):
            if classes and number >= len(classes):
                self._notes.note(labels, f"has no name (there are {len(classes)} classes)", f"label {number}")
                continue
            label = classes[number] if classes else str(number)
            yield Example(
                media=IdxMedia("image", images, index),
                text=label.replace("_", " "),
                key=f"{images.name} {index}",
                label=label,
                source=str(images),
                split=SIDES[self._config.split],
            )


def load(path: Path, axes: int) -> tuple[tuple[int, ...], memoryview]:
    """Shape and data of an IDX file of bytes; the last few files are cached. Raises RequestError: it does not exist, is
    not IDX, is too large, or its size does not match its header."""
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
        fix = f"only 1 to {MOST:,} bytes can be read"
        raise RequestError(f"{path} claims the shape {shape}, {wanted:,} bytes", fix)
    numbers = file.read(wanted + 1)
    if len(numbers) != wanted:
        held = "more" if len(numbers) > wanted else f"{len(numbers):,}"
        problem = f"{path} should hold {wanted:,} bytes after its header, and holds {held}"
        raise RequestError(problem, "download it again")
    return shape, memoryview(numbers)
