"""Measurements as plain data and as a table. Measures nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from muomni_cli.bench.measure import Comparison


@dataclass(frozen=True, slots=True)
class Line:
    """One variation of a benchmark and what came of it."""

    setting: str
    comparison: Comparison


def headings(unit: str = "token") -> tuple[str, ...]:
    """Over :func:`rows`; ``unit``: what is counted."""
    return ("SETTING", "WHO", f"{unit.upper()}S/S", f"MS A {unit.upper()}", "OURS / THEIRS", "FROM", "TO")


def rows(lines: list[Line]) -> list[tuple[str, ...]]:
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


def as_json(lines: list[Line], packages: tuple[str, ...] = ("muomni", "torch", "transformers")) -> dict[str, Any]:
    """All rates of all rounds, and the machine they were measured on."""
    return {
        "machine": machine(packages),
        "lines": [
            {
                "setting": line.setting,
                "contestants": [asdict(one) | {"rate": one.rate} for one in line.comparison.contestants],
                "ratio": {one.name: line.comparison.ratio(one.name) for one in line.comparison.contestants[1:]},
            }
            for line in lines
        ],
    }


def machine(packages: tuple[str, ...]) -> dict[str, Any]:
    """Processor, cores and the versions of what takes part."""
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
