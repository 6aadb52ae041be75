"""Conformance checks of vocoders (:class:`muomni_cli.api.Vocoder`). Imports torch.

Shapes: B batch, M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from muomni_cli.conformance.common import MEL
from muomni_cli.conformance.modules import log_mel, require_shape, same, streamed
from muomni_cli.contract.checks import Check, Number, PartUnderTest

FRAMES = 40  # mel frames per input


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:  # noqa: ARG001 - same signature for every kind
    return [module(log_mel(MEL, FRAMES))]


@torch.no_grad()
def shapes(subject: PartUnderTest) -> Sequence[Number]:
    for frames in (FRAMES, 3, 1):
        samples = subject.lively(log_mel(MEL, frames))
        require_shape(samples, (2, MEL.hop * frames), f"samples of {frames} mel frames")
    return [Number("samples per mel frame", MEL.hop)]


@torch.no_grad()
def batch(subject: PartUnderTest) -> Sequence[Number]:
    mel = log_mel(MEL, FRAMES)
    samples = subject.lively(mel)
    alone = [subject.lively(mel[row : row + 1])[0] for row in range(len(mel))]
    return [same(samples.unbind(0), alone, [f"row {row}" for row in range(len(mel))])]


@torch.no_grad()
def streams(subject: PartUnderTest) -> Sequence[Number]:
    mel = log_mel(MEL, FRAMES)
    return [streamed(subject.lively.stream, mel, subject.lively(mel))]


CHECKS = (
    Check(name="shapes", doc="log-mel (B,M,F) gives samples (B,hop*M)", run=shapes, depends_on=("builds",)),
    Check(name="batch", doc="a batch gives the same output as its rows one by one", run=batch, depends_on=("repeats",)),
    Check(name="streams", doc="streaming samples, joined, equal those of the whole sequence", run=streams,
        depends_on=("repeats",)),
)  # fmt: skip
