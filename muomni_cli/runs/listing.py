"""What runs there are and how far they have come, read from their JSON files alone. Imports no torch."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json
from muomni_cli.registry.registry import did_you_mean
from muomni_cli.runs.folder import RUNS, RunFolder
from muomni_cli.runs.metrics import read_lines

NOT_METRICS = frozenset({"step", "time"})


def find_run(name: str, runs: Path = RUNS) -> RunFolder:
    """A run by name or by folder.

    Raises:
        RequestError: names the runs that there are.
    """
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
        metrics = last_metrics(run, stage)
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
    """:func:`summary` of every run under ``runs``, the newest first. A broken one says so in ``error``."""
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
    return {
        **summary(run),
        "parts": run.model()["parts"],
        "lock": read_json(lock) if lock.is_file() else None,
        "files": {
            str(path.relative_to(run.root)): path.stat().st_size
            for path in sorted(run.root.rglob("*"))
            if path.is_file()
        },
    }


def last_metrics(run: RunFolder, stage: str) -> dict[str, Any]:
    """The newest value of every metric of a stage."""
    latest: dict[str, Any] = {}
    for line in read_lines(run.stage(stage) / "metrics.jsonl"):
        latest |= line
    return latest


def curve(run: RunFolder, metric: str, stage: str | None = None) -> tuple[str, list[int], list[float]]:
    """Stage, steps and values of one metric.

    Args:
        run: whose.
        metric: as it is called in ``metrics.jsonl``.
        stage: of which stage; the last one that has the metric by default.

    Raises:
        RequestError: names the metrics that there are.
    """
    stages = [stage] if stage else list(reversed(run.model()["stages"]))
    names: set[str] = set()
    for candidate in stages:
        lines = list(read_lines(run.stage(candidate) / "metrics.jsonl"))
        points = [(line["step"], float(line[metric])) for line in lines if math.isfinite(line.get(metric, math.nan))]
        if points:
            return candidate, [step for step, _ in points], [value for _, value in points]
        names |= {name for line in lines for name in line} - NOT_METRICS
    raise RequestError(
        f"run {run.name} has no metric {metric!r}" + (f" in stage {stage}" if stage else ""),
        f"there is: {', '.join(sorted(names))}" if names else "it has not logged anything yet",
    )
