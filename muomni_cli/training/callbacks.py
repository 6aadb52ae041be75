"""The callbacks of a stage: the list that calls them in order, the run recorder and the progress display."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from muomni_cli.contract.training import Callback, StageContext
from muomni_cli.core.console import duration, size, stderr_console
from muomni_cli.core.errors import MuomniError
from muomni_cli.runs.run import BEST, RunFolder


class CallbackList:
    """Calls every callback, in the order of the recipe.

    A callback that raises is reported once and dropped, so a failing chart does not end the training. A
    :class:`MuomniError` is meant for the user and is re-raised.
    """

    def __init__(self, callbacks: Sequence[tuple[str, Callback]], report: Callable[[str], None]) -> None:
        self._callbacks, self._report = list(callbacks), report

    def call(self, call: Callable[[Callback], None]) -> None:
        for name, callback in list(self._callbacks):
            try:
                call(callback)
            except MuomniError:
                raise
            except Exception as error:
                self._callbacks.remove((name, callback))
                self._report(f"callback {name} failed and is disabled: {type(error).__name__}: {error}")

    def samples(self, step: int, files: Sequence[Path]) -> None:
        """Call those that take samples."""

        def take(callback: Callback) -> None:
            if files and (on_samples := getattr(callback, "on_samples", None)) is not None:
                on_samples(step, files)

        self.call(take)


class RunRecorder:
    """Records step, metrics and status of a stage in ``model.json``.

    ``part``: entry of the part that it trains, if any; ``weights`` is set at each checkpoint. ``about``: more fields.
    """

    def __init__(self, run: RunFolder, stage: str, part: dict[str, Any] | None, about: Mapping[str, Any]) -> None:
        self._run, self._stage, self._part = run, stage, part
        self._known: dict[str, Any] = dict(about)

    def on_start(self, context: StageContext) -> None:
        self._known["steps"] = context.settings.steps
        self._run.record(self._stage, {**self._known, "status": "unfinished"}, self._part)

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._known |= {"step": step, **{name: metrics[name] for name in ("loss",) if name in metrics}}

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._known |= {"step": step, **{f"val_{name}": value for name, value in metrics.items()}}

    def on_checkpoint(self, step: int, path: Path) -> None:
        best = path.with_name(BEST)
        weights = best if best.is_file() else path
        self._known["step"] = step
        if self._part is not None:
            self._part = {**self._part, "weights": str(weights.relative_to(self._run.root))}
        self._run.record(self._stage, self._known, self._part)

    def on_end(self, step: int, reason: str) -> None:
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
        elif name == "steps_without_targets":
            words.append(f"{value:,.0f} steps without targets")
        elif name == "lr":
            words.append(f"lr {value:.2e}")
        elif name != "time":
            words.append(f"{name} {value:.4f}")
    return "  ".join(words)


class Display:
    """Progress of one stage on stderr: a live bar on a terminal, plain lines elsewhere. A context manager."""

    def __init__(self, stage: str, steps: int, console: Console | None = None) -> None:
        self._console, self._stage, self._steps = console or stderr_console(), stage, steps
        self._progress: Progress | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn(self._stage),
                BarColumn(bar_width=12),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[metrics]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task(self._stage, total=self._steps, metrics="")
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def advance(self, step: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=step)

    def log(self, step: int, metrics: Mapping[str, float], seconds_left: float) -> None:
        if self._progress is not None:  # what fits beside the bar in 80 columns; metrics.jsonl has everything
            names = ("loss", "memory", "steps_without_targets")
            shown = {k: v for k, v in metrics.items() if k in names or k.endswith("/s")}
            self._progress.update(self._task, completed=step, metrics=describe(shown))
        else:
            self.say(f"{self._stage} {step}/{self._steps}  {describe(metrics)}  {duration(seconds_left)} left")

    def validation(self, step: int, metrics: Mapping[str, float], *, best: bool) -> None:
        self.say(f"{self._stage} {step}/{self._steps}  validation: {describe(metrics)}{'  (best)' if best else ''}")
