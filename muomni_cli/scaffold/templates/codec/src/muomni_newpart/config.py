"""Settings: every one has a default and a description, which are its documentation. Knows no torch."""

from typing import ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from muomni_cli.api import MelConfig, PartConfig


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`. At hop 160 and 16 kHz 8 mel frames are 80 ms."""

    training_only: ClassVar[frozenset[str]] = frozenset({"max_seconds", "crop"})

    mel: MelConfig = Field(MelConfig(), description="the log-mel that is coded; a vocoder is built for the same")
    frame: PositiveInt = Field(8, description="mel frames of a code frame")
    codebooks: PositiveInt = Field(4, description="codes Q of a frame")
    levels: tuple[PositiveInt, ...] = Field((5, 5, 5), description="steps of each number of a code; K is their product")
    width: PositiveInt = Field(192, description="channels of the blocks")
    layers: PositiveInt = Field(3, description="blocks of the encoder, and of the decoder")
    kernel: PositiveInt = Field(5, description="code frames that a block sees, its own and those before it")
    max_seconds: PositiveFloat = Field(60.0, le=3600, description="longest sound that is read from one file")
    crop: PositiveInt = Field(32, description="code frames of a sound that one row of a batch trains on")

    @property
    def codebook_size(self) -> int:
        """K."""
        size = 1
        for count in self.levels:
            size *= count
        return size

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
        """Samples of the shortest sound."""
        return self.mel.window
