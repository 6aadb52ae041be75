"""IDX files of grey pictures and their labels (MNIST and its heirs), plain or gzipped.

The format: two zero bytes, the type of the numbers (8: bytes), how many axes, the length of each axis as a big-endian
32-bit number, and the numbers. <http://yann.lecun.com/exdb/mnist/>
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from muomni_cli.api import Example, RequestError, expand_path, files
from muomni_datasets.config import SIDES
from muomni_datasets.examples_config import IdxConfig

MOST = 1 << 30
"""Most bytes of pictures in one file: all of it is held in memory."""


@dataclass(frozen=True, slots=True)
class IdxMedia:
    """Picture number ``index`` of an IDX file. Opens as PNG."""

    modality: str
    path: Path
    index: int

    @property
    def name(self) -> str:
        """The number and the file."""
        return f"picture {self.index} in {self.path}"

    def open(self) -> BinaryIO:
        """See :class:`muomni_cli.api.Media`."""
        shape, numbers = load(self.path, 3)
        _, rows, columns = shape
        begin = self.index * rows * columns
        picture = Image.frombytes("L", (columns, rows), bytes(numbers[begin : begin + rows * columns]))
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        file.seek(0)
        return file


class Idx:
    """The examples of a file of pictures and a file of labels."""

    def __init__(self, config: IdxConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        if not self._config.images or not self._config.labels:
            raise RequestError("a source of IDX files lacks one of them", "write images = ... and labels = ...")
        found = [expand_path(self._config.images), expand_path(self._config.labels)]
        for path in found:
            files.open_regular(path).close()  # refuses what is not there
        return found

    def documents(self) -> Iterator[Example]:
        images, labels = self.files()
        (count, _, _), _ = load(images, 3)
        (named,), numbers = load(labels, 1)
        if count != named:
            raise RequestError(
                f"{images} has {count:,} pictures, and {labels} has {named:,} labels",
                "name two files that belong together",
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


def build(config: IdxConfig) -> Idx:
    """A source of IDX files."""
    return Idx(config)


def load(path: Path, axes: int) -> tuple[tuple[int, ...], memoryview]:
    """Shape and numbers of an IDX file of bytes. What was read last is remembered by the process.

    Raises:
        RequestError: it is not there, is something else, is too large, or does not hold what its header says.
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
        raise RequestError(f"{path} cannot be read: {str(error) or type(error).__name__}", "get it again") from error


def _parsed(file: BinaryIO, path: Path, axes: int) -> tuple[tuple[int, ...], memoryview]:
    header = file.read(4 + 4 * axes)
    if len(header) < 4 + 4 * axes or header[:4] != bytes([0, 0, 8, axes]):
        what = "grey pictures" if axes == 3 else "labels"
        raise RequestError(
            f"{path} is no IDX file of {what} (it begins with {header[:4].hex() or 'nothing'}, not 000008{axes:02x})",
            "see that pictures and labels are not exchanged",
        )
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, len(header), 4))
    wanted = math.prod(shape)
    if wanted > MOST or wanted == 0:
        raise RequestError(
            f"{path} says that its shape is {shape}, {wanted:,} bytes", f"from 1 to {MOST:,} can be read"
        )
    numbers = file.read(wanted + 1)
    if len(numbers) != wanted:
        held = "more" if len(numbers) > wanted else f"{len(numbers):,}"
        raise RequestError(f"{path} should hold {wanted:,} bytes after its header, and holds {held}", "get it again")
    return shape, memoryview(numbers)
