"""Graphs that a model without PyTorch runs, as lines of a trace. Knows calls and logs, no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, ParamSpec, TypeVar

from numpy.typing import NDArray

from muomni_cli.contract.engine import GraphCall
from muomni_cli.contract.tracing import Step
from muomni_cli.trace.lines import Line
from muomni_cli.trace.log import Log, statistics_of

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class _More:
    """Further calls of one graph: how many, their seconds, and the number of their line once there is one."""

    count: int = 0
    seconds: float = 0.0
    line: int | None = None


@dataclass(slots=True)
class GraphCalls:
    """Steps, and inside of each the graphs that it runs: the first call of each graph by itself, all others of that
    graph (a spoken text has hundreds) as one line, with the shapes and statistics of the last."""

    log: Log = field(default_factory=Log)
    _seen: dict[tuple[str, str], _More] = field(default_factory=dict)

    @property
    def lines(self) -> list[Line]:
        """What happened so far."""
        return self.log.lines

    def measure(self, title: str, what: str, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call, and record it as a step."""
        self._seen.clear()
        return self.log.measure(Step(at="", title=title, what=what), call, *args, **kwargs)

    def tell(self, call: GraphCall) -> None:
        """One of its graphs was run."""
        with self.log.aside():
            key = call.part, call.graph
            if key not in self._seen:
                self._seen[key] = _More()
                self.log.add(title=f"{call.part}: {call.graph}", **_line(call, "one graph", call.seconds, 1))
                return
            more = self._seen[key]
            more.count += 1
            more.seconds += call.seconds
            line = _line(call, "the same graph again; shapes and numbers of the last time", more.seconds, more.count)
            title = f"{call.part}: {call.graph}, {more.count:,} more"
            if more.line is None:
                more.line = self.log.add(title=title, **line)
            else:
                self.log.change(more.line, title=title, **line)


def _line(call: GraphCall, what: str, seconds: float, calls: int) -> dict[str, Any]:
    """What :class:`muomni_cli.trace.lines.Line` says of it, but for its title."""
    inputs, outputs = _described(call.inputs), _described(call.outputs)
    return {
        "what": what,
        "inputs": tuple(array.shape for array in call.inputs.values()),
        "outputs": tuple(array.shape for array in call.outputs.values()),
        "ms": 1000 * seconds,
        "counts": f"{_names(call.inputs)} -> {_names(call.outputs)}",
        "statistics": next(filter(None, map(statistics_of, call.outputs.values())), None),
        "values": {"part": call.part, "graph": call.graph, "calls": calls, "inputs": inputs, "outputs": outputs},
    }


def _described(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """For JSON."""
    found = {}
    for name, array in arrays.items():
        numbers = statistics_of(array)
        described = {"shape": list(array.shape), "type": str(array.dtype)}
        found[name] = {**described, "statistics": None if numbers is None else asdict(numbers)}
    return found


def _names(names: Iterable[str]) -> str:
    """``inputs_embeds + 8 x past_key_values``: states that differ in numbers alone are counted."""
    grouped = [(family, len(list(group))) for family, group in groupby(name.partition(".")[0] for name in names)]
    return " + ".join(f"{count} x {family}" if count > 1 else family for family, count in grouped)
