"""Records calls: shapes in and out, time, statistics. Knows tensors and calls, no model.

A call inside of a model is seen by standing in its place for a while: a module's ``forward``, or a method, of this one
object. What recording itself costs is taken out of every time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import MuomniError, Step
from muomni_cli.trace.lines import Line, Statistics

P = ParamSpec("P")
R = TypeVar("R")


class Recorder:
    """Lines in the order in which their steps began.

    Args:
        device: waited for before the clock is read.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
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

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @contextmanager
    def watching(self, module: nn.Module, steps: Sequence[Step]) -> Iterator[None]:
        """Record these calls inside of ``module`` whenever they happen.

        Raises:
            MuomniError: a step names what is not there.
        """
        places = [_place(module, step) for step in steps]
        try:
            for step, (owner, name) in zip(steps, places, strict=True):
                setattr(owner, name, self._standing_in(step, getattr(owner, name)))
            yield
        finally:
            for owner, name in places:
                owner.__dict__.pop(name, None)

    def _standing_in(self, step: Step, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            return self.measure(step, call, *args, **kwargs)

        return recorded


def _place(module: nn.Module, step: Step) -> tuple[nn.Module, str]:
    """The object and its method that a step is."""
    owner: Any = module
    try:
        *path, last = step.at.split(".")
        for name in path:
            owner = getattr(owner, name)
        found = getattr(owner, last)
    except AttributeError:
        found = None
    if isinstance(found, nn.Module):
        return found, "forward"
    if not isinstance(owner, nn.Module) or not callable(found):
        raise MuomniError(
            f"{type(module).__name__} has no submodule or method {step.at!r}, which its steps name",
            "the plugin that declares them must be mended",
        )
    return owner, last


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def arrays_in(value: Any) -> list[Any]:
    """The tensors and arrays that a call gave back, alone, in a tuple, or in a record."""
    if _is_array(value):
        return [value]
    if is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, one.name) for one in fields(value)]
    if isinstance(value, tuple | list):
        return [array for one in value if not isinstance(one, int | float) for array in arrays_in(one)]
    return []


def statistics_of(array: Tensor | NDArray[Any]) -> Statistics | None:
    """None for what is empty, or holds ids."""
    tensor = torch.from_numpy(np.array(array)) if isinstance(array, np.ndarray) else array.detach().cpu()
    if not tensor.numel() or tensor.dtype in (torch.int64, torch.bool):
        return None
    exact = tensor.double()
    low, high = exact.aminmax()
    return Statistics(exact.mean().item(), exact.std(correction=0).item(), low.item(), high.item())


def steps_of(module: nn.Module) -> list[Step]:
    """What to watch in a part that declares no steps: its top-level submodules, and the elements of its lists."""
    found = []
    for name, child in module.named_children():
        inner = child.named_children() if isinstance(child, nn.ModuleList | nn.ModuleDict) else [("", child)]
        found += [
            Step(at=f"{name}.{key}".rstrip("."), title=f"{name} {key}".strip(), what=type(one).__name__)
            for key, one in inner
        ]
    return found
