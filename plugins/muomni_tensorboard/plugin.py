"""What this package offers to muomni. Knows no torch: a listing imports this module."""

from muomni_cli.api import CallbackPart, hookimpl
from muomni_tensorboard.config import TensorboardConfig


@hookimpl
def register_callbacks() -> list[CallbackPart]:
    """The callbacks of this package."""
    return [
        CallbackPart(
            name="tensorboard",
            doc="writes every metric for TensorBoard (needs muomni[tensorboard])",
            config=TensorboardConfig,
            build="muomni_tensorboard.writer:TensorboardCallback",
        )
    ]
