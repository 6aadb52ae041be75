"""Settings: every one has a default and a description, which are its documentation."""

from pydantic import Field

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """What is written, and where."""

    file: str = Field("newpart.csv", description="name of the file in the stage's folder")
    validation_only: bool = Field(False, description="leave out the metrics of training steps")
