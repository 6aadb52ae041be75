"""Export graphs: characters to features, frames with past states to states, states to logits."""

from __future__ import annotations

from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_newpart.model import Newpart
from muomni_newpart.symbols import COUNT


class TextGraph(nn.Module):
    """(B,S) symbols, (B,) voices -> (B,S,D) features, (B,S) durations."""

    def __init__(self, talker: Newpart) -> None:
        super().__init__()
        self.talker = talker

    def forward(self, ids: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        return self.talker.read(ids, voice)


class FrameGraph(nn.Module):
    """(B,T,D), (B,T), (B,T,Q) and past states of the layers -> (B,T,D) states and present states of the layers."""

    def __init__(self, talker: Newpart) -> None:
        super().__init__()
        self.talker = talker

    def forward(self, under: Tensor, elapsed: Tensor, before: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        states, present = self.talker.states(under, elapsed, before, past)
        return states, *present


class HeadGraph(nn.Module):
    """(B,D) states, (B,Q) codes -> (B,Q,K) logits."""

    def __init__(self, talker: Newpart) -> None:
        super().__init__()
        self.talker = talker

    def forward(self, states: Tensor, codes: Tensor) -> tuple[Tensor]:
        """Two tensors in, one out."""
        return (self.talker.logits(states, codes),)


def graphs(module: Newpart) -> list[Graph]:
    width, books, size = module.config.d_model, module.codes.codebooks, module.codes.size
    memories = module.stack.memories
    states = {f"past.{number}": f"present.{number}" for number in range(len(memories))}
    return [
        Graph(
            name="reader",
            module=TextGraph(module),
            inputs=[
                GraphInput("ids", ("batch", "symbols"), GraphInput.below(COUNT)),
                GraphInput("voice", ("batch",), GraphInput.below(max(1, len(module.voices)))),
            ],
            outputs=["features", "lasting"],
            cases={"traced": {"batch": 2, "symbols": 9}, "silences alone": {"batch": 1, "symbols": 2}},
        ),
        Graph(
            name="frames",
            module=FrameGraph(module),
            inputs=[
                GraphInput("under", ("batch", "frames", width)),
                GraphInput("elapsed", ("batch", "frames")),
                GraphInput("before", ("batch", "frames", books), GraphInput.below(size)),
                *(GraphInput(name, ("batch", *shape)) for name, shape in zip(states, memories, strict=True)),
            ],
            outputs=["states", *states.values()],
            cases={"traced": {"batch": 2, "frames": 5}, "one frame": {"batch": 1, "frames": 1}},
            states=states,
            initial_sizes={"batch": 2, "frames": 1},
            calls=20,
        ),
        Graph(
            name="heads",
            module=HeadGraph(module),
            inputs=[
                GraphInput("states", ("batch", width)),
                GraphInput("codes", ("batch", books), GraphInput.below(size)),
            ],
            outputs=["logits"],
            cases={"traced": {"batch": 2}, "one": {"batch": 1}},
        ),
    ]
