"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

import math
from typing import ClassVar

from pydantic import Field, PositiveFloat

from muomni_cli.api import Depth, MelConfig, PartConfig, Width


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`. At hop 160 and 16 kHz, 8 mel frames are 80 ms."""

    training_only: ClassVar[frozenset[str]] = frozenset({"max_seconds", "crop"})

    mel: MelConfig = Field(MelConfig(), description="the log-mel, which the vocoder shares")
    frame: Depth = Field(8, description="mel frames per code frame")
    codebooks: Depth = Field(4, description="number of codebooks Q")
    levels: tuple[Width, ...] = Field((5, 5, 5), description="quantization levels; their product is K")
    width: Width = Field(192, description="channels of the blocks")
    layers: Depth = Field(3, description="blocks of the encoder, and of the decoder")
    kernel: Depth = Field(5, description="kernel size in code frames (causal)")
    max_seconds: PositiveFloat = Field(60.0, le=3600, description="longest sound that is read from one file")
    crop: Width = Field(32, description="length of a training example in code frames")

    @property
    def codebook_size(self) -> int:
        """K."""
        return math.prod(self.levels)

    @property
    def sample_rate(self) -> int:
        """Sample rate of files in Hz."""
        return self.mel.sample_rate

    @property
    def samples(self) -> int:
        """Samples per code frame."""
        return self.mel.hop * self.frame

    @property
    def shortest(self) -> int:
        """Shortest sound in samples."""
        return self.mel.window
