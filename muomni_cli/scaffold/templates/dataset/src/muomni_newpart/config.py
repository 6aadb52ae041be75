"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from pydantic import Field

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Settings of the source."""

    path: str = Field("", description="file of tab-separated questions and answers, one pair a line; empty: sums")
    largest: int = Field(20, ge=1, description="without a file: the largest number in a sum")
