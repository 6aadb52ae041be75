"""Whether a graph does what PyTorch does: on random inputs of every size that matters, and call after call.

Imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.api import Graph
from muomni_onnx.distances import Distance, absolute, forgiving, of_its_size
from muomni_onnx.sessions import Arrays, Session, fetch

SEED = 20
TIMED = 5
"""Times that each side is timed; the quickest counts."""


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs, what PyTorch gives for them, and what the graph does (nothing where it does not run)."""

    name: str
    feeds: Arrays
    expected: Arrays
    made: Arrays


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from PyTorch.

    Args:
        error: largest distance of any output in any case; infinite where shapes differ or one is NaN.
        where: the case and the output that it was found in.
        tolerance: what is allowed.
        cases: what it was tried with, in order.
        speed: how many times as fast as PyTorch it is on the first case.
    """

    error: float
    where: str
    tolerance: float
    cases: Sequence[Case]
    speed: float

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
        distance: of two arrays; if it is :func:`absolute`, that of states is :func:`of_its_size`.
    """
    distances = _distances(graph, distance)
    random = np.random.default_rng(SEED)
    found = [(0.0, "everywhere")]
    cases: list[Case] = []
    for name, sizes in graph.cases.items():
        feeds = {p.name: coarse(a) for p, a in zip(graph.inputs, graph.draw(sizes, random), strict=True)}
        expected = expect(graph, feeds)
        error, where, made = _apart(session, name, feeds, expected, distances)
        cases.append(Case(name, feeds, expected, made))
        found.append((error, where))
    found.append(_in_a_row(graph, session, random, distances))
    error, where = max(found, key=lambda one: one[0])
    allowed = graph.tolerance if tolerance is None else tolerance
    return Parity(error, where, allowed, cases, _speed(graph, session, cases[0].feeds))


def coarse(drawn: NDArray[Any]) -> NDArray[Any]:
    """Random fp32 numbers with the bits of bfloat16: as good to compare with, and smaller in a compressed file."""
    if drawn.dtype != np.float32:
        return drawn
    return (np.ascontiguousarray(drawn).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _distances(graph: Graph, distance: Distance) -> dict[str, Distance]:
    """How each output that is not loose is measured."""
    states = of_its_size if distance is absolute else distance
    return {
        name: forgiving(states if name in graph.states.values() else distance, graph.undecided)
        for name in graph.outputs
        if name not in graph.loose
    }


def difference(expected: Arrays, made: Arrays, distances: Mapping[str, Distance]) -> tuple[float, str]:
    """The largest distance of any output that has one, and which that is."""
    errors = {name: distance(expected[name], fetch(made[name])) for name, distance in distances.items()}
    name = max(errors, key=lambda name: errors[name])
    return errors[name], name


def _apart(
    session: Session, case: str, feeds: Arrays, expected: Arrays, distances: Mapping[str, Distance]
) -> tuple[float, str, Arrays]:
    """How far the graph is in one case, where, and what it made; infinitely far where it does not run."""
    try:
        made = session(feeds)
    except Exception as failure:  # onnxruntime's errors have no common base
        return float("inf"), f"{case}: {str(failure).partition(chr(10))[0][:200]}", {}
    error, output = difference(expected, made, distances)
    return error, f"{case}: {output}", made


def _in_a_row(
    graph: Graph, session: Session, random: np.random.Generator, distances: Mapping[str, Distance]
) -> tuple[float, str]:
    """Calls of which each takes the states of the one before: the graph its own, PyTorch its own; both PyTorch's where
    some are loose."""
    worst, where = 0.0, ""
    ours, theirs = _zeros(graph), _zeros(graph)
    for call in range(graph.calls):
        free = [port for port in graph.inputs if port.name not in graph.states]
        fresh = {port.name: port.draw(random, port.shape(graph.begin)) for port in free}
        expected = expect(graph, {**fresh, **theirs})
        error, output, made = _apart(session, f"call {call + 1}", {**fresh, **ours}, expected, distances)
        if error > worst:
            worst, where = error, output
        if not made:
            break
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


def _speed(graph: Graph, session: Session, feeds: Arrays) -> float:
    """Seconds of PyTorch for a second of the graph, one after the other in turns; 0 where it does not run."""
    try:
        session(feeds)
    except Exception:  # that was reported
        return 0.0
    rounds = [(_seconds(lambda: expect(graph, feeds)), _seconds(lambda: session(feeds))) for _ in range(TIMED)]
    return min(theirs for theirs, _ in rounds) / min(ours for _, ours in rounds)


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
