"""The settings of the vocoders. Knows no torch."""

from pydantic import Field, NonNegativeInt, PositiveInt

from muomni_cli.api import PartConfig


class GriffinLimConfig(PartConfig):
    """How long :class:`muomni_vocoders.griffin_lim.GriffinLim` looks for phases, and in blocks of which size.

    The first block is small, so that sound begins early; each one is twice the one before until ``block`` is reached,
    because fewer, larger blocks cost less.
    """

    iterations: PositiveInt = Field(32, description="times that a block's phases are made to agree; 16 sounds alike")
    momentum: float = Field(0.99, ge=0, lt=1, description="how far each iteration goes on in the direction of the last")
    first: PositiveInt = Field(4, description="mel frames of the first block")
    block: PositiveInt = Field(16, description="mel frames of all blocks after the first few")
    lookahead: NonNegativeInt = Field(4, description="mel frames after a block that its phases must agree with as well")
