"""The vocoders Griffin-Lim and Vocos: settings and registration, without torch, for every listing."""

from typing import ClassVar, Literal

from pydantic import Field

from muomni_cli.api import Depth, Factor, LossWeight, PartConfig, VocoderPart, Width, hookimpl


class GriffinLimConfig(PartConfig):
    """Iterations and block sizes of :class:`muomni_vocoders.griffin_lim.GriffinLim`. The first block is small, so that
    audio starts early; each further one is twice as large, up to ``block``, because fewer and larger ones cost less."""

    iterations: Depth = Field(16, description="Griffin-Lim iterations per block")
    momentum: float = Field(0.99, ge=0, lt=1, description="momentum of fast Griffin-Lim")
    first: Width = Field(4, description="mel frames of the first block")
    block: Width = Field(16, description="mel frames of the largest block")
    lookahead: int = Field(4, ge=0, le=1024, description="mel frames of lookahead after a block")


class GanConfig(PartConfig):
    """Adversarial training, off by default: audio sounds less dull, at about twice the training time."""

    use: Literal["none", "hinge", "least-squares"] = Field(
        "none", description="GAN loss: hinge (arXiv:1705.02894), least-squares (arXiv:1611.04076), or no discriminator"
    )
    weight: LossWeight = Field(1.0, description="weight of the adversarial loss")
    features: LossWeight = Field(2.0, description="weight of the feature matching loss")
    channels: Width = Field(16, description="channels of the discriminator's convolutions")
    layers: Depth = Field(4, description="convolutions of the discriminator per resolution")


class VocosConfig(PartConfig):
    """Sizes and training settings of :class:`muomni_vocoders.vocos.Vocos`; window, hop and transform length are those
    of the codec's mel."""

    training_only: ClassVar[frozenset[str]] = frozenset({"crop", "codec", "mel_weight", "gan"})

    channels: Width = Field(192, description="width of the backbone")
    layers: Depth = Field(6, description="ConvNeXt blocks")
    hidden: Width = Field(576, description="hidden width of a block")
    kernel: Depth = Field(7, description="kernel size of the causal convolutions, in mel frames")
    lookahead: int = Field(3, ge=0, le=1024, description="mel frames of lookahead")
    mel_mean: float = Field(-5.0, ge=-1e3, le=1e3, description="subtracted from the log-mel for the network")
    mel_scale: Factor = Field(4.0, description="divides the log-mel for the network, after mel_mean")
    crop: Width = Field(64, description="mel frames per row of a training batch")
    codec: bool = Field(False, description="train on the codec's reconstruction of the mel, not on the original")
    mel_weight: LossWeight = Field(1.0, description="weight of the log-mel distance in the loss")
    gan: GanConfig = Field(GanConfig(), description="adversarial training")


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    return [
        VocoderPart(
            name="griffin-lim",
            doc="Griffin-Lim phase reconstruction, block by block; needs no training",
            config=GriffinLimConfig,
            build="muomni_vocoders.griffin_lim:build",
            test_config={"iterations": 4},
            graphs="muomni_vocoders.graphs:griffin_lim_graphs",
            runner="muomni_vocoders.runtime:GriffinLimRunner",
        ),
        VocoderPart(
            name="vocos",
            doc="ConvNeXt blocks at the rate of the mel, then an inverse Fourier transform; trained on waveforms",
            config=VocosConfig,
            build="muomni_vocoders.vocos:build",
            test_config={"channels": 24, "layers": 2, "hidden": 48, "kernel": 5, "lookahead": 2},
            graphs="muomni_vocoders.graphs:vocos_graphs",
            runner="muomni_vocoders.runtime:VocosRunner",
            objective="muomni_vocoders.objective:VocoderObjective",
        ),
    ]
