"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from muomni_cli.api import MelConfig, PartConfig


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`; the mel settings come from the codec."""

    training_only: ClassVar[frozenset[str]] = frozenset({"crop"})

    width: PositiveInt = Field(160, description="channels of the network")
    layers: PositiveInt = Field(4, description="blocks of the network")
    kernel: PositiveInt = Field(5, description="kernel size in mel frames (causal)")
    lookahead: NonNegativeInt = Field(2, description="later mel frames that a frame depends on")
    crop: PositiveInt = Field(64, description="length of a training example in mel frames")

    def memories(self, mel: MelConfig) -> list[tuple[int, int]]:
        """Shapes of the streaming states of the layers, in order, without the batch."""
        past = self.kernel - 1
        return [(past, mel.n_mels), *[(past, self.width)] * self.layers, (1, mel.hop)]
