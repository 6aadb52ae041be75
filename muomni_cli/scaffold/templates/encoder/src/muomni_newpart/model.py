"""Strided convolutions over an input, and a classification head.

Shapes: B batch, N samples, T tokens, W width, C channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import EncoderOutput, RequestError
from muomni_newpart.config import NewpartConfig
from muomni_newpart.predictor import ClassNames


class Downsample(nn.Module):
    """(B,W,N) -> (B,W',ceil(N/2)). The norm is over channels at each position, so that it does not see padding."""

    def __init__(self, inner: int, outer: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inner, outer, 5, stride=2, padding=2)
        self.norm = nn.LayerNorm(outer)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(x).transpose(1, 2))
        dropped: Tensor = self.drop(nn.functional.gelu(normed))
        return dropped.transpose(1, 2)


class Newpart(nn.Module):
    """An :class:`muomni_cli.api.Encoder`."""

    def __init__(self, config: NewpartConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels, *[config.d_model] * config.halvings]
        self.blocks = nn.ModuleList(
            Downsample(inner, outer, config.dropout) for inner, outer in itertools.pairwise(widths)
        )
        self.norm = nn.LayerNorm(config.d_model)

    @property
    def width(self) -> int:
        """W."""
        return self.config.d_model

    def encode(self, inputs: Tensor) -> Tensor:
        """(B,N,C) without padding -> (B,T,W), for export."""
        x = inputs.transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.norm(x.transpose(1, 2))
        return tokens

    def forward(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:
        """(B,N,C) -> (B,T,W); padding is zeroed before every convolution, so that it has no effect."""
        sizes = list(lengths) if lengths is not None else [inputs.shape[1]] * len(inputs)
        x = inputs.transpose(1, 2)
        for block in self.blocks:
            x = block(_within(x, sizes))
            sizes = [-(-size // 2) for size in sizes]
        return EncoderOutput(self.norm(x.transpose(1, 2)), sizes)


def _within(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Zero (B,W,N) beyond each row's size."""
    if min(sizes) == x.shape[2]:
        return x
    places = torch.arange(x.shape[2], device=x.device)
    real = places < torch.tensor(sizes, device=x.device)[:, None]
    return x * real[:, None]


class Classifier(nn.Module):
    """A :class:`muomni_cli.contract.models.PredictorModule`: the encoder, and one Linear on the mean of its tokens."""

    def __init__(self, encoder: Newpart, classes: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, len(classes))
        self._names = ClassNames(classes)
        self.answer_modes, self.vocabulary = self._names.answer_modes, self._names.vocabulary
        self.expected = self._names.expected

    def score(self, output: EncoderOutput) -> Tensor:
        """Tokens -> (B,classes) scores, ignoring padding."""
        lengths = torch.tensor(output.lengths, device=output.tokens.device)
        real = torch.arange(output.tokens.shape[1], device=output.tokens.device) < lengths[:, None]
        means = (output.tokens * real[..., None]).sum(1) / lengths[:, None]
        scores: Tensor = self.head(means)
        return scores

    @torch.inference_mode()
    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:  # noqa: ARG002
        """The likeliest class of each input."""
        device = self.head.weight.device
        scores = [self.score(self.encoder(torch.from_numpy(np.array(one))[None].to(device))) for one in inputs]
        return self._names.said(torch.cat(scores).cpu().numpy())


def build(config: NewpartConfig) -> Newpart:
    """An encoder with random weights."""
    return Newpart(config)


def build_predictor(config: NewpartConfig, head_metadata: Mapping[str, Any]) -> Classifier:
    if "classes" not in head_metadata:
        raise RequestError("the encoder was saved without its classes", "train it again")
    return Classifier(Newpart(config), head_metadata["classes"])
