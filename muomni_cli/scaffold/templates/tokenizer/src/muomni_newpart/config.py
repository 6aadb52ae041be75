"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from pydantic import Field, NonNegativeInt

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Size of the vocabulary."""

    words: NonNegativeInt = Field(2000, description="maximum number of word tokens")
