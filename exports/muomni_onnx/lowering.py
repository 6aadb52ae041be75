"""An exported graph in the precision asked for, if it stays near enough to PyTorch. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from muomni_cli.api import Graph
from muomni_onnx.choosing import Precision
from muomni_onnx.distances import relative
from muomni_onnx.parity import Parity, compare
from muomni_onnx.precision import Kept, lower
from muomni_onnx.sessions import Session

ALLOWED: dict[Precision, float] = {"fp16": 0.01, "int8": 0.15, "int4": 0.4}
"""Largest relative error of any output on random inputs, over all calls in a row; of codes, the share that differs.
Trained models were measured at 0.001, 0.03 and 0.19, codes at 0, 0.05 and 0.15. It tells a graph that is broken from
one that is rounded. What rounding costs, evaluation says."""


@dataclass(frozen=True, slots=True)
class Written:
    """A graph as it came into the bundle.

    Args:
        precision: what it has.
        parity: with PyTorch: of fp32 by largest difference, of others relative.
        size: bytes of the file.
        kept: what of it is in full precision still, if anything was asked to be lower.
    """

    precision: Precision
    parity: Parity
    size: int
    kept: Sequence[Kept]


def lowered(graph: Graph, path: Path, parity: Parity, wanted: Precision) -> Written:
    """Lower the graph in the file ``path``, which is in fp32 and has ``parity``; leave it where that gains nothing or
    costs too much."""
    full = path.stat().st_size
    if wanted == "fp32":
        return Written("fp32", parity, full, [])
    lower_path = path.with_suffix(".lower")
    made = lower(path, lower_path, wanted, graph.states)
    try:
        if made.precision == "fp32":
            return Written("fp32", parity, full, made.kept)
        near = compare(graph, Session(lower_path), ALLOWED[wanted], relative)
        if not near.holds:
            why = f"{wanted} would be {near.error:.2g} off ({near.where}), and {near.tolerance:.2g} is allowed"
            return Written("fp32", parity, full, [Kept(full, why)])
        lower_path.replace(path)
        return Written(made.precision, near, made.size, made.kept)
    finally:
        lower_path.unlink(missing_ok=True)
