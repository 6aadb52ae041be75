"""Alternating measurements in one process, as a table and as JSON."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import RequestError

Work = Callable[[], int]
"""Does the work once; returns the number of items (tokens, images, seconds of audio)."""

Timed = Callable[[], tuple[int, float]]
"""The same; returns the number of items and the seconds it took."""

ROUND_SECONDS = 0.25  # short work is repeated for about this long in each round
PACKAGES = ("muomni", "torch", "transformers", "onnxruntime", "onnxruntime-gpu")  # versions that are reported


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contestant; ``rates``: items per second in each round."""

    name: str
    rates: tuple[float, ...]
    items: int

    @property
    def rate(self) -> float:
        """Median items per second."""
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class Utilization:
    """What our training computes: operations per item, and the device's most per second, from a ``table`` of data
    sheets or ``measured`` with a matrix product."""

    flops: float
    peak: float
    source: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contestants measured in turn; the first is ours, the others are peers. ``utilization``: of ours, where it is
    known."""

    contestants: tuple[Measurement, ...]
    utilization: Utilization | None = None

    @property
    def mfu(self) -> float | None:
        """Share of the device's peak that our model's operations make up (arXiv:2204.02311)."""
        if self.utilization is None:
            return None
        return self.contestants[0].rate * self.utilization.flops / self.utilization.peak

    def ratios(self, peer: str) -> list[float]:
        """Our rate divided by the peer's, round by round: above 1 means that ours is faster."""
        ours = self.contestants[0]
        theirs = next(c for c in self.contestants if c.name == peer)
        return [a / b for a, b in zip(ours.rates, theirs.rates, strict=True)]

    def ratio(self, peer: str) -> float:
        """Median of :meth:`ratios`."""
        return statistics.median(self.ratios(peer))


@dataclass(frozen=True, slots=True)
class Scaling(Comparison):
    """Several processes, one that takes the same steps, and the several without their reduction.

    ``bytes``: of the gradients; ``reduction``: seconds that adding them up takes alone; ``cpu``: least CPU seconds of a
    round of each in the first process, which other work on the machine hardly changes.
    """

    bytes: int = 0
    reduction: float = 0.0
    cpu: tuple[float, ...] = ()

    @property
    def speedup(self) -> float:
        """The best round of several processes against the best of one: what others do on the machine only slows."""
        together, alone, _ = self.contestants
        return max(together.rates) / max(alone.rates)

    def expected(self, steps: int) -> float:
        """The speedup by the model of docs/scaling.md, with rounds of ``steps``: reduction hides behind two thirds of a
        process's own computation."""
        _, alone, unreduced = self.contestants
        own = unreduced.items / max(unreduced.rates) / steps
        return alone.items / max(alone.rates) / steps / (own + max(0.0, self.reduction - own * 2 / 3))


def alternate(contestants: Mapping[str, Work], *, rounds: int, warmup: int = 1) -> Comparison:
    """Measure the contestants in turn, the first of which is ours, for ``rounds`` after ``warmup`` unmeasured ones (for
    allocation, compilation and caches)."""
    gc.collect()
    return take_turns({name: _timed(work) for name, work in contestants.items()}, rounds=rounds, warmup=warmup)


def take_turns(contestants: Mapping[str, Timed], *, rounds: int, warmup: int = 1) -> Comparison:
    """:func:`alternate` for work that measures its own time."""
    names = list(contestants)
    rates: dict[str, list[float]] = {name: [] for name in names}
    items: dict[str, int] = {}
    for turn in range(-warmup, rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            items[name], seconds = contestants[name]()
            if turn >= 0:
                rates[name].append(items[name] / seconds)
    return Comparison(tuple(Measurement(name, tuple(rates[name]), items[name]) for name in names))


def _timed(work: Work) -> Timed:
    def timed() -> tuple[int, float]:
        begin = time.perf_counter()
        items = work()
        return items, time.perf_counter() - begin

    return timed


def long_enough(contestants: Mapping[str, Work]) -> dict[str, Work]:
    """The same work, repeated equally often for all, so that a round of the first takes about :data:`ROUND_SECONDS`."""
    ours = next(iter(contestants.values()))
    ours()
    _, seconds = _timed(ours)()
    times = max(1, round(ROUND_SECONDS / seconds))

    def repeated(work: Work) -> Work:
        return lambda: sum(work() for _ in range(times))

    return {name: repeated(work) for name, work in contestants.items()}


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One setting of a benchmark and its measurements; ``unit``: what is counted."""

    setting: str
    comparison: Comparison
    unit: str = "token"


def headings(unit: str = "token") -> tuple[str, ...]:
    return ("SETTING", "CONTESTANT", f"{unit.upper()}S/S", f"MS/{unit.upper()}", "OURS / THEIRS", "FROM", "TO")


def by_unit(lines: Sequence[BenchRow]) -> dict[str, list[BenchRow]]:
    """Rows grouped by unit, which share headings."""
    grouped: dict[str, list[BenchRow]] = {}
    for line in lines:
        grouped.setdefault(line.unit, []).append(line)
    return grouped


def rows(lines: Sequence[BenchRow]) -> list[tuple[str, ...]]:
    """A row per contestant: median rate, and median, minimum and maximum of the ratio over the rounds."""
    table: list[tuple[str, ...]] = []
    for line in lines:
        for place, one in enumerate(line.comparison.contestants):
            rate = f"{one.rate:,.0f}" if one.rate >= 100 else f"{one.rate:.3g}"
            ratio = ("", "", "")
            if place:
                ratios = line.comparison.ratios(one.name)
                ratio = (f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}")
            table.append(("" if place else line.setting, one.name, rate, f"{1000 / one.rate:.3f}", *ratio))
    return table


def short_names(models: Sequence[str]) -> dict[str, str]:
    """Short name -> model as given: folder names if they are unique. RequestError if a model is given twice."""
    short = [Path(model).name or model for model in models]
    names = short if len(set(short)) == len(short) else models
    if len(set(names)) < len(names):
        raise RequestError("the same model is given twice", "name another model with --vs")
    return dict(zip(names, models, strict=True))


def as_json(lines: Sequence[BenchRow]) -> dict[str, Any]:
    """All rates of all rounds, and the machine."""
    return {
        "machine": machine(),
        "lines": [
            {
                "setting": line.setting,
                "unit": line.unit,
                "contestants": [asdict(one) | {"rate": one.rate} for one in line.comparison.contestants],
                "ratio": {one.name: line.comparison.ratio(one.name) for one in line.comparison.contestants[1:]},
                **_utilization(line.comparison),
            }
            for line in lines
        ],
    }


def _utilization(comparison: Comparison) -> dict[str, Any]:
    if isinstance(comparison, Scaling):
        names = ("speedup", "bytes", "reduction", "cpu")
        return {name: getattr(comparison, name) for name in names}
    if comparison.utilization is None:
        return {}
    return {"mfu": comparison.mfu, "utilization": asdict(comparison.utilization)}


def scaling_line(line: BenchRow, steps: int) -> str:
    """What several processes gained over one, and what the model of communication says; best rounds of each."""
    found = line.comparison
    assert isinstance(found, Scaling), "measured in several processes"
    megabytes, rate = found.bytes / 1e6, found.bytes / found.reduction / 1e9
    return (
        f"{line.setting}: {found.contestants[0].name} are {found.speedup:.2f} times as fast as one (best rounds; "
        f"by CPU time {found.cpu[1] / max(found.cpu[0], 1e-9):.2f}); "
        f"expected {found.expected(steps):.2f}: {megabytes:.1f} MB of gradients in {1000 * found.reduction:.1f} ms "
        f"({rate:.2f} GB/s)"
    )


def utilization_line(line: BenchRow) -> str:
    """``batch 8 length 512: 1.23 GFLOP a token, 41.0 % of 989 TFLOP/s (table)``; empty where it is unknown."""
    used = line.comparison.utilization
    if used is None or line.comparison.mfu is None:
        return ""
    peak = f"{used.peak / 1e12:,.0f} TFLOP/s" if used.peak >= 1e13 else f"{used.peak / 1e9:,.0f} GFLOP/s"
    a_token = f"{used.flops / 1e9:.3f} GFLOP a {line.unit}"
    return f"{line.setting}: {a_token}, MFU {100 * line.comparison.mfu:.1f} % of {peak} ({used.source})"


def machine() -> dict[str, Any]:
    """Processor, cores, and versions of the installed :data:`PACKAGES`."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    found: dict[str, Any] = {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
