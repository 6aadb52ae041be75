"""Token shards: one stream of ids on disk, written piece by piece and read through a memory map.

A stream is ``<name>.tokens`` (little-endian uint16 where the vocabulary allows, else uint32) and, only where not every
token is to be learned, ``<name>.mask`` (one byte a token). Knows nothing of documents, splits or windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

FILL = 1 << 20
"""Bytes of mask written at a time where one has to be filled in later."""


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class Stream:
    """N tokens on disk, in the order of their documents.

    Args:
        source: which source of the recipe they came from, for people.
        tokens: (N,) ids, memory-mapped.
        mask: (N,) 1 where the token is to be learned, memory-mapped; None where all are.
    """

    source: str
    tokens: NDArray[Any]
    mask: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.tokens)


def open_stream(path: Path, source: str, dtype: np.dtype[Any]) -> Stream:
    """Map what :class:`StreamWriter` wrote to ``path``."""
    mask = path.with_suffix(".mask")
    return Stream(source, _map(path, dtype), _map(mask, np.dtype(np.uint8)) if mask.exists() else None)


def _map(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


class StreamWriter:
    """Appends to a stream. The mask file is begun by the first document that is not to be learned whole.

    Args:
        path: the ``.tokens`` file.
        dtype: what :func:`token_type` says.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._path = path
        self._dtype = dtype
        self._open = ExitStack()
        self._tokens: BinaryIO = self._open.enter_context(path.open("wb"))
        self._mask: BinaryIO | None = None
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def append(self, ids: Sequence[int], mask: Sequence[bool] | None = None) -> None:
        """Add tokens, and for each whether it is to be learned (all of them where ``mask`` is None)."""
        self._tokens.write(np.asarray(ids, self._dtype).tobytes())
        if mask is not None and self._mask is None:
            self._mask = self._open.enter_context(self._path.with_suffix(".mask").open("wb"))
            for start in range(0, self.count, FILL):
                self._mask.write(b"\1" * min(FILL, self.count - start))
        if self._mask is not None:
            self._mask.write(bytes(mask) if mask is not None else b"\1" * len(ids))
        self.count += len(ids)
