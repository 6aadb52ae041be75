"""An encoder of motion, (T,3) a hundred times a second, that is right, and others that are wrong in one way each."""

# ruff: noqa: ARG001, ARG002 - the signatures are those of the protocols

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from muomni_cli.api import EncoderOutput, PartConfig, RequestError


class MotionConfig(PartConfig):
    """Two settings."""

    width: int = Field(16, description="of its tokens")
    rate: float = Field(100.0, description="readings a second")


class Motion(nn.Module):
    """Two readings become one token, which sees the one before it."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.inward = nn.Linear(6, config.width)
        self.before = nn.Linear(config.width, config.width)
        self.outward = nn.Linear(config.width, config.width)

    def forward(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:
        lengths = [inputs.shape[1]] * len(inputs) if lengths is None else lengths
        pairs = inputs[:, : inputs.shape[1] // 2 * 2].unflatten(1, (-1, 2)).flatten(2)
        x = torch.tanh(self.inward(pairs))
        x = x + self.before(nn.functional.pad(x, (0, 0, 1, 0))[:, :-1])
        x = x + self.more(x, lengths)
        return EncoderOutput(self.outward(x), [length // 2 for length in lengths])

    def more(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """What a wrong one adds."""
        return x.new_zeros(())


class Leaks(Motion):
    """The mean over all tokens, padding included."""

    def more(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        return 0.1 * x.mean(1, keepdim=True)


class MindsItsNeighbors(Motion):
    """The first token of the first row, in every row."""

    def more(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        return 0.1 * x[:1, :1]


def read(config: MotionConfig, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """Lines of three numbers."""
    try:
        rows = [[float(word) for word in line.split(",")] for line in file.read().decode("utf-8").splitlines()]
        array = np.array(rows, np.float32)
        if array.ndim != 2 or array.shape[1] != 3 or len(array) < 2:
            raise ValueError("lines are not of three numbers")
    except ValueError as error:
        raise RequestError(f"{name} is no motion: {type(error).__name__}", "give lines of three numbers") from error
    return array


def reads_anything(config: MotionConfig, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """Whatever it is."""
    return np.zeros((4, 3), np.float32)


def raises_anything(config: MotionConfig, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """Not in words."""
    return np.array([float(word) for word in file.read().decode("ascii").split(",")], np.float32)


def count(config: MotionConfig, inputs: NDArray[Any]) -> int:
    """Two readings a token."""
    return len(inputs) // 2


def counts_wrongly(config: MotionConfig, inputs: NDArray[Any]) -> int:
    """One too many where there are many."""
    return len(inputs) // 2 + (len(inputs) > 20)


def inputs(config: MotionConfig) -> dict[str, NDArray[np.float32]]:
    """Two seconds."""
    return {"two seconds": np.random.default_rng(0).standard_normal((200, 3), dtype=np.float32)}


class Doubles(PartConfig):
    """Comes back from a recipe with twice the width."""

    width: int = Field(8, description="of its tokens")
    rate: float = Field(100.0, description="readings a second")

    def model_post_init(self, context: Any) -> None:
        object.__setattr__(self, "width", 2 * self.width)


class Silent(PartConfig):
    """A setting that is not explained."""

    width: int = 16
    rate: float = Field(100.0, description="readings a second")


class Generous(MotionConfig):
    """Takes any setting."""

    model_config = ConfigDict(extra="ignore")
