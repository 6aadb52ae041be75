"""What PyTorch gave when a bundle was made: inputs, and some numbers of each output. Knows numpy files.

Arrays are called ``part/graph/number/in/name``, ``part/graph/number/out/name`` (at most :data:`SPREAD` values from all
over) and ``.../shape/name``; those of whole answers as :mod:`muomni_onnx.answers` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_onnx.bundle import AGAIN, REFERENCE

LARGEST = 64_000
"""Bytes of inputs above which a case is not kept, unless it is a graph's first."""
SPREAD = 512

Arrays = Mapping[str, NDArray[Any]]


def few(array: NDArray[Any]) -> NDArray[Any]:
    """At most :data:`SPREAD` of the values, always those at the same places."""
    flat = array.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(SPREAD, flat.size)).astype(int)] if flat.size else flat


def case_arrays(prefix: str, number: int, feeds: Arrays, expected: Arrays) -> dict[str, NDArray[Any]]:
    """What is kept of case ``number``; nothing where it is too large. ``prefix``: ``part/graph``."""
    if number and sum(array.nbytes for array in feeds.values()) > LARGEST:
        return {}
    kept = {f"{prefix}/{number}/in/{name}": array for name, array in feeds.items()}
    for name, array in expected.items():
        kept[f"{prefix}/{number}/out/{name}"] = few(array)
        kept[f"{prefix}/{number}/shape/{name}"] = np.array(array.shape)
    return kept


def write_reference(root: Path, arrays: Arrays) -> None:
    """Write them all."""
    np.savez_compressed(root / REFERENCE, allow_pickle=False, **arrays)


class Reference:
    """The reference of a bundle. RequestError if it cannot be read."""

    def __init__(self, root: Path) -> None:
        try:
            with np.load(root / REFERENCE, allow_pickle=False) as saved:
                self._saved = dict(saved)
        except (OSError, ValueError, BadZipFile) as error:
            raise RequestError(f"{root / REFERENCE} cannot be read", AGAIN) from error

    def cases(self, prefix: str) -> Iterator[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]]:
        """Inputs, and for each output its shape and its few values joined as ``shape/name`` and ``out/name``."""
        numbers = {int(key.split("/")[2]) for key in self._saved if key.startswith(f"{prefix}/")}
        for number in sorted(numbers):
            begin = f"{prefix}/{number}/"
            own = {key.removeprefix(begin): array for key, array in self._saved.items() if key.startswith(begin)}
            feeds = {key.removeprefix("in/"): array for key, array in own.items() if key.startswith("in/")}
            yield feeds, {key: array for key, array in own.items() if not key.startswith("in/")}

    def get(self, name: str) -> NDArray[Any] | None:
        """An array of a whole answer; None where the model gives no such answer."""
        return self._saved.get(name)

    def listed(self, prefix: str) -> list[NDArray[Any]]:
        """``prefix/0``, ``prefix/1`` ..."""
        found: list[NDArray[Any]] = []
        while (array := self._saved.get(f"{prefix}/{len(found)}")) is not None:
            found.append(array)
        return found
