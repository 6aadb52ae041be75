"""The settings of the vocoders. Knows no torch."""

from typing import ClassVar, Literal

from pydantic import Field, FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from muomni_cli.api import PartConfig


class GriffinLimConfig(PartConfig):
    """How long :class:`muomni_vocoders.griffin_lim.GriffinLim` looks for phases, and in blocks of which size.

    The first block is small, so that sound begins early; each one is twice the one before until ``block`` is reached,
    because fewer, larger blocks cost less.
    """

    iterations: PositiveInt = Field(16, description="times that a block's phases are made to agree")
    momentum: float = Field(0.99, ge=0, lt=1, description="how far each iteration goes on in the direction of the last")
    first: PositiveInt = Field(4, description="mel frames of the first block")
    block: PositiveInt = Field(16, description="mel frames of all blocks after the first few")
    lookahead: NonNegativeInt = Field(4, description="mel frames after a block that its phases must agree with as well")


class GanConfig(PartConfig):
    """Training against a judge that learns to tell made sounds from true ones, off by default: it makes sounds less
    dull and costs about twice the time."""

    use: Literal["none", "hinge", "least-squares"] = Field(
        "none", description="the judge's loss: hinge (arXiv:1705.02894), least-squares (arXiv:1611.04076), or no judge"
    )
    weight: NonNegativeFloat = Field(1.0, description="of what the judge says, in the vocoder's loss")
    features: NonNegativeFloat = Field(2.0, description="of the distance between the judge's layers, in the same loss")
    channels: PositiveInt = Field(16, description="channels of the judge's convolutions")
    layers: PositiveInt = Field(4, description="the judge's convolutions at each resolution")


class VocosConfig(PartConfig):
    """Sizes of :class:`muomni_vocoders.vocos.Vocos`, and how it is trained; the length of its transform, its window and
    hop are those of the codec's mel."""

    training_only: ClassVar[frozenset[str]] = frozenset({"crop", "codec", "mel_weight", "gan"})

    channels: PositiveInt = Field(192, description="width of the backbone")
    layers: PositiveInt = Field(6, description="ConvNeXt blocks")
    hidden: PositiveInt = Field(576, description="width inside of a block")
    kernel: PositiveInt = Field(7, description="mel frames that a convolution sees, its own and those before it")
    lookahead: NonNegativeInt = Field(3, description="later mel frames that a frame depends on")
    mel_mean: FiniteFloat = Field(-5.0, description="subtracted from the log-mel for the network")
    mel_scale: PositiveFloat = Field(4.0, description="divides the log-mel for the network, after mel_mean")
    crop: PositiveInt = Field(64, description="mel frames of a sound that one row of a batch trains on")
    codec: bool = Field(False, description="train on what the codec makes of the mel, not on the true one")
    mel_weight: NonNegativeFloat = Field(1.0, description="of the distance between log-mels, in the loss")
    gan: GanConfig = Field(GanConfig(), description="training against a judge")
