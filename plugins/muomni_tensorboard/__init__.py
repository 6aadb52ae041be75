"""A callback that writes a stage's metrics for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from muomni_cli.api import CallbackPart, PartConfig, RequestError, expand_path, hookimpl

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from muomni_cli.api import StageContext


class TensorboardConfig(PartConfig):
    """Where the event files go."""

    folder: str = Field("", description="folder of the event files; tensorboard/ in the stage's folder if empty")


class TensorboardCallback:
    """Logs under ``train/`` and ``validation/``; a resumed run continues in the same folder."""

    def __init__(self, config: TensorboardConfig) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RequestError(
                "the callback tensorboard needs tensorboard, which is not installed",
                "pip install 'muomni[tensorboard]', or remove [callbacks.tensorboard] from the recipe",
            ) from error
        self._type, self._config = SummaryWriter, config
        self._writer: SummaryWriter | None = None

    def on_start(self, context: StageContext) -> None:
        own = context.run.stage(context.stage) / "tensorboard"
        self._writer = self._type(str(expand_path(self._config.folder) if self._config.folder else own))

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._add("train", step, metrics)

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._add("validation", step, metrics)

    def _add(self, group: str, step: int, metrics: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def on_checkpoint(self, step: int, path: Path) -> None:  # noqa: ARG002
        if self._writer is not None:
            self._writer.flush()  # so that logs are as safe as the checkpoint

    def on_end(self, step: int, reason: str) -> None:
        if self._writer is not None:
            self._writer.add_text("end", f"{reason} after step {step}", step)
            self._writer.close()


@hookimpl
def register_callbacks() -> list[CallbackPart]:
    return [
        CallbackPart(
            name="tensorboard",
            doc="writes every metric for TensorBoard (needs muomni[tensorboard])",
            config=TensorboardConfig,
            build="muomni_tensorboard:TensorboardCallback",
        )
    ]
