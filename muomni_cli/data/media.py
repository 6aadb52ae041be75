"""Decode media for encoders in worker processes, into a memory-mapped file. An encoder's ``read`` function is passed by
its dotted name, so that workers can import it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Media
from muomni_cli.contract.declarations import CodecPart, EncoderPart, PartConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe import PartSpec

T = TypeVar("T")
CHUNK = 32  # media per task of a worker
FEW = 64  # up to this many are decoded in this process, because starting workers takes longer


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
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Not forked: this process may have threads of torch or a display.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting: list[tuple[list[T], Any]] = []
        while chunk := list(islice(items, CHUNK)):
            waiting.append((chunk, pool.submit(_decode_chunk, reference, config, [media_of(item) for item in chunk])))
            if len(waiting) > 2 * workers:
                ready, future = waiting.pop(0)
                yield from zip(ready, future.result(), strict=True)
        for ready, future in waiting:
            yield from zip(ready, future.result(), strict=True)


def _decode_chunk(reference: str, config: PartConfig, media: Sequence[Media]) -> list[NDArray[Any] | str]:
    return [_decode(reference, config, one) for one in media]


def _decode(reference: str, config: PartConfig, media: Media) -> NDArray[Any] | str:
    try:
        return read_media(reference, config, media)
    except RequestError as error:
        return error.what


class InputsWriter:
    """Writes arrays of one dtype to ``<path>.bin``, and on closing their shapes to ``<path>.json``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.with_suffix(".bin").open("wb")
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
        self._flat, self._shapes = flat, [tuple(shape) for shape in shapes]
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()

    def __len__(self) -> int:
        return len(self._shapes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._flat[self._starts[place] : self._starts[place + 1]].reshape(self._shapes[place])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return self._shapes


def open_inputs(path: Path) -> Inputs:
    """Open what :class:`InputsWriter` wrote to ``path``."""
    about = json.loads(path.with_suffix(".json").read_text("utf-8"))
    file = path.with_suffix(".bin")
    dtype = np.dtype(about["dtype"] or "u1")
    flat = np.memmap(file, dtype=dtype, mode="r") if file.stat().st_size else np.zeros(0, dtype)
    return Inputs(flat, about["shapes"])
