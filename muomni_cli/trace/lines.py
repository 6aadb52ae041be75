"""What a trace consists of, as plain data. Knows no model and no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of all numbers of one tensor; ``std`` is the population's."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Line:
    """One step that happened.

    Args:
        section: what it belongs to: one picture, the text, the Thinker ...
        depth: how many steps it happened inside of.
        title: a few words to call it by.
        what: what it does.
        inputs: shapes of what went in.
        outputs: shapes of what came out.
        ms: how long it took, what happened inside of it included.
        counts: what became how many of what, in words.
        statistics: of the first tensor that came out; None for ids.
        values: further results by name, for JSON.
    """

    section: str
    depth: int
    title: str
    what: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    ms: float
    counts: str = ""
    statistics: Statistics | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``. A statistic that is no finite number is null."""
        statistics = None if self.statistics is None else {k: _finite(v) for k, v in asdict(self.statistics).items()}
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


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
