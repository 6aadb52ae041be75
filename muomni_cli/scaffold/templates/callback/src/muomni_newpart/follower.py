"""Writes the metrics of a stage as CSV: step, kind, name, value."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_newpart.config import NewpartConfig

if TYPE_CHECKING:
    from muomni_cli.api import StageContext


class Newpart:
    """A :class:`muomni_cli.api.Callback`, called between the steps of a stage. If it raises, training continues
    without it."""

    def __init__(self, config: NewpartConfig) -> None:
        self._config = config
        self._path: Path | None = None

    def on_start(self, context: StageContext) -> None:
        """A stage starts or resumes."""
        self._path = context.run.stage(context.stage) / self._config.file

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of training steps."""
        if not self._config.validation_only:
            self._write(step, "train", metrics)

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of held-out data."""
        self._write(step, "validation", metrics)

    def on_checkpoint(self, step: int, path: Path) -> None:
        """A checkpoint was saved at ``path``."""

    def on_end(self, step: int, reason: str) -> None:
        """The stage finished or was interrupted."""

    def _write(self, step: int, kind: str, metrics: Mapping[str, float]) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([step, kind, name, value] for name, value in metrics.items())
