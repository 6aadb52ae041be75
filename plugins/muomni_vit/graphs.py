"""The vision transformer as one graph, with what is done to pixels inside."""

from __future__ import annotations

from torch import Tensor, nn

from muomni_cli.api import Graph, Port, below
from muomni_vit.model import Vit


class Seeing(nn.Module):
    """(B,3,S,S) pictures of 0 to 255, as they are read -> (B,T,W) tokens."""

    def __init__(self, model: Vit) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        """One tensor in, one out."""
        return (self.model.tokens(pictures),)


def graphs(module: Vit) -> list[Graph]:
    """See :class:`muomni_cli.api.Graph`."""
    size = module.config.size
    return [
        Graph(
            name="encoder",
            module=Seeing(module),
            inputs=[Port("inputs", ("batch", 3, size, size), below(256, "uint8"))],
            outputs=["tokens"],
            cases={"traced": {"batch": 2}, "one": {"batch": 1}, "three": {"batch": 3}},
        )
    ]
