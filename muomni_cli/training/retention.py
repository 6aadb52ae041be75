"""When a stage ends before its last step, and which of its checkpoints are kept."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import replacing
from muomni_cli.runs.run import kept_checkpoints, kept_name

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import EarlyStoppingSettings


class EarlyStopping:
    """Counts validations without improvement. Its state is in the header of checkpoints, so that a resumed training
    ends at the same step.

    ``settings``: None for a training that never ends early.
    """

    def __init__(self, settings: EarlyStoppingSettings | None, stage: str) -> None:
        self.settings, self.stage = settings, stage
        self.best, self.since, self.step = math.inf, 0, 0  # the best value, validations since then, and its step

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take note of a validation. RequestError if it has not measured the metric."""
        if self.settings is None:
            return
        if self.settings.metric not in metrics:
            what = f"early_stopping watches {self.settings.metric!r}, which validations of {self.stage} do not measure"
            raise RequestError(what, f"choose another metric: {', '.join(sorted(metrics))}")
        value = metrics[self.settings.metric]
        value = -value if self.settings.mode == "max" else value
        if value < self.best - self.settings.min_delta:
            self.best, self.since, self.step = value, 0, step
        else:
            self.since += 1  # also of a value that is not a number

    @property
    def over(self) -> bool:
        """Whether the training is to end."""
        return self.settings is not None and self.since >= self.settings.patience

    def reason(self) -> str:
        assert self.settings is not None, "it has settings if it is over"
        return f"early stopping: no better {self.settings.metric} in {self.since} validations since step {self.step}"

    def state(self) -> list[float | int | None]:
        """As JSON data, for a checkpoint."""
        return [None if math.isinf(self.best) else self.best, self.since, self.step]

    def load(self, state: Any) -> None:
        """Restore :meth:`state`; one of a training without early stopping counts as new."""
        if state:
            best, self.since, self.step = state
            self.best = math.inf if best is None else best


def keep_checkpoint(last: Path, step: int, count: int) -> None:
    """Keep the checkpoint ``last`` under the name of its step, and remove those before the newest ``count``, as well as
    any of later steps, which were left by a training that has begun again before them."""
    folder = last.parent
    if count:
        with replacing(folder / kept_name(step)) as temporary:
            temporary.unlink(missing_ok=True)
            try:
                os.link(last, temporary)  # the next checkpoint is written to a new file, so this one stays as it is
            except OSError:  # a file system without links
                shutil.copyfile(last, temporary)
    found = kept_checkpoints(folder)
    valid = [number for number in found if number <= step]
    kept = valid[max(0, len(valid) - count) :]
    for number in found.keys() - {*kept}:
        found[number].unlink(missing_ok=True)
