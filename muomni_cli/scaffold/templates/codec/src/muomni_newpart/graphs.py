"""Export graphs: samples to codes, and codes with the decoder's state to log-mel."""

from __future__ import annotations

from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_cli.audio.mel import LogMel
from muomni_newpart.model import Newpart


class EncoderGraph(nn.Module):
    """(B,T,samples per code frame) -> (B,T,Q) codes."""

    def __init__(self, codec: Newpart) -> None:
        super().__init__()
        self.codec, self.mel = codec, LogMel(codec.mel)

    def forward(self, waves: Tensor) -> tuple[Tensor]:
        return (self.codec.encode(self.codec.seen(self.mel(waves.flatten(1)))),)


class DecoderGraph(nn.Module):
    """(B,T,Q) codes and past states -> (B, frame*T, F) log-mel and present states."""

    def __init__(self, codec: Newpart) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, codes: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        mel, present = self.codec.decoder(self.codec.decode(codes), past)
        return mel, *present


def graphs(module: Newpart) -> list[Graph]:
    memories = module.decoder.memories
    states = {f"past.{number}": f"present.{number}" for number in range(len(memories))}
    cases = {
        "traced": {"batch": 2, "frames": 5},
        "one frame": {"batch": 1, "frames": 1},
        "batch 3": {"batch": 3, "frames": 40},
    }
    return [
        Graph(
            name="encoder",
            module=EncoderGraph(module),
            inputs=[GraphInput("waves", ("batch", "frames", module.config.samples), quiet)],
            outputs=["codes"],
            cases=cases,
            max_mismatch_fraction=0.01,
        ),
        Graph(
            name="decoder",
            module=DecoderGraph(module),
            inputs=[
                GraphInput("codes", ("batch", "frames", module.codebooks), GraphInput.below(module.codebook_size)),
                *(GraphInput(name, ("batch", *shape)) for name, shape in zip(states, memories, strict=True)),
            ],
            outputs=["mel", *states.values()],
            cases=cases,
            states=states,
            initial_sizes={"batch": 2, "frames": 1},
            calls=20,
        ),
    ]


def quiet(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Noise of std 0.1."""
    return 0.1 * random.standard_normal(shape, dtype="float32")
