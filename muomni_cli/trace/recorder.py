"""Records the steps of a trace: shapes, time and statistics of arrays and tensors; imports torch lazily."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from muomni_cli.contract.declarations import Step
from muomni_cli.core.errors import MuomniError

if TYPE_CHECKING:
    from torch import nn

P = ParamSpec("P")
R = TypeVar("R")
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of all elements of a tensor; ``std`` is that of the population."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One recorded step."""

    section: str  # that it belongs to: one image, the text, the Thinker ...
    depth: int  # of nesting
    title: str  # short name
    what: str  # what it does
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    ms: float  # duration, nested steps included
    counts: str = ""  # what became how many of what, in words
    statistics: Statistics | None = None  # of the first output tensor; None for ids
    values: Mapping[str, Any] = field(default_factory=dict)  # further results by name, for JSON

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; non-finite statistics are null."""
        statistics = None
        if self.statistics is not None:
            statistics = {k: v if math.isfinite(v) else None for k, v in asdict(self.statistics).items()}
        return {
            "section": self.section,
            "depth": self.depth,
            "step": self.title,
            "what": self.what,
            "in": [list(shape) for shape in self.inputs],
            "out": [list(shape) for shape in self.outputs],
            "counts": self.counts,
            "ms": round(self.ms, 4),
            "statistics": statistics,
            **self.values,
        }


class TensorRecorder:
    """Steps in the order in which they began; their times exclude that of recording.

    Args:
        wait: blocks until the device has finished all queued work; called before the clock is read.
    """

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self._wait = wait
        self._steps: list[TraceStep | None] = []  # None: begun, not finished
        self._section = ""
        self._depth = 0
        self._finished = -1
        self._overhead = 0.0  # seconds spent on recording

    @property
    def steps(self) -> list[TraceStep]:
        return [step for step in self._steps if step is not None]

    def begin(self, section: str) -> None:
        """Start a section."""
        self._section = section

    def note(self, **changes: Any) -> None:
        """Set fields of the step that finished last."""
        self.change(self._finished, **changes)

    def measure(self, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call, and record it as ``step``."""
        entered = time.perf_counter()
        place = len(self._steps)
        self._steps.append(None)
        self._depth += 1
        self._wait()
        begin = time.perf_counter()
        self._overhead += begin - entered
        overhead = self._overhead
        result = call(*args, **kwargs)
        self._wait()
        end = time.perf_counter()
        seconds = end - begin - (self._overhead - overhead)
        self._depth -= 1
        arguments: list[Any] = [*args, *kwargs.values()]
        given = next((tuple(one.shape) for one in arguments if _is_array(one)), None)
        outputs = arrays_in(result)
        made = [tuple(array.shape) for array in outputs]
        self._steps[place] = TraceStep(
            section=self._section,
            depth=self._depth,
            title=step.title,
            what=step.what,
            inputs=() if given is None else (given,),
            outputs=tuple(made),
            ms=1000 * seconds,
            counts=step.counts(given, made[0]) if step.counts and given is not None and made else "",
            statistics=statistics_of(outputs[0]) if outputs else None,
        )
        self._finished = place
        self._overhead += time.perf_counter() - end
        return result

    def add(self, **values: Any) -> int:
        """Insert a step measured elsewhere, nested in the current one; returns its number for :meth:`change`."""
        self._steps.append(TraceStep(section=self._section, depth=self._depth, **values))
        return len(self._steps) - 1

    def change(self, number: int, **changes: Any) -> None:
        step = self._steps[number]
        assert step is not None, "only finished steps are changed"
        self._steps[number] = replace(step, **changes)

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Time spent inside counts as overhead."""
        begin = time.perf_counter()
        yield
        self._overhead += time.perf_counter() - begin

    @contextmanager
    def watching(self, module: nn.Module, steps: Sequence[Step]) -> Iterator[None]:
        """Record calls inside ``module``: the ``forward`` of a submodule, or a method, is replaced on that object.

        Raises:
            MuomniError: a step names an attribute that does not exist.
        """
        places = [_place(module, step) for step in steps]
        try:
            for step, (owner, name) in zip(steps, places, strict=True):
                setattr(owner, name, partial(self.measure, step, getattr(owner, name)))
            yield
        finally:
            for owner, name in places:
                owner.__dict__.pop(name, None)


def _place(module: nn.Module, step: Step) -> tuple[nn.Module, str]:
    """The object and method name of a step."""
    from torch import nn

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
            "fix `steps` in the plugin that declares the part",
        )
    return owner, last


def default_steps(module: nn.Module) -> list[Step]:
    """Steps of a part that declares none: its top-level submodules, and the elements of module lists."""
    from torch import nn

    found = []
    for name, child in module.named_children():
        inner = child.named_children() if isinstance(child, nn.ModuleList | nn.ModuleDict) else [("", child)]
        found += [
            Step(at=f"{name}.{key}".rstrip("."), title=f"{name} {key}".strip(), what=type(one).__name__)
            for key, one in inner
        ]
    return found


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def arrays_in(value: Any) -> list[Any]:
    """Tensors and arrays in a result: the result itself, or the elements of a tuple, list or dataclass."""
    if _is_array(value):
        return [value]
    if is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, one.name) for one in fields(value)]
    if isinstance(value, tuple | list):
        return [array for one in value if not isinstance(one, int | float) for array in arrays_in(one)]
    return []


def statistics_of(array: Any) -> Statistics | None:
    """None for an empty array or tensor, and for ids."""
    if 0 in array.shape or str(array.dtype).removeprefix("torch.") in ("int64", "bool"):
        return None
    exact = np.asarray(array if isinstance(array, np.ndarray) else array.detach().cpu().double(), np.float64)
    return Statistics(float(exact.mean()), float(exact.std()), float(exact.min()), float(exact.max()))
