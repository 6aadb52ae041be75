"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from pydantic import Field

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Output of the callback."""

    file: str = Field("newpart.csv", description="name of the file in the stage's folder")
    validation_only: bool = Field(False, description="skip the metrics of training steps")
