"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from typing import ClassVar

from pydantic import Field

from muomni_cli.api import Depth, PartConfig, Width


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`."""

    training_only: ClassVar[frozenset[str]] = frozenset({"corrupt"})

    d_model: Width = Field(192, description="width of features and states")
    text_layers: Depth = Field(3, description="bidirectional blocks over characters")
    layers: Depth = Field(5, description="causal blocks over frames")
    kernel: Depth = Field(5, description="kernel size of the blocks")
    longest: Width = Field(1000, description="maximum number of code frames of a sentence")
    temperature: float = Field(0.0, ge=0, le=100, description="default sampling temperature; 0: greedy")
    corrupt: float = Field(0.15, ge=0, le=1, description="share of the previous codes that training randomizes")
