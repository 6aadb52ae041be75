"""Settings: every one has a default and a description, which are its documentation. Knows no torch."""

from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`."""

    practice: ClassVar[frozenset[str]] = frozenset({"crop"})

    channels: PositiveInt = Field(128, description="width of the network")
    layers: PositiveInt = Field(4, description="blocks at the rate of the mel")
    kernel: PositiveInt = Field(7, description="mel frames that a block sees, its own and those before it")
    lookahead: NonNegativeInt = Field(2, description="later mel frames that a sample depends on")
    crop: PositiveInt = Field(64, description="mel frames of a sound that one row of a batch trains on")
