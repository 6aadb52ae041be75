"""Modalities and media: pictures and sounds of examples, and those that a command or a request attaches."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import FileMedia, Media
from muomni_cli.contract.declarations import CodecPart, EncoderPart, PartConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.core.workers import WorkerPool
from muomni_cli.data.batches import map_file
from muomni_cli.registry.registry import RegisteredPart, did_you_mean, resolve

if TYPE_CHECKING:
    from muomni_cli.recipe.model import PartSpec

T = TypeVar("T")

CHUNK = 32  # media per task of a worker
FEW = 64  # up to this many are decoded in this process, because starting workers takes longer
STDIN = "-"
MOST_BYTES = 1 << 30  # maximum bytes to read from a pipe; they are held in memory

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Modality:
    """One modality of a model: its encoder's declaration and settings."""

    part: EncoderPart
    config: PartConfig

    @property
    def modality(self) -> str:
        return self.part.modality

    def read(self, media: Media) -> NDArray[Any]:
        """One input of the encoder. RequestError if the media are missing or unreadable."""
        return read_media(self.part.read, self.config, media)

    def num_tokens(self, inputs: NDArray[Any]) -> int:
        return int(resolve(self.part.num_tokens, f"encoder {self.part.name}")(self.config, inputs))

    def allot(self, counts: Sequence[int], context: int) -> list[int]:
        """Tokens to use of each input in a conversation, out of ``counts``. If tokens are in temporal order, the end of
        inputs that do not fit is dropped. Raises RequestError: they do not fit."""
        room = int(context * self.part.max_context_fraction)
        kept, left = [], room
        for count in counts:
            kept.append(min(count, left))
            left -= kept[-1]
        if kept != list(counts) and not (self.part.truncatable and all(kept)):
            raise RequestError(
                f"{len(counts)} {self.modality} input{'s' * (len(counts) > 1)} would take {sum(counts)} tokens, and "
                f"{self.modality} may fill {room} of the context's {context}",
                "give fewer or smaller ones, or train with a larger ctx_len",
            )
        return kept


def modality_of(registered: RegisteredPart, config: PartConfig) -> Modality:
    assert isinstance(registered.part, EncoderPart)
    return Modality(registered.part, config)


def in_order(media: Sequence[Media], modalities: Mapping[str, Modality]) -> list[Media]:
    """Media in the order of the model's modalities, as they precede the text. Raises RequestError: the model has no
    encoder for one of them."""
    known = list(modalities)
    for one in media:
        if one.modality not in known:
            raise RequestError(
                f"this model has no encoder for {one.modality}, which {one.name} needs",
                f"it takes {' and '.join(known)}" if known else "it takes text alone: train the stage omni",
            )
    return sorted(media, key=lambda one: known.index(one.modality))


def read_media(reference: str, config: PartConfig, media: Media) -> NDArray[Any]:
    """One input of an encoder. ``reference``: ``EncoderPart.read``. RequestError if it is missing or unreadable."""
    with media.open() as file:
        array: NDArray[Any] = resolve(reference)(config, file, media.name)
    return array


def decode_all(
    chosen: PartSpec, items: Iterable[T], media_of: Callable[[T], Media], progress: Callable[[str], None]
) -> Iterator[tuple[T, NDArray[Any] | str]]:
    """Every item with its decoded input, in order, or with the reason why it cannot be used."""
    part = chosen.registered.part
    assert isinstance(part, EncoderPart | CodecPart)
    items = iter(items)
    what = part.modality if isinstance(part, EncoderPart) else "speech"
    begin = shown = time.monotonic()
    for done, (item, result) in enumerate(_decoded(part.read, chosen.config, items, media_of), start=1):
        yield item, result
        if time.monotonic() > shown + 5:
            shown = time.monotonic()
            progress(f"decoding {what}: {done:,}, {done / (shown - begin):,.0f} per second")


def _decoded(
    reference: str, config: PartConfig, items: Iterator[T], media_of: Callable[[T], Media]
) -> Iterator[tuple[T, NDArray[Any] | str]]:
    first = list(islice(items, FEW))
    yield from zip(first, _decode_chunk(reference, config, [media_of(item) for item in first]), strict=True)
    if len(first) < FEW:
        return
    with WorkerPool() as pool:
        waiting: list[tuple[list[T], Any]] = []
        while chunk := list(islice(items, CHUNK)):
            waiting.append((chunk, pool.submit(_decode_chunk, reference, config, [media_of(item) for item in chunk])))
            if len(waiting) > 2 * pool.size:
                ready, future = waiting.pop(0)
                yield from zip(ready, future.result(), strict=True)
        for ready, future in waiting:
            yield from zip(ready, future.result(), strict=True)


def _decode_chunk(reference: str, config: PartConfig, media: Sequence[Media]) -> list[NDArray[Any] | str]:
    found: list[NDArray[Any] | str] = []
    for one in media:
        try:
            found.append(read_media(reference, config, one))
        except RequestError as error:
            found.append(error.what)
    return found


class InputsWriter:
    """Writes arrays of one dtype to ``<path>.bin``, and on closing their shapes to ``<path>.json``."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.with_suffix(".bin").open("wb")
        self._shapes: list[tuple[int, ...]] = []
        self._dtype = ""

    def append(self, array: NDArray[Any]) -> int:
        assert self._dtype in ("", array.dtype.str), "an encoder's inputs must have one dtype"
        self._dtype = array.dtype.str
        self._file.write(np.ascontiguousarray(array).tobytes())
        self._shapes.append(array.shape)
        return len(self._shapes) - 1

    def close(self) -> None:
        self._file.close()
        self._path.with_suffix(".json").write_text(json.dumps({"dtype": self._dtype, "shapes": self._shapes}), "utf-8")


class Inputs(Sequence[NDArray[Any]]):
    """Arrays in one memory-mapped file; element i is a view."""

    def __init__(self, flat: NDArray[Any], shapes: Sequence[tuple[int, ...]]) -> None:
        self._flat, self.shapes = flat, [tuple(shape) for shape in shapes]
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._flat[self._starts[place] : self._starts[place + 1]].reshape(self.shapes[place])


def open_inputs(path: Path) -> Inputs:
    """Open what :class:`InputsWriter` wrote to ``path``."""
    about = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return Inputs(map_file(path.with_suffix(".bin"), np.dtype(about["dtype"] or "u1")), about["shapes"])


@dataclass(frozen=True, slots=True)
class PipedMedia:
    """Contents of a pipe. Implements :class:`muomni_cli.api.Media`."""

    modality: str
    name: str
    content: bytes = field(repr=False)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)


def media_at(modality: str, word: str) -> Media:
    """The media that a command-line argument refers to. Pipes are read at once, files when opened. Raises RequestError:
    a URL, or a pipe that is empty, too long, or a terminal."""
    refuse_url(word)
    if word == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise RequestError("there is nothing on stdin", f"pipe {modality} into it, or name a file")
        return _read(modality, "stdin", sys.stdin.buffer)
    if not _is_open_pipe(word):
        return FileMedia(modality, Path(os.path.expanduser(word)))  # Path's own raises for an unknown user
    with Path(word).open("rb") as file:
        return _read(modality, word, file)


def require_one_stdin(words: Sequence[str]) -> None:
    """RequestError if ``-`` occurs twice among ``words`` (FILE or NAME=FILE)."""
    if sum(word.rpartition("=")[2] == STDIN for word in words) > 1:
        raise RequestError("stdin can be read once, and - was given more than once", "name a file for the others")


def refuse_url(word: str) -> None:
    """RequestError if ``word`` is a URL."""
    if _URL.match(word):
        raise RequestError(f"URLs are not fetched: {word}", "download it first, then name the file")


def _read(modality: str, name: str, file: BinaryIO) -> Media:
    content = file.read(MOST_BYTES + 1)
    if not content:
        raise RequestError(f"{name} is empty (0 bytes)", "give a file that holds something")
    if len(content) > MOST_BYTES:
        raise RequestError(f"{name} holds more than {MOST_BYTES >> 20:,} MiB", "save it to a file and name that")
    return PipedMedia(modality, name, content)


def _is_open_pipe(word: str) -> bool:
    """Whether it is an open pipe of a process, which is what a shell passes for ``<(command)``; opening a named pipe
    could block forever."""
    if not re.fullmatch(r"/dev/stdin|/dev/fd/\d+|/proc/\w+/fd/\d+", word):
        return False
    try:
        mode = Path(word).stat().st_mode
    except OSError:  # reported when it is opened
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def attachment(modality: str, path: str, modalities: Mapping[str, Modality]) -> Media:
    """One file for a model with ``modalities``. Raises RequestError: not NAME=PATH, a URL, or the model has no such
    modality."""
    if not modality or not path:
        raise RequestError(f"{modality or path!r} is not NAME=PATH", "for example: --attach image=cat.png")
    if modality not in modalities:
        listed = f"it takes {' and '.join(modalities)}" if modalities else "it takes text alone: train the stage omni"
        raise RequestError(
            f"this model has no encoder for {modality}", did_you_mean(modality, list(modalities), listed)
        )
    return media_at(modality, path)


def check_words(words: Sequence[str]) -> None:
    """Check ``NAME=PATH`` words before a model is opened. RequestError for a URL, or stdin twice."""
    require_one_stdin(words)
    for word in words:
        refuse_url(word.partition("=")[2])


def attachments(words: Sequence[str], modalities: Mapping[str, Modality]) -> list[Media]:
    """``NAME=PATH`` words as media; errors as in :func:`attachment`."""
    require_one_stdin(words)
    pairs = [word.partition("=") for word in words]
    return [attachment(modality, path, modalities) for modality, _, path in pairs]
