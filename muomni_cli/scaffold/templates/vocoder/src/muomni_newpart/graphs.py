"""The vocoder as one graph: log-mel and what is remembered in, samples and what is remembered then out."""

from __future__ import annotations

from torch import Tensor, nn

from muomni_cli.api import Graph, Port
from muomni_newpart.model import Newpart


class Sounding(nn.Module):
    """(B,M,F) and the past -> (B, hop*M) samples, late by the look-ahead, and the past."""

    def __init__(self, vocoder: Newpart) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, mel: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """All in one call."""
        samples, present = self.vocoder.step(mel, past)
        return samples, *present


def graphs(module: Newpart) -> list[Graph]:
    """See :class:`muomni_cli.api.Graph`."""
    memories = module.stack.memories
    states = {f"past.{number}": f"present.{number}" for number in range(len(memories))}
    return [
        Graph(
            name="vocoder",
            module=Sounding(module),
            inputs=[
                Port("mel", ("batch", "frames", module.mel.n_mels)),
                *(Port(name, ("batch", *shape)) for name, shape in zip(states, memories, strict=True)),
            ],
            outputs=["samples", *states.values()],
            cases={
                "traced": {"batch": 2, "frames": 5},
                "one frame": {"batch": 1, "frames": 1},
                "batch 3": {"batch": 3, "frames": 40},
            },
            states=states,
            begin={"batch": 2, "frames": 3},
            calls=20,
            tolerance=1e-3,
        )
    ]
