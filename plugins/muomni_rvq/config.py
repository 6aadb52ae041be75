"""The sizes of the codec and how it is trained, and which of them fit together. Knows no torch."""

from typing import ClassVar

from pydantic import Field, FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from muomni_cli.api import MelConfig, PartConfig


class CodecConfig(PartConfig):
    """Sizes of :class:`muomni_rvq.model.Codec`.

    At hop 160 and 16 kHz a code frame of 8 mel frames lasts 80 ms: 12.5 a second, and 2 codebooks of 128 are 175 bits
    a second.
    """

    training_only: ClassVar[frozenset[str]] = frozenset(
        {"max_seconds", "crop_seconds", "free_steps", "decay", "revive", "codebook_dropout", "commitment", "squared",
         "tie"}
    )  # fmt: skip

    mel: MelConfig = Field(MelConfig(), description="the log-mel that is coded; a vocoder is built for the same")
    mel_mean: FiniteFloat = Field(-5.0, description="subtracted from the log-mel for the network")
    mel_scale: PositiveFloat = Field(4.0, description="divides the log-mel for the network, after mel_mean")
    frame: PositiveInt = Field(8, description="mel frames of a code frame")
    codebooks: PositiveInt = Field(2, description="codebooks Q: the first codes a frame, each further one what is left")
    codebook_size: int = Field(128, ge=2, le=65536, description="codes K in each codebook")
    code_dim: PositiveInt = Field(32, description="width of the space in which codes lie")
    width: PositiveInt = Field(256, description="channels of the blocks that see code frames")
    encoder_layers: NonNegativeInt = Field(3, description="blocks of the encoder, which look both ways")
    decoder_layers: NonNegativeInt = Field(4, description="blocks of the decoder that see code frames")
    fine_width: PositiveInt = Field(128, description="channels of the blocks that see mel frames")
    fine_layers: NonNegativeInt = Field(1, description="blocks of the decoder that see mel frames")
    expansion: PositiveInt = Field(4, description="width inside of a block, as a multiple of its channels")
    kernel: PositiveInt = Field(7, description="frames that a block's convolution sees")
    lookahead: NonNegativeInt = Field(
        1, description="later code frames that the decoder waits for: a better sound, 80 ms later each"
    )
    max_seconds: float = Field(60.0, gt=0, le=3600, description="longest sound that is read from one file")
    crop_seconds: PositiveFloat = Field(3.2, le=60, description="seconds of sound in a row of a training batch")
    free_steps: float = Field(
        0.3, ge=0, lt=1, description="share of the steps that come first and are trained without codes"
    )
    decay: float = Field(0.97, ge=0, lt=1, description="of the averages that codes are, a step")
    revive: NonNegativeFloat = Field(
        0.1, lt=1, description="a code used less than this share of the mean is put where it is needed; 0 for never"
    )
    codebook_dropout: float = Field(
        0.1, ge=0, le=1, description="share of rows in training whose last codebooks, any number of them, are left out"
    )
    commitment: NonNegativeFloat = Field(0.25, description="weight of the distance between frames and their codes")
    squared: NonNegativeFloat = Field(0.25, description="weight of the squared error beside the absolute one")
    tie: NonNegativeFloat = Field(
        0.1, description="weight of the tie that keeps the decoded frame near the mean log-mel of its window"
    )

    @property
    def sample_rate(self) -> int:
        """Samples a second that files are read at."""
        return self.mel.sample_rate

    @property
    def samples(self) -> int:
        """Samples of a code frame."""
        return self.mel.hop * self.frame

    @property
    def shortest(self) -> int:
        """Samples of the shortest sound: those of one mel window; the rest of a code frame is silence."""
        return self.mel.window
