"""Keeps ``model.json`` up to date while a stage trains: a callback like any other, and the first to be told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.runs.folder import BEST, RunFolder

if TYPE_CHECKING:
    from muomni_cli.contract.training import StageContext


class Recorder:
    """Records step, metrics and status of a stage in its run.

    Args:
        run: whose ``model.json``.
        stage: which stage.
        part: the entry of the part that the stage makes, without weights: they are named once there are some. None for
            a stage that makes no part of its own.
        about: what else to say of the stage.
    """

    def __init__(
        self, run: RunFolder, stage: str, part: Mapping[str, Any] | None, about: Mapping[str, Any] | None = None
    ) -> None:
        self._run = run
        self._stage = stage
        self._part = None if part is None else dict(part)
        self._known: dict[str, Any] = dict(about or {})

    def on_start(self, context: StageContext) -> None:
        """The stage is under way."""
        self._known["steps"] = context.settings.steps
        self._run.record(self._stage, {**self._known, "status": "unfinished"}, self._part)

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Remembered, and written with the next checkpoint."""
        self._known |= {"step": step, "loss": metrics["loss"]}

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Remembered, and written with the next checkpoint; the best weights may be new."""
        self._known |= {"step": step, **{f"val_{name}": value for name, value in metrics.items()}}

    def on_checkpoint(self, step: int, path: Path) -> None:
        """There are weights, and training can go on from here."""
        best = path.with_name(BEST)
        weights = best if best.is_file() else path
        self._known["step"] = step
        if self._part is not None:
            self._part["weights"] = str(weights.relative_to(self._run.root))
        self._run.record(self._stage, self._known, self._part)

    def on_end(self, step: int, reason: str) -> None:
        """The last word: ``finished``, or how it came to stop."""
        status = "finished" if reason == "finished" else "unfinished"
        self._run.record(self._stage, {"status": status, "end": f"{reason} after step {step}"})
