"""What a stage says on stderr while it trains: a live line on a terminal, plain lines elsewhere. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from muomni_cli.core.console import duration, size, talk


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
        self._console = console or talk()
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
