"""Measures calls: shapes in and out, time, statistics. Knows arrays and calls, no model and no torch.

What measuring itself costs is taken out of every time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, ParamSpec, TypeVar

import numpy as np

from muomni_cli.contract.tracing import Step
from muomni_cli.trace.lines import Line, Statistics

P = ParamSpec("P")
R = TypeVar("R")


class Log:
    """Lines in the order in which their steps began."""

    def __init__(self) -> None:
        self._lines: list[Line | None] = []  # None: has begun
        self._section = ""
        self._depth = 0
        self._finished = -1
        self._own = 0.0  # seconds spent in here

    @property
    def lines(self) -> list[Line]:
        """What happened so far."""
        return [line for line in self._lines if line is not None]

    def begin(self, section: str) -> None:
        """What happens from now on belongs to ``section``."""
        self._section = section

    def note(self, **changes: Any) -> None:
        """Say more of the step that was finished last; see :class:`muomni_cli.trace.lines.Line`."""
        line = self._lines[self._finished]
        assert line is not None, "it is finished"
        self._lines[self._finished] = replace(line, **changes)

    def measure(self, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call, and record it as ``step``."""
        place, begin = self._enter()
        result = call(*args, **kwargs)
        self._leave(place, begin, step, [*args, *kwargs.values()], result)
        return result

    def _enter(self) -> tuple[int, float]:
        entered = time.perf_counter()
        self._lines.append(None)
        self._depth += 1
        self._wait()
        now = time.perf_counter()
        self._own += now - entered
        return len(self._lines) - 1, now - self._own

    def _leave(self, place: int, begin: float, step: Step, given: Sequence[Any], result: Any) -> None:
        self._wait()
        now = time.perf_counter()
        seconds = now - self._own - begin
        self._depth -= 1
        inputs, outputs = [tuple(a.shape) for a in given if _is_array(a)][:1], arrays_in(result)
        shapes = [tuple(array.shape) for array in outputs]
        self._lines[place] = Line(
            section=self._section,
            depth=self._depth,
            title=step.title,
            what=step.what,
            inputs=tuple(inputs),
            outputs=tuple(shapes),
            ms=1000 * seconds,
            counts=step.counts(inputs[0], shapes[0]) if step.counts and inputs and shapes else "",
            statistics=statistics_of(outputs[0]) if outputs else None,
        )
        self._finished = place
        self._own += time.perf_counter() - now

    def add(self, **line: Any) -> int:
        """Put in what happened inside of the step that is being measured, and was measured by somebody else; its number
        for :meth:`change`. See :class:`muomni_cli.trace.lines.Line`."""
        self._lines.append(Line(section=self._section, depth=self._depth, **line))
        return len(self._lines) - 1

    def change(self, number: int, **changes: Any) -> None:
        """Say more of what was put in."""
        line = self._lines[number]
        assert line is not None, "it is there"
        self._lines[number] = replace(line, **changes)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The time inside of it is no part of what is being measured."""
        begin = time.perf_counter()
        yield
        self._own += time.perf_counter() - begin

    def _wait(self) -> None:
        """Until all that was begun is done."""


def _is_array(value: Any) -> bool:
    """An array, or a tensor."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def arrays_in(value: Any) -> list[Any]:
    """The tensors and arrays that a call gave back, alone, in a tuple, or in a record."""
    if _is_array(value):
        return [value]
    if is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, one.name) for one in fields(value)]
    if isinstance(value, tuple | list):
        return [array for one in value if not isinstance(one, int | float) for array in arrays_in(one)]
    return []


def statistics_of(array: Any) -> Statistics | None:
    """Of an array or a tensor; None for what is empty, or holds ids."""
    if 0 in array.shape or str(array.dtype).removeprefix("torch.") in ("int64", "bool"):
        return None
    exact = np.asarray(array if isinstance(array, np.ndarray) else array.detach().cpu().double(), np.float64)
    return Statistics(float(exact.mean()), float(exact.std()), float(exact.min()), float(exact.max()))
