"""Settings: every one has a default and a description, which are its documentation. Knows no torch."""

from typing import ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from muomni_cli.api import PartConfig


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`."""

    training_only: ClassVar[frozenset[str]] = frozenset({"corrupt"})

    d_model: PositiveInt = Field(192, description="width of characters' features and of frames' states")
    text_layers: PositiveInt = Field(3, description="blocks over characters, which look both ways")
    layers: PositiveInt = Field(5, description="blocks over frames, which look back")
    kernel: PositiveInt = Field(5, description="characters or frames that a block sees")
    longest: PositiveInt = Field(1000, description="most code frames of one sentence")
    temperature: NonNegativeFloat = Field(0.0, description="how codes are drawn unless the user says; 0: the likeliest")
    corrupt: float = Field(0.15, ge=0, le=1, description="share of the codes before that training replaces by others")
