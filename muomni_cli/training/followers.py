"""The callbacks of a stage, told in order. Knows nothing of what they do with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli.contract.training import Callback
from muomni_cli.core.errors import MuomniError

if TYPE_CHECKING:
    from muomni_cli.training.context import TrainingContext


class Followers:
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
