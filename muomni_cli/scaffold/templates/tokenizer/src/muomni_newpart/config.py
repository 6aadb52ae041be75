"""Settings: every one has a default and a description, which are its documentation."""

from pydantic import Field, NonNegativeInt

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """How large the vocabulary may become."""

    words: NonNegativeInt = Field(2000, description="most words that have a token of their own")
