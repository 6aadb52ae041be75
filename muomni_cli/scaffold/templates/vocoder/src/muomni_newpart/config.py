"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from typing import ClassVar

from pydantic import Field

from muomni_cli.api import Depth, MelConfig, PartConfig, Width


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`; the mel settings come from the codec."""

    training_only: ClassVar[frozenset[str]] = frozenset({"crop"})

    width: Width = Field(160, description="channels of the network")
    layers: Depth = Field(4, description="blocks of the network")
    kernel: Depth = Field(5, description="kernel size in mel frames (causal)")
    lookahead: int = Field(2, ge=0, le=1024, description="later mel frames that a frame depends on")
    crop: Width = Field(64, description="length of a training example in mel frames")

    def memories(self, mel: MelConfig) -> list[tuple[int, int]]:
        """Shapes of the streaming states of the layers, in order, without the batch."""
        past = self.kernel - 1
        return [(past, mel.n_mels), *[(past, self.width)] * self.layers, (1, mel.hop)]
