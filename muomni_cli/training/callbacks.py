"""Callbacks of a stage: the list that calls them in order, and the two that every stage has.

:class:`RunRecorder` keeps ``model.json`` up to date; :class:`Display` shows progress on stderr, as a live line on a
terminal and as plain lines elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from muomni_cli.contract.training import Callback
from muomni_cli.core.console import duration, size, stderr_console
from muomni_cli.core.errors import MuomniError
from muomni_cli.runs.run import BEST, RunFolder

if TYPE_CHECKING:
    from muomni_cli.contract.training import StageContext
    from muomni_cli.training.context import TrainingContext


class CallbackList:
    """Tells every callback the same, in the order of the recipe.

    A callback that raises is reported once and then left out: a chart that cannot be drawn is no reason to lose a night
    of training. A :class:`MuomniError` is meant for the user and passes through.

    Args:
        callbacks: name -> callback.
        report: called with one line about a callback that failed.
    """

    def __init__(self, callbacks: Sequence[tuple[str, Callback]], report: Callable[[str], None]) -> None:
        self._callbacks = list(callbacks)
        self._report = report

    def on_start(self, context: TrainingContext) -> None:
        """The stage begins or goes on."""
        self._tell(lambda callback: callback.on_start(context))

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Means over the steps since the last call."""
        self._tell(lambda callback: callback.on_log(step, metrics))

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """What ``Objective.validate`` gave."""
        self._tell(lambda callback: callback.on_validation(step, metrics))

    def on_checkpoint(self, step: int, path: Path) -> None:
        """``path`` has been written."""
        self._tell(lambda callback: callback.on_checkpoint(step, path))

    def on_end(self, step: int, reason: str) -> None:
        """The stage ends: ``finished``, ``stopped`` or ``failed``."""
        self._tell(lambda callback: callback.on_end(step, reason))

    def _tell(self, call: Callable[[Callback], None]) -> None:
        for name, callback in list(self._callbacks):
            try:
                call(callback)
            except MuomniError:
                raise
            except Exception as error:
                self._callbacks.remove((name, callback))
                self._report(f"callback {name} failed and is left out from here on: {type(error).__name__}: {error}")


class RunRecorder:
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


def describe(metrics: Mapping[str, float]) -> str:
    """Metrics as one line: ``loss 2.3456  lr 3.00e-04  12,345 tokens/s  1.20 GB``."""
    words = []
    for name, value in metrics.items():
        if name.endswith("/s"):
            words.append(f"{value:,.0f} {name}")
        elif name == "memory":
            words.append(size(value))
        elif name == "lr":
            words.append(f"lr {value:.2e}")
        elif name != "time":
            words.append(f"{name} {value:.4f}")
    return "  ".join(words)


class Display:
    """Follows one stage of ``steps`` steps. A context manager.

    Args:
        stage: its name.
        steps: how many there are.
        console: where to; stderr by default.
    """

    def __init__(self, stage: str, steps: int, console: Console | None = None) -> None:
        self._console = console or stderr_console()
        self._stage = stage
        self._steps = steps
        self._progress: Progress | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn(self._stage),
                BarColumn(bar_width=12),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[told]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task(self._stage, total=self._steps, told="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, soft_wrap=True)

    def advance(self, step: int) -> None:
        """``step`` steps are done (a terminal's bar only)."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

    def log(self, step: int, metrics: Mapping[str, float], seconds_left: float) -> None:
        """Metrics of the last steps."""
        if self._progress is not None:  # what fits beside the bar in 80 columns; the file has it all
            told = {k: v for k, v in metrics.items() if k in ("loss", "memory") or k.endswith("/s")}
            self._progress.update(self._task, completed=step, told=describe(told))
        else:
            self.say(f"{self._stage} {step}/{self._steps}  {describe(metrics)}  {duration(seconds_left)} left")

    def validation(self, step: int, metrics: Mapping[str, float], *, best: bool) -> None:
        """Metrics on held-out data."""
        self.say(f"{self._stage} {step}/{self._steps}  validation: {describe(metrics)}{'  (best)' if best else ''}")
