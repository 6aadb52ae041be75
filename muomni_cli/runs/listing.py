"""Lists of runs, their metrics, and plots of several runs; reads only JSON files."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import RUNS, replacing, write_text
from muomni_cli.registry.registry import did_you_mean
from muomni_cli.runs.run import RunFolder, read_lock

MARKS = "•+x*o#%@"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The entries of a metrics file. Damaged lines, cut off by a crash for example, are left out, which a line on
    stderr says, with their number, once per process."""
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = []
    damaged = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            entry: Any = None
            with suppress(ValueError, RecursionError):
                entry = json.loads(line)
            if _is_entry(entry):
                found.append(entry)
            else:
                damaged += bool(line.strip())
    if damaged:
        _warn(f"warning: {path}: {damaged:,} damaged {'line is' if damaged == 1 else 'lines are'} left out")
    return found


def _is_entry(entry: Any) -> bool:
    """Whether it is a step and numbers."""
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
        return False
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in entry.values())


@functools.cache
def _warn(line: str) -> None:
    """Once per process: a command may read a file several times."""
    say(line)


class MetricsLog:
    """Appends to the metrics file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, step: int) -> None:
        """Drop every line after ``step``, so that a resumed run continues without duplicates."""
        kept = [entry for entry in read_lines(self.path) if entry["step"] <= step]
        write_text(self.path, "".join(f"{json.dumps(entry)}\n" for entry in kept))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line. MuomniError if it cannot be written (a full disk)."""
        line = json.dumps({"step": step, **values})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise MuomniError(
                f"could not write {self.path}: {error.strerror or error}",
                "free some space, then continue from the last checkpoint with --resume",
            ) from error


def find_run(name: str, runs: Path = RUNS) -> RunFolder:
    """A run by name or folder. RequestError, listing the runs, if there is none."""
    for root in (Path(name).expanduser(), runs / name):
        if (root / "model.json").is_file():
            return RunFolder(root)
    known = sorted(path.parent.name for path in runs.glob("*/model.json"))
    listed = f"runs here: {', '.join(known)}" if known else "train one: muomni train all RECIPE"
    raise RequestError(f"there is no run {name!r} under {runs.resolve()}", did_you_mean(name, known, listed))


def summary(run: RunFolder) -> dict[str, Any]:
    """One run for ``runs list``: name, path, stages, size in bytes, age in seconds."""
    model = run.model()
    stages = {}
    for stage, state in model["stages"].items():
        metrics: dict[str, Any] = {}  # the latest value of each
        for line in read_lines(run.stage(stage) / "metrics.jsonl"):
            metrics |= line
        stages[stage] = {
            "status": state.get("status"),
            "step": state.get("step", metrics.get("step")),
            "steps": state.get("steps"),
            "loss": metrics.get("loss"),
            "val_loss": metrics.get("val_loss"),
            "bits_per_byte": metrics.get("val_bits_per_byte"),
        }
    files = [path for path in run.root.rglob("*") if path.is_file()]
    return {
        "name": run.name,
        "path": str(run.root),
        "stages": stages,
        "bytes": sum(path.stat().st_size for path in files),
        "age_seconds": round(time.time() - max(path.stat().st_mtime for path in files)),
    }


def all_runs(runs: Path = RUNS) -> list[dict[str, Any]]:
    """:func:`summary` of every run in ``runs``, newest first. A broken run has ``error``."""
    found = []
    for path in runs.glob("*/model.json"):
        try:
            found.append(summary(RunFolder(path.parent)))
        except RequestError as error:
            broken = {"name": path.parent.name, "path": str(path.parent), "stages": {}, "bytes": 0}
            found.append({**broken, "age_seconds": round(time.time() - path.stat().st_mtime), "error": error.what})
    return sorted(found, key=lambda run: run["age_seconds"])


def details(run: RunFolder) -> dict[str, Any]:
    """One run for ``runs show``: its summary, parts, lock and files."""
    lock = run.root / "lock.json"
    files = [path for path in sorted(run.root.rglob("*")) if path.is_file()]
    return {
        **summary(run),
        "parts": run.model()["parts"],
        "lock": read_lock(lock) if lock.is_file() else None,
        "files": {str(path.relative_to(run.root)): path.stat().st_size for path in files},
    }


def curve(run: RunFolder, metric: str, stage: str | None = None) -> tuple[str, list[int], list[float]]:
    """Stage, steps and values of one metric; by default of the last stage that has it. RequestError, listing the
    metrics, if none has."""
    stages = [stage] if stage else list(reversed(run.model()["stages"]))
    names: set[str] = set()
    for candidate in stages:
        lines = read_lines(run.stage(candidate) / "metrics.jsonl")
        points = [(line["step"], float(line[metric])) for line in lines if _is_finite(line.get(metric, math.nan))]
        if points:
            return candidate, [step for step, _ in points], [value for _, value in points]
        names |= {name for line in lines for name in line} - {"step", "time"}
    raise RequestError(
        f"run {run.name} has no metric {metric!r}" + (f" in stage {stage}" if stage else ""),
        f"there is: {', '.join(sorted(names))}" if names else "it has not logged anything yet",
    )


def _is_finite(value: float) -> bool:
    """False also for an integer that no float can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot. ``measured``: sparse points (validation), each marked in the PNG."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    measured: bool = False


def text_plot(curves: Sequence[Curve], *, columns: int = 80, height: int = 16) -> str:
    """The curves as text with axes and a legend: ``columns`` (at least 24) wide, the canvas ``height`` lines high."""
    steps = [step for curve in curves for step in curve.steps]
    values = [value for curve in curves for value in curve.values]
    left, right, low, high = min(steps), max(steps), min(values), max(values)
    labels = {0: f"{high:.4g}", height // 2: f"{(high + low) / 2:.4g}", height - 1: f"{low:.4g}"}
    margin = max(len(label) for label in labels.values())
    width = max(24, columns) - margin - 2
    canvas = [[" "] * width for _ in range(height)]
    marked = list(zip(curves, MARKS * len(curves), strict=False))
    for curve, mark in marked:
        for step, value in zip(curve.steps, curve.values, strict=True):
            column = round((step - left) / max(1, right - left) * (width - 1))
            row = round((high - value) / ((high - low) or 1.0) * (height - 1))
            canvas[row][column] = mark
    lines = [f"{labels.get(row, ''):>{margin}} │{''.join(cells).rstrip()}" for row, cells in enumerate(canvas)]
    lines.append(f"{'':>{margin}} └{'─' * width}")
    ends = f"{left:<{width - len(str(right))}}{right}"
    lines.append(f"{'':>{margin}}  {f'step {left}':<{width - len(str(right))}}{right}" if left < right else ends)
    return "\n".join([*lines, *(f"{'':>{margin}}  {mark} {curve.name}" for curve, mark in marked)])


def png_plot(curves: Sequence[Curve], metric: str, path: Path) -> None:
    """Write the curves as a PNG. MuomniError if matplotlib is missing or the file cannot be written."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MuomniError("plots need matplotlib, which is not installed", "pip install 'muomni[train]'") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel=metric)
    for curve in curves:
        marker = "o" if curve.measured else "." if len(curve.steps) < 30 else ""
        axes.plot(curve.steps, curve.values, label=curve.name, marker=marker)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
