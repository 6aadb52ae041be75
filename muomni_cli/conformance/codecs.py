"""Conformance checks of codecs (:class:`muomni_cli.api.Codec`). Imports torch.

Shapes: B batch, T code frames, M mel frames, F mel bins, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from muomni_cli.conformance.common import SEED
from muomni_cli.conformance.modules import log_mel, require_shape, same, streamed
from muomni_cli.contract.checks import Check, Number, PartUnderTest, check_that

FRAMES = 9  # code frames per input


def mel_of(codec: Any) -> Tensor:
    """(B,M,F) for :data:`FRAMES` code frames."""
    return log_mel(codec.mel, FRAMES * codec.frame)


def codes_of(codec: Any) -> Tensor:
    """(B,T,Q) random codes."""
    random = torch.Generator().manual_seed(SEED)
    return torch.randint(0, codec.codebook_size, (2, FRAMES, codec.codebooks), generator=random)


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:  # noqa: ARG001 - same signature for every kind
    return [module.encode(module.windows(mel_of(module))), module.expand(module.decode(codes_of(module)))]


@torch.no_grad()
def shapes(subject: PartUnderTest) -> Sequence[Number]:
    codec = subject.lively
    mel, codes, bins = mel_of(codec), codes_of(codec), codec.mel.n_mels
    frames = codec.windows(mel)
    require_shape(frames, (2, FRAMES, bins), "windows")
    made = codec.encode(frames)
    require_shape(made, (2, FRAMES, codec.codebooks), "codes")
    check_that(made.dtype == torch.int64, f"codes are {made.dtype}, not int64")
    back = codec.decode(codes)
    require_shape(back, (2, FRAMES, bins), "decoded frames")
    require_shape(codec.expand(back), mel.shape, "log-mel of decoded frames")
    return [Number("mel frames per code frame", codec.frame)]


@torch.no_grad()
def in_range(subject: PartUnderTest) -> Sequence[Number]:
    codec = subject.lively
    mel = mel_of(codec)
    sounds = torch.cat([mel, mel + 8, mel - 8, torch.full_like(mel, codec.mel.silent_level)])
    codes = codec.encode(codec.windows(sounds))
    check_that(int(codes.min()) >= 0, f"the code {int(codes.min())} is below 0")
    return [Number("largest code", int(codes.max()), codec.codebook_size - 1)]


@torch.no_grad()
def batch(subject: PartUnderTest) -> Sequence[Number]:
    codec = subject.lively
    mel, codes = mel_of(codec), codes_of(codec)
    frames, sound = codec.windows(mel), codec.expand(codec.decode(codes))
    made, wanted, where = [], [], []
    for row in range(len(mel)):
        one = slice(row, row + 1)
        made += [frames[one], sound[one]]
        wanted += [codec.windows(mel[one]), codec.expand(codec.decode(codes[one]))]
        where += [f"windows, row {row}", f"log-mel, row {row}"]
    return [same(made, wanted, where)]


@torch.no_grad()
def streams(subject: PartUnderTest) -> Sequence[Number]:
    codec = subject.lively
    frames = codec.decode(codes_of(codec))
    return [streamed(codec, frames, codec.expand(frames))]


CHECKS = (
    Check(name="shapes", doc="windows (B,T,F), codes (B,T,Q), decoded frames (B,T,F), log-mel (B,frame*T,F)",
        run=shapes, depends_on=("builds",)),
    Check(name="range", doc="codes are from 0 to K - 1 for any input", run=in_range, depends_on=("shapes",)),
    Check(name="batch", doc="a batch gives the same output as its rows one by one", run=batch, depends_on=("repeats",)),
    Check(name="streams", doc="streaming log-mel, joined, equals that of the whole sequence", run=streams,
        depends_on=("repeats",)),
)  # fmt: skip
