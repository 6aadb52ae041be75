"""Settings: every one has a default and a description, which are its documentation. Knows no torch."""

from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from muomni_cli.api import MelConfig, PartConfig


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`; what it is built for besides is the mel of a codec."""

    training_only: ClassVar[frozenset[str]] = frozenset({"crop"})  # these matter only in training

    width: PositiveInt = Field(160, description="channels of the network")
    layers: PositiveInt = Field(4, description="blocks of the network")
    kernel: PositiveInt = Field(5, description="mel frames that a convolution sees, its own and those before it")
    lookahead: NonNegativeInt = Field(2, description="later mel frames that a frame depends on")
    crop: PositiveInt = Field(64, description="mel frames of a sound that one row of a batch trains on")

    def memories(self, mel: MelConfig) -> list[tuple[int, int]]:
        """Shapes of what each layer of the network remembers, in order, without the batch."""
        past = self.kernel - 1
        return [(past, mel.n_mels), *[(past, self.width)] * self.layers, (1, mel.hop)]
