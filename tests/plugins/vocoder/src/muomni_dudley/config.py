"""The settings of the vocoder. Knows no torch."""

from typing import Literal

from pydantic import Field

from muomni_cli.api import PartConfig


class DudleyConfig(PartConfig):
    """What :class:`muomni_dudley.model.Dudley` speaks with."""

    carrier: Literal["buzz", "whisper"] = Field("buzz", description="what is cut into bands: a tone, or noise")
    pitch: float = Field(110.0, ge=40, le=500, description="of the buzz, in Hz")
    seconds: float = Field(0.5, gt=0, le=4, description="after which the carrier begins again")
