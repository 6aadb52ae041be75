"""Whether a graph does what PyTorch does: on random inputs of every size that matters, and call after call.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.api import Graph
from muomni_onnx.distances import Distance, absolute
from muomni_onnx.sessions import Arrays, Session

SEED = 20


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from PyTorch.

    Args:
        error: largest distance of any output in any case; infinite where shapes differ or one is NaN.
        where: the case and the output that it was found in.
        tolerance: what is allowed.
        feeds: the inputs of the first case.
        expected: what PyTorch gives for them.
        made: what the graph gives for them.
    """

    error: float
    where: str
    tolerance: float
    feeds: Arrays
    expected: Arrays
    made: Arrays

    @property
    def holds(self) -> bool:
        """Whether the graph may be used."""
        return self.error <= self.tolerance


@torch.inference_mode()
def expect(graph: Graph, feeds: Arrays) -> dict[str, NDArray[Any]]:
    """What PyTorch gives, by the model's own way."""
    tensors = [torch.from_numpy(feeds[port.name]) for port in graph.inputs]
    outputs = (graph.reference or graph.module)(*tensors)
    return {name: output.numpy().copy() for name, output in zip(graph.outputs, outputs, strict=True)}


def compare(graph: Graph, session: Session, tolerance: float | None = None, distance: Distance = absolute) -> Parity:
    """Run ``session`` beside PyTorch over the cases of ``graph``, then over its calls in a row.

    Args:
        graph: what was exported.
        session: what runs it.
        tolerance: what is allowed; by default what ``graph`` declares.
        distance: of two arrays.
    """
    random = np.random.default_rng(SEED)
    worst, where = 0.0, "everywhere"
    first: tuple[Arrays, Arrays, Arrays] | None = None
    for case, sizes in graph.cases.items():
        feeds = {p.name: a for p, a in zip(graph.inputs, graph.draw(sizes, random), strict=True)}
        expected = expect(graph, feeds)
        made = session(feeds)
        first = first or (feeds, expected, made)
        error, output = difference(expected, made, graph.loose, distance)
        if error > worst:
            worst, where = error, f"{case}: {output}"
    error, output = _in_a_row(graph, session, random, distance)
    if error > worst:
        worst, where = error, output
    assert first is not None, "a graph has cases"
    return Parity(worst, where, graph.tolerance if tolerance is None else tolerance, *first)


def difference(
    expected: Arrays, made: Arrays, loose: Collection[str] = (), distance: Distance = absolute
) -> tuple[float, str]:
    """The largest distance of any output that is not ``loose``, and which one has it."""
    errors = {name: distance(value, made[name]) for name, value in expected.items() if name not in loose}
    name = max(errors, key=lambda name: errors[name])
    return errors[name], name


def _in_a_row(graph: Graph, session: Session, random: np.random.Generator, distance: Distance) -> tuple[float, str]:
    """Calls of which each takes the states of the one before: the graph its own, PyTorch its own; both PyTorch's where
    some are loose."""
    worst, where = 0.0, ""
    ours, theirs = _zeros(graph), _zeros(graph)
    for call in range(graph.calls):
        free = [port for port in graph.inputs if port.name not in graph.states]
        fresh = {port.name: port.draw(random, port.shape(graph.begin)) for port in free}
        made, expected = session({**fresh, **ours}), expect(graph, {**fresh, **theirs})
        error, output = difference(expected, made, graph.loose, distance)
        if error > worst:
            worst, where = error, f"call {call + 1}: {output}"
        theirs = {past: expected[now] for past, now in graph.states.items()}
        ours = theirs if graph.loose else {past: made[now] for past, now in graph.states.items()}
    return worst, where


def _zeros(graph: Graph) -> Mapping[str, NDArray[Any]]:
    """The states before the first call."""
    random = np.random.default_rng(0)
    return {
        port.name: np.zeros_like(port.draw(random, port.shape(graph.begin)))
        for port in graph.inputs
        if port.name in graph.states
    }
