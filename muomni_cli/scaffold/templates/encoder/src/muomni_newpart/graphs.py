"""Export graphs of the encoder and its head."""

from __future__ import annotations

from torch import Tensor, nn

from muomni_cli.api import EncoderOutput, Graph, GraphInput
from muomni_newpart.model import Classifier, Newpart


class EncoderGraph(nn.Module):
    """(B,N,C) samples without padding -> (B,T,W) tokens."""

    def __init__(self, model: Newpart) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.model.encode(inputs),)


class HeadGraph(nn.Module):
    """(B,T,W) tokens without padding -> (B,classes) scores."""

    def __init__(self, named: Classifier) -> None:
        super().__init__()
        self.head = named.head

    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        return (self.head(tokens.mean(1)),)


def graphs(module: Newpart) -> list[Graph]:
    return [
        Graph(
            name="encoder",
            module=EncoderGraph(module),
            inputs=[GraphInput("inputs", ("batch", "samples", module.config.channels))],
            outputs=["tokens"],
            cases={
                "traced": {"batch": 2, "samples": 75},
                "two samples": {"batch": 1, "samples": 2},
                "many": {"batch": 3, "samples": 500},
            },
        )
    ]


def head_graphs(module: Classifier) -> list[Graph]:
    cases = {"traced": {"batch": 2, "tokens": 5}, "one": {"batch": 1, "tokens": 1}, "many": {"batch": 3, "tokens": 50}}

    def reference(tokens: Tensor) -> tuple[Tensor]:
        return (module.score(EncoderOutput(tokens, [tokens.shape[1]] * len(tokens))),)

    return [
        Graph(
            name="head",
            module=HeadGraph(module),
            inputs=[GraphInput("tokens", ("batch", "tokens", module.encoder.width))],
            outputs=["scores"],
            cases=cases,
            reference=reference,
        )
    ]
