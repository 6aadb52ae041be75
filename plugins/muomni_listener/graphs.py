"""The audio encoder as one graph, with the mel spectrogram inside: waveforms in, tokens out. Its head as another."""

from __future__ import annotations

from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Graph, Port
from muomni_listener.model import Listener
from muomni_listener.recognizer import Recognizer


class Hearing(nn.Module):
    """(B,N) waveforms, all N samples real -> (B,T,W) tokens."""

    def __init__(self, model: Listener) -> None:
        super().__init__()
        self.model = model

    def forward(self, waves: Tensor) -> tuple[Tensor]:
        """One tensor in, one out."""
        return (self.model.encode(waves),)


class Spelling(nn.Module):
    """(B,T,W) tokens -> (B,T,C) log-probabilities of characters and the blank."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        """One tensor in, one out."""
        return (self.recognizer.score(tokens),)


def noise(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """As loud as speech: full scale is 1."""
    return Port.normal(random, shape) * 0.1


def graphs(module: Listener) -> list[Graph]:
    """See :class:`muomni_cli.api.Graph`."""
    config = module.config
    return [
        Graph(
            name="encoder",
            module=Hearing(module),
            inputs=[Port("inputs", ("batch", "samples"), noise)],
            outputs=["tokens"],
            cases={
                "traced": {"batch": 2, "samples": config.sample_rate // 4 + 3},
                "shortest": {"batch": 1, "samples": config.shortest},
                "a second, batch 3": {"batch": 3, "samples": config.sample_rate},
                "longer": {"batch": 1, "samples": config.sample_rate * 3 + config.hop - 1},
            },
        )
    ]


def head_graphs(module: Recognizer) -> list[Graph]:
    """See ``EncoderPart.head_graphs``."""
    return [
        Graph(
            name="head",
            module=Spelling(module),
            inputs=[Port("tokens", ("batch", "tokens", module.encoder.width))],
            outputs=["scores"],
            cases={
                "traced": {"batch": 2, "tokens": 3},
                "one token": {"batch": 1, "tokens": 1},
                "20 seconds": {"batch": 1, "tokens": 500},
            },
        )
    ]
