"""Measurements as plain data and as a table. Measures nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from muomni_cli.bench.measure import Comparison
from muomni_cli.core.errors import RequestError

PACKAGES = ("muomni", "torch", "transformers", "onnxruntime", "onnxruntime-gpu")
"""What can take part."""


@dataclass(frozen=True, slots=True)
class Line:
    """One variation of a benchmark and what came of it. ``unit``: what is counted."""

    setting: str
    comparison: Comparison
    unit: str = "token"


def headings(unit: str = "token") -> tuple[str, ...]:
    """Over :func:`rows`; ``unit``: what is counted."""
    return ("SETTING", "WHO", f"{unit.upper()}S/S", f"MS A {unit.upper()}", "OURS / THEIRS", "FROM", "TO")


def by_unit(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Lines that can stand under the same headings."""
    grouped: dict[str, list[Line]] = {}
    for line in lines:
        grouped.setdefault(line.unit, []).append(line)
    return grouped


def rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
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


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
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
