"""The settings of the TensorBoard callback."""

from pydantic import Field

from muomni_cli.api import PartConfig


class TensorboardConfig(PartConfig):
    """Where the event files go."""

    folder: str = Field("", description="folder of the event files; tensorboard/ in the stage's folder if empty")
