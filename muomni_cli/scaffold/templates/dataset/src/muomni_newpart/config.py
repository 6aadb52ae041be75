"""Settings: every one has a default and a description, which are its documentation."""

from pydantic import Field

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Which file, and how much of it."""

    path: str = Field(
        "", description="a file of questions and answers, one pair a line with a tab between; sums if empty"
    )
    largest: int = Field(20, ge=1, description="without a file: the largest number in a sum")
