"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from muomni_cli.api import VocoderPart, hookimpl
from muomni_vocoders.config import GriffinLimConfig


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    """The vocoders of this package."""
    return [
        VocoderPart(
            name="griffin-lim",
            doc="phases that agree with each other, found block by block; learns nothing, ready at once",
            config=GriffinLimConfig,
            build="muomni_vocoders.griffin_lim:build",
        )
    ]
