"""Checks of vocoders: what :class:`muomni_cli.api.Vocoder` promises.

Shapes: B batch, M mel frames, F mel bins, N samples. Imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from muomni_cli.conformance.modules import CUTS, in_pieces, log_mel, require_shape, same
from muomni_cli.conformance.part_under_test import MEL
from muomni_cli.contract.checks import Check, Number, PartUnderTest

FRAMES = 40
"""Mel frames of a sound."""


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:  # noqa: ARG001 - as of every kind
    """Samples of two sounds."""
    return [module(log_mel(MEL, FRAMES))]


@torch.no_grad()
def shapes(subject: PartUnderTest) -> Sequence[Number]:
    """Of long sounds and of the shortest."""
    for frames in (FRAMES, 3, 1):
        samples = subject.lively(log_mel(MEL, frames))
        require_shape(samples, (2, MEL.hop * frames), f"samples of {frames} mel frames")
    return [Number("samples of a mel frame", MEL.hop)]


@torch.no_grad()
def batch(subject: PartUnderTest) -> Sequence[Number]:
    """Two sounds."""
    mel = log_mel(MEL, FRAMES)
    samples = subject.lively(mel)
    alone = [subject.lively(mel[row : row + 1])[0] for row in range(len(mel))]
    return [same(samples.unbind(0), alone, [f"row {row}" for row in range(len(mel))])]


@torch.no_grad()
def streams(subject: PartUnderTest) -> Sequence[Number]:
    """Cut in several ways, one sound after another through one stream."""
    mel = log_mel(MEL, FRAMES)
    stream = subject.lively.stream(len(mel))
    made = [in_pieces(stream, mel, cut) for cut in CUTS]
    return [same(made, [subject.lively(mel)] * len(CUTS), [f"pieces of {cut}" for cut in CUTS])]


CHECKS = (
    Check(name="shapes", doc="(B,M,F) log-mel gives (B,hop*M) samples", run=shapes, depends_on=("builds",)),
    Check(name="batch", doc="a batch gives what each of its rows gives alone", run=batch, depends_on=("repeats",)),
    Check(
        name="streams", doc="samples in pieces, joined, are those of the whole", run=streams, depends_on=("repeats",)
    ),
)
