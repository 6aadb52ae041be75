"""The vocoder as a graph. Shapes: B batch, M mel frames, F mel bins."""

from __future__ import annotations

from typing import Any

import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_dudley.model import Dudley


class Sounding(nn.Module):
    """(B,M,F) log-mel, the (B,1,F) frame before it and (1,) that frame's number -> (B, H*M) samples from the frame
    before on, and what the next call is to be given."""

    def __init__(self, vocoder: Dudley) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, mel: Tensor, held: Tensor, place: Tensor) -> tuple[Tensor, ...]:
        """See above."""
        return self.vocoder.between(torch.cat((held, mel), dim=1), place), mel[:, -1:], place + mel.shape[1]


def graphs(module: Dudley) -> list[Graph]:
    """See :class:`muomni_cli.api.Graph`."""
    bins = module.mel.n_mels
    return [
        Graph(
            name="vocoder",
            module=Sounding(module),
            inputs=[
                GraphInput("mel", ("batch", "frames", bins), levels),
                GraphInput("held", ("batch", 1, bins), levels),
                GraphInput("place", (1,), GraphInput.below(3 * len(module.carriers))),
            ],
            outputs=["samples", "held_now", "place_now"],
            cases={
                "traced": {"batch": 2, "frames": 5},
                "one frame": {"batch": 1, "frames": 1},
                "longer than the carrier": {"batch": 3, "frames": len(module.carriers) + 7},
            },
            states={"held": "held_now", "place": "place_now"},
            initial_sizes={"batch": 2, "frames": 3},
            calls=50,
        )
    ]


def levels(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Log-mel as of speech, in nats."""
    drawn: NDArray[Any] = 2 * random.standard_normal(shape, dtype="float32") - 4
    return drawn
