"""Export graph: log-mel and past states of the layers to samples and present states."""

from __future__ import annotations

from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_newpart.model import Newpart


class VocoderGraph(nn.Module):
    """(B,M,F) log-mel and past states -> (B, H*M) samples, delayed by the lookahead, and present states."""

    def __init__(self, vocoder: Newpart) -> None:
        super().__init__()
        self.vocoder = vocoder

    def forward(self, mel: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        samples, present = self.vocoder.stack(self.vocoder.normal(mel), past)
        return samples.flatten(1), *present


def graphs(module: Newpart) -> list[Graph]:
    memories = module.config.memories(module.mel)
    states = {f"past.{number}": f"present.{number}" for number in range(len(memories))}
    return [
        Graph(
            name="vocoder",
            module=VocoderGraph(module),
            inputs=[
                GraphInput("mel", ("batch", "frames", module.mel.n_mels), levels),
                *(GraphInput(name, ("batch", *shape)) for name, shape in zip(states, memories, strict=True)),
            ],
            outputs=["samples", *states.values()],
            cases={
                "traced": {"batch": 2, "frames": 5},
                "one frame": {"batch": 1, "frames": 1},
                "many": {"batch": 3, "frames": 70},
            },
            states=states,
            initial_sizes={"batch": 2, "frames": 3},
            calls=20,
            tolerance=1e-3,  # full scale is 1
        )
    ]


def levels(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Random values similar to the log-mel of speech."""
    drawn: NDArray[Any] = 2 * random.standard_normal(shape, dtype="float32") - 4
    return drawn
