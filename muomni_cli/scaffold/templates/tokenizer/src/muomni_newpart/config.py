"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from pydantic import Field

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Size of the vocabulary."""

    words: int = Field(2000, ge=0, le=1_000_000, description="maximum number of word tokens")
