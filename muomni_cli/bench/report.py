"""Alternating measurements in one process, as a table and as plain data."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import RequestError

Work = Callable[[], int]
"""Does the work once and returns how many items it did (tokens, images, seconds of sound)."""

Timed = Callable[[], tuple[int, float]]
"""Work that says itself how many seconds it took, where that is not until it returns."""

ROUND_SECONDS = 0.25
"""How long short work is repeated in one round, about."""

PACKAGES = ("muomni", "torch", "transformers", "onnxruntime", "onnxruntime-gpu")
"""What can take part."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contestant over all rounds. ``rates`` are items a second, one a round."""

    name: str
    rates: tuple[float, ...]
    items: int

    @property
    def rate(self) -> float:
        """Median items a second."""
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contestants measured in turn. The first one is ours; the others are peers."""

    contestants: tuple[Measurement, ...]

    def ratios(self, peer: str) -> list[float]:
        """Our rate over the peer's, round by round: above 1 means that we are faster."""
        ours = self.contestants[0]
        theirs = next(c for c in self.contestants if c.name == peer)
        return [a / b for a, b in zip(ours.rates, theirs.rates, strict=True)]

    def ratio(self, peer: str) -> float:
        """Median of :meth:`ratios`."""
        return statistics.median(self.ratios(peer))


def alternate(contestants: Mapping[str, Work], *, rounds: int, warmup: int = 1) -> Comparison:
    """Let the contestants take turns.

    Args:
        contestants: name -> work; the first is ours.
        rounds: counted rounds.
        warmup: rounds before them that are not counted (first calls allocate, compile and fill caches).
    """
    gc.collect()
    return take_turns({name: _timed(work) for name, work in contestants.items()}, rounds=rounds, warmup=warmup)


def take_turns(contestants: Mapping[str, Timed], *, rounds: int, warmup: int = 1) -> Comparison:
    """:func:`alternate`, for work that takes its own time."""
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


def long_enough(contestants: Mapping[str, Work]) -> dict[str, Work]:
    """The same work, by all as often in one round as takes the first about :data:`ROUND_SECONDS`."""
    ours = next(iter(contestants.values()))
    ours()
    begin = time.perf_counter()
    ours()
    times = max(1, round(ROUND_SECONDS / (time.perf_counter() - begin)))
    return {name: _repeated(work, times) for name, work in contestants.items()}


def _timed(work: Work) -> Timed:
    def timed() -> tuple[int, float]:
        begin = time.perf_counter()
        items = work()
        return items, time.perf_counter() - begin

    return timed


def _repeated(work: Work, times: int) -> Work:
    return lambda: sum(work() for _ in range(times))


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One variation of a benchmark and what came of it. ``unit``: what is counted."""

    setting: str
    comparison: Comparison
    unit: str = "token"


def headings(unit: str = "token") -> tuple[str, ...]:
    """Over :func:`rows`; ``unit``: what is counted."""
    return ("SETTING", "WHO", f"{unit.upper()}S/S", f"MS A {unit.upper()}", "OURS / THEIRS", "FROM", "TO")


def by_unit(lines: Sequence[BenchRow]) -> dict[str, list[BenchRow]]:
    """Lines that can stand under the same headings."""
    grouped: dict[str, list[BenchRow]] = {}
    for line in lines:
        grouped.setdefault(line.unit, []).append(line)
    return grouped


def rows(lines: Sequence[BenchRow]) -> list[tuple[str, ...]]:
    """One row a contestant: median rate, and the ratio's median, least and most over the rounds."""
    table: list[tuple[str, ...]] = []
    for line in lines:
        for place, one in enumerate(line.comparison.contestants):
            ratios = line.comparison.ratios(one.name)
            ratio = (f"{line.comparison.ratio(one.name):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}")
            table.append(
                (
                    line.setting if place == 0 else "",
                    one.name,
                    f"{one.rate:,.0f}" if one.rate >= 100 else f"{one.rate:.3g}",
                    f"{1000 / one.rate:.3f}",
                    *(ratio if place else ("", "", "")),
                )
            )
    return table


def short_names(models: Sequence[str]) -> dict[str, str]:
    """What to call each of the models that take part -> as it was named: its folder's name where that tells them apart.

    Raises:
        RequestError: two are the same.
    """
    short = [Path(model).name or model for model in models]
    names = short if len(set(short)) == len(short) else models
    if len(set(names)) < len(names):
        raise RequestError("a model would be measured against itself", "name another one with --vs")
    return dict(zip(names, models, strict=True))


def as_json(lines: Sequence[BenchRow]) -> dict[str, Any]:
    """All rates of all rounds, and the machine they were measured on."""
    return {
        "machine": machine(),
        "lines": [
            {
                "setting": line.setting,
                "unit": line.unit,
                "contestants": [asdict(one) | {"rate": one.rate} for one in line.comparison.contestants],
                "ratio": {one.name: line.comparison.ratio(one.name) for one in line.comparison.contestants[1:]},
            }
            for line in lines
        ],
    }


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Processor, cores and the versions of what is installed of ``packages``."""
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
