"""Whether a bundle is whole and still gives what it gave when it was exported. No PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import MuomniError, RequestError
from muomni_onnx.bundle import AGAIN, REFERENCE, Bundle, open_bundle
from muomni_onnx.distances import absolute, relative
from muomni_onnx.sessions import Session


@dataclass(frozen=True, slots=True)
class Checked:
    """One graph: its precision; how far it is from what PyTorch gave, by largest difference, or, if it is no fp32
    graph, from what it gave itself, relative; what is allowed; its size in bytes."""

    part: str
    graph: str
    precision: str
    error: float
    tolerance: float
    size: int


def check(root: Path) -> list[Checked]:
    """Compare every file with its digest, then every graph with the saved outputs.

    Raises:
        RequestError: it is no whole bundle, or of a newer format.
        MuomniError: a graph gives something else on this machine.
    """
    bundle = open_bundle(root)
    bundle.verify()
    saved = _reference(root)
    checked = [_run(bundle, part, graph, saved) for part, entry in bundle.parts.items() for graph in entry["graphs"]]
    for one in checked:
        if not one.error <= one.tolerance:
            raise MuomniError(
                f"{one.part}: {one.graph} is {one.error:.2g} from what it gave when it was exported, and "
                f"{one.tolerance:.2g} is allowed",
                "try another version of onnxruntime",
            )
    return checked


def _reference(root: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(root / REFERENCE, allow_pickle=False) as saved:
            return dict(saved)
    except (OSError, ValueError, BadZipFile) as error:
        raise RequestError(f"{root / REFERENCE} cannot be read", AGAIN) from error


def _run(bundle: Bundle, part: str, graph: str, saved: dict[str, NDArray[Any]]) -> Checked:
    path, entry = bundle.file(part, graph), bundle.graph(part, graph)
    begin, end = f"{part}/{graph}/in/", f"{part}/{graph}/out/"
    feeds = {name.removeprefix(begin): array for name, array in saved.items() if name.startswith(begin)}
    made = Session(path)(feeds)
    precision = entry.get("precision", "fp32")
    distance = absolute if precision == "fp32" else relative
    errors = [distance(array, made[name.removeprefix(end)]) for name, array in saved.items() if name.startswith(end)]
    return Checked(part, graph, precision, max(errors), entry["tolerance"], path.stat().st_size)
